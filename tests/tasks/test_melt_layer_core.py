"""The core is found in its photo, whatever the camera wrote and however it was held."""

import dataclasses

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from tfpipe.base import images
from tfpipe.base.errors import UserError
from tfpipe.tasks.melt_layer import core_detection
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.reader import read
from tfpipe.tasks.melt_layer.survey import survey
from tfpipe.tasks.samples.melt_layer import draw

PX_PER_M = 2000.0
EDGES = ("top", "bottom", "left", "right")
TOLERANCE_PX = 4


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Four photos, of 8 bits in colour and the last in grey, tilted by -0.1 to 0.4 degrees."""
    folder = tmp_path_factory.mktemp("core") / "melt-layer"
    draw(folder, photos=4, px_per_m=PX_PER_M, seed=353)
    return folder


@pytest.fixture(scope="module")
def truth(raw):
    return pd.read_csv(raw / "truth.csv").drop_duplicates("photo").set_index("photo")


def photo_of(raw, name="core_001.png"):
    return images.read(raw / "photos" / name)


def off_px(box, one):
    """Returns how far each edge is from the truth."""
    return [abs(getattr(box, edge) - one[f"core_{edge}_px"]) for edge in EDGES]


def source_of(raw, path, *, crop_px=None):
    """Returns the first photo's source with another file in its place."""
    source = survey(raw, MeltLayerOptions()).sources[0]
    photo = dataclasses.replace(source.about.photo, path=path, crop_px=crop_px)
    about = dataclasses.replace(source.about, photo=photo)
    return dataclasses.replace(source, path=path, about=about)


KINDS = {
    "as it is": lambda photo: photo,
    "grey": lambda photo: images.to_grey(photo),
    "16 bits": lambda photo: photo.astype(np.uint16) * 257,
    "16 bits, grey": lambda photo: images.to_grey(photo).astype(np.uint16) * 257,
    "12 of 16 bits": lambda photo: photo.astype(np.uint16) * 16,
    "dark": lambda photo: (photo * 0.4).astype(np.uint8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_edges_are_found_where_the_truth_has_them(raw, truth, kind):
    for name, one in truth[:: 1 if kind == "as it is" else 3].iterrows():
        box = core_detection.find(
            images.to_rgb(images.to_uint8(KINDS[kind](photo_of(raw, name)))), name=name
        )
        assert max(off_px(box, one)) <= TOLERANCE_PX, f"{name} {box}"


def test_tilt_is_found_and_taken_away(raw, truth):
    tilts = {
        name: core_detection.find(photo_of(raw, name), name=name).tilt_deg
        for name in list(truth.index)[:3]
    }
    assert max(map(abs, tilts.values())) > 0.3
    for name, tilt_deg in tilts.items():
        photo = photo_of(raw, name)
        height, width = photo.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), 1.0, 1.0)
        tilted = cv2.warpAffine(photo, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        found = core_detection.find(tilted, name=name)
        assert found.tilt_deg == pytest.approx(tilt_deg + 1.0, abs=0.05)
        assert max(off_px(found, truth.loc[name])) <= TOLERANCE_PX, name


def test_a_ruler_beside_a_tilted_core_does_not_turn_it():
    """A bright core of 300 x 1800 px leans by 1 degree; a thin ruler stands beside it."""
    photo = np.full((2000, 700), 20, np.uint8)
    core = np.zeros_like(photo)
    core[100:1900, 200:500] = 180
    turn = cv2.getRotationMatrix2D((350, 1000), 1.0, 1.0)
    photo = np.maximum(photo, cv2.warpAffine(core, turn, (700, 2000)))
    photo[:, 526:546] = 250
    for mirrored in (photo, photo[:, ::-1]):
        box = core_detection.find(images.to_rgb(mirrored), name="a.png")
        assert abs(box.tilt_deg) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("at_end", [True, False])
def test_a_colour_card_at_the_end_of_a_core_is_no_ice(raw, truth, at_end):
    """Saturated and grey patches of 20 mm as wide as the core, 6 mm beyond its end."""
    photo = photo_of(raw)
    one = truth.loc["core_001.png"]
    px_per_mm, left, right = 2, int(one.core_left_px), int(one.core_right_px)
    card = np.full((80 * px_per_mm, photo.shape[1], 3), 30, np.uint8)
    patches = [(200, 30, 40), (40, 160, 60), (230, 230, 230)]
    for i, colour in enumerate(patches):
        begin = (6 + 22 * i) * px_per_mm
        card[begin : begin + 20 * px_per_mm, left:right] = colour
    edge = int(one.core_bottom_px if at_end else one.core_top_px)
    parts = [photo[: edge + 4], card] if at_end else [card[::-1], photo[edge - 4 :]]
    box = core_detection.find(np.concatenate(parts), name="a.png")
    length_px = one.core_bottom_px - one.core_top_px
    assert box.bottom - box.top == pytest.approx(length_px, abs=12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_core_is_200_px_across_in_8_bits_at_its_own_scale(raw, kind):
    ice = core_detection.cut(KINDS[kind](photo_of(raw)), crop_px=None, name="a.png")
    height_px, width_px = ice.box.bottom - ice.box.top, ice.box.right - ice.box.left
    assert ice.image.shape == (round(height_px * 200 / width_px), 200, 3)
    assert ice.image.dtype == np.uint8
    assert ice.scale == pytest.approx(200 / width_px, rel=0.001)


def test_a_small_photo_is_scaled_up(tmp_path):
    draw(tmp_path / "small", photos=1, px_per_m=600)
    ice = core_detection.cut(photo_of(tmp_path / "small"), crop_px=None, name="a.png")
    assert ice.image.shape[1] == 200 and ice.scale == pytest.approx(200 / 60, rel=0.05)


TURNS = {
    "right": cv2.ROTATE_90_CLOCKWISE,
    "down": cv2.ROTATE_180,
    "left": cv2.ROTATE_90_COUNTERCLOCKWISE,
}


@pytest.mark.parametrize("top_is", TURNS)
def test_a_photo_that_lies_on_its_side_gives_the_same_windows(raw, tmp_path, top_is):
    upright = read(source_of(raw, raw / "photos" / "core_001.png"), MeltLayerOptions())
    lying = tmp_path / "lying.png"
    images.write_png(cv2.rotate(photo_of(raw), TURNS[top_is]), lying)
    found = read(source_of(raw, lying), MeltLayerOptions(top_is=top_is))
    assert found.row == upright.row
    assert [e.key for e in found.examples] == [e.key for e in upright.examples]
    assert [e.label for e in found.examples] == [e.label for e in upright.examples]
    assert len(found.examples) > 100
    for one, other in zip(found.examples, upright.examples, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_a_given_crop_wins_and_is_not_turned(raw):
    photo = photo_of(raw)
    crop_px = (700, 1500, 90, 190)
    ice = core_detection.cut(photo, crop_px=crop_px, name="a.png")
    assert ice.box == core_detection.Box(*crop_px) and ice.box.tilt_deg == 0
    assert ice.scale == 2
    expected = cv2.resize(photo[700:1500, 90:190], (200, 1600), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(ice.image, expected)
    box = core_detection.find(photo, name="a.png")
    assert box[:4] != crop_px


@pytest.mark.parametrize("sides", [(0, 1), (2, 3), (0,), (3,)])
def test_the_sides_that_a_crop_lacks_are_found(raw, sides):
    photo = photo_of(raw)
    before = photo.copy()
    whole = core_detection.find(photo, name="a.png")
    given = tuple(
        whole[side] + (-2, 3, 2, -3)[side] if side in sides else None for side in range(4)
    )
    ice = core_detection.cut(photo, crop_px=given, name="a.png")
    np.testing.assert_array_equal(photo, before)
    for side in range(4):
        if side in sides:
            assert ice.box[side] == given[side]
        else:
            assert abs(ice.box[side] - whole[side]) <= 5


def test_a_photo_much_wider_than_tall_has_its_top_left():
    photo = np.arange(8).reshape(2, 4).repeat(2, axis=1)
    np.testing.assert_array_equal(
        core_detection.upright(photo, top_is="up"), core_detection.upright(photo, top_is="left")
    )


def test_a_given_crop_is_used_when_a_photo_is_read(raw):
    crop_px = (100, 3000, 50, 250)
    found = read(
        source_of(raw, raw / "photos" / "core_001.png", crop_px=crop_px), MeltLayerOptions()
    )
    assert tuple(found.row[f"core_{edge}_px"] for edge in EDGES) == crop_px


@pytest.mark.parametrize("crop_px", [(0, 9999, 0, 100), (0, 100, 0, 9999), (-1, 100, 0, 100)])
def test_a_crop_outside_the_photo_is_refused(raw, crop_px):
    photo = photo_of(raw)
    top, bottom, left, right = crop_px
    with pytest.raises(UserError) as caught:
        core_detection.cut(photo, crop_px=crop_px, name="a.png")
    assert str(caught.value) == (
        f"a.png: the crop (top {top}, bottom {bottom}, left {left}, right {right} px) reaches "
        f"outside the photo of {photo.shape[0]} x {photo.shape[1]} px. "
        "Correct the crop columns of the table of photos."
    )


@pytest.fixture(scope="module")
def large(raw, tmp_path_factory):
    """The first photo at three times its size, as a scanner's TIFF in strips."""
    path = tmp_path_factory.mktemp("large") / "core.tif"
    photo = cv2.resize(photo_of(raw), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    tifffile.imwrite(path, photo, photometric="rgb", rowsperstrip=64, compression="zlib")
    return path


@pytest.mark.parametrize(
    ("top_is", "crop_px"),
    [("up", None), ("down", None), ("up", (700, 7000, 220, 680)), ("up", (701, None, None, None))],
)
def test_a_photo_read_in_parts_gives_the_core_of_the_whole(large, monkeypatch, crop_px, top_is):
    kind = {"top_is": top_is, "crop_px": crop_px, "name": "core.tif"}
    whole = core_detection.read(large, **kind)
    monkeypatch.setattr(core_detection, "WHOLE_PIXELS", 5_000_000)
    monkeypatch.setattr(core_detection, "REDUCED_PX", 400)
    ice = core_detection.read(large, **kind)
    assert np.abs(np.subtract(ice.box[:4], whole.box[:4])).max() <= 4
    assert ice.box.tilt_deg == pytest.approx(whole.box.tilt_deg, abs=0.02)
    assert ice.scale == pytest.approx(whole.scale, rel=0.01)
    rows = min(len(ice.image), len(whole.image))
    assert abs(len(ice.image) - len(whole.image)) <= 0.006 * rows
    profiles = [
        np.interp(np.linspace(0, 1, 500), np.linspace(0, 1, len(one)), one.mean(axis=(1, 2)))
        for one in (ice.image, whole.image)
    ]
    first, second = (one[5:-5] for one in profiles)  # without what is beside the ends
    assert np.corrcoef(first, second)[0, 1] > 0.99 > np.corrcoef(first[3:], second[:-3])[0, 1]
    assert abs(np.median(first - second)) < 0.5


def test_a_crop_outside_a_photo_that_is_read_in_parts_is_refused(large, monkeypatch):
    monkeypatch.setattr(core_detection, "WHOLE_PIXELS", 5_000_000)
    monkeypatch.setattr(core_detection, "REDUCED_PX", 400)
    with pytest.raises(UserError, match="bottom 99999, left 0, right 100 px.* reaches outside"):
        core_detection.read(large, top_is="up", crop_px=(0, 99999, 0, 100), name="core.tif")


def noise(shape, *, seed=0, top=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


NO_CORE = {
    "black": np.zeros((900, 300), np.uint8),
    "grey": np.full((900, 300), 128, np.uint8),
    "white": np.full((900, 300, 3), 255, np.uint8),
    "one pixel": np.full((1, 1), 9, np.uint8),
    "one row": np.full((1, 5000), 9, np.uint8),
    "one column": np.full((5000, 1), 9, np.uint8),
    "noise": noise((900, 300)),
    "noise, square": noise((600, 600), seed=1),
    "noise in colour": noise((900, 300, 3), seed=2),
    "noise of a large photo": noise((3000, 1200), seed=3),
    "faint noise": 100 + noise((1200, 260), seed=4, top=9),
    "noise of 16 bits": noise((900, 300), seed=5, top=65536, dtype=np.uint16),
    "coarse noise": cv2.resize(noise((60, 20), seed=6), (300, 900)),
    "a strip that lies": np.pad(np.full((60, 700), 200, np.uint8), 100),
}


@pytest.mark.parametrize("kind", NO_CORE)
def test_a_photo_without_a_core_is_refused(kind):
    with pytest.raises(UserError) as caught:
        core_detection.cut(NO_CORE[kind], crop_px=None, name="a.png")
    assert str(caught.value) == (
        "a.png: no core was found (expected a bright strip, longer than wide, on a darker ground). "
        "Add its edges to the table of photos, in columns crop_top_px, crop_bottom_px, "
        "crop_left_px and crop_right_px: their places in the photo, from its upper left corner."
    )


def test_a_jpeg_turned_by_its_exif_is_read_upright(raw, tmp_path, truth):
    photo = photo_of(raw)
    exif = Image.Exif()
    exif[274] = 6  # "turn me clockwise to show me"
    stored = cv2.rotate(photo, cv2.ROTATE_90_COUNTERCLOCKWISE)
    Image.fromarray(stored).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert stored.shape[1] > stored.shape[0]
    found = read(source_of(raw, tmp_path / "turned.jpg"), MeltLayerOptions())
    plain = read(source_of(raw, raw / "photos" / "core_001.png"), MeltLayerOptions())
    for edge in EDGES:
        off = found.row[f"core_{edge}_px"] - truth.loc["core_001.png"][f"core_{edge}_px"]
        assert abs(off) <= TOLERANCE_PX, edge
    assert found.row["shift_px"] == pytest.approx(plain.row["shift_px"], abs=2)
    assert found.row["layer_windows"] == pytest.approx(plain.row["layer_windows"], abs=2)


def test_a_crop_shorter_than_a_window_has_no_windows(raw):
    source = source_of(raw, raw / "photos" / "core_001.png", crop_px=(500, 530, 50, 250))
    found = read(source, MeltLayerOptions())
    assert found.examples == [] and found.row["windows"] == 0


def test_a_core_that_fills_the_photo_is_told_from_its_own_shades():
    """There is so little ground that the ice's bright and its dim half differ more."""
    rng = np.random.default_rng(0)
    photo = rng.normal(9, 1, (12_000, 300))
    across, bands = np.linspace(112, 84, 300), 14 * np.sin(np.arange(11_880) / 60)[:, None]
    photo[60:-60] = across + bands + rng.normal(0, 6, (11_880, 300))
    grey = np.clip(photo, 0, 255).astype(np.uint8)
    box = core_detection.find(np.repeat(grey[:, :, None], 3, axis=2), name="full.jpg")
    assert abs(box.top - 60) <= 3 and abs(box.bottom - 11_940) <= 3
    assert (box.left, box.right) == (0, 300)
