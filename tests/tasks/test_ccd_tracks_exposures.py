"""Exposures of a CCD: what is read, which tracks are found, and what people said of them."""

import contextlib
import dataclasses
import gzip
import signal

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import ndimage

from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks import TASK, fits_io, label_table, reader, segmentation
from tfpipe.tasks.options import parse_options

OPTIONS = TASK.options
RAMP = np.arange(24).reshape(4, 6) * 1000


def written(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def read(path, **changes) -> np.ndarray:
    return fits_io.read(path, dataclasses.replace(OPTIONS, **changes))


def frame(*spots, shape=(40, 60)) -> np.ndarray:
    """Returns an exposure of 1000 ADU with spots (row, column, height, width, ADU)."""
    image = np.full(shape, 1000, np.float32)
    for row, column, height, width, value in spots:
        image[row : row + height, column : column + width] = value
    return image


def examples(folder, **changes) -> list:
    options = dataclasses.replace(OPTIONS, **changes)
    return [e for s in TASK.survey(folder, options).sources for e in TASK.read(s, options).examples]


@pytest.mark.parametrize("dtype", ["uint16", "int16", ">i4", "float32", "float64", "uint8"])
@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.FIT"])
def test_fits_of_any_kind_of_number_is_read_as_adu(tmp_path, name, dtype):
    pixels = (RAMP // 200).astype(dtype)
    written(tmp_path / name, fits.ImageHDU(pixels))
    found = read(tmp_path / name)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, RAMP // 200)


def test_bscale_and_bzero_are_applied(tmp_path):
    hdu = fits.ImageHDU(RAMP.astype(np.float64))
    hdu.scale("int16", bscale=2.0, bzero=100.0)
    np.testing.assert_array_equal(read(written(tmp_path / "a.fits", hdu)), RAMP)
    assert fits.getheader(tmp_path / "a.fits", 1)["BSCALE"] == 2.0


def test_compressed_tiles_are_read(tmp_path):
    hdu = fits.CompImageHDU(RAMP.astype(np.int32), compression_type="RICE_1")
    np.testing.assert_array_equal(read(written(tmp_path / "a.fits.fz", hdu)), RAMP)


def test_pixels_that_are_no_numbers_are_in_no_track_and_are_counted(tmp_path):
    image = frame((5, 5, 3, 3, 9000))
    image[6, 6], image[20, 20] = np.nan, np.inf
    np.save(tmp_path / "a.npy", image)
    (source,) = TASK.survey(tmp_path, OPTIONS).sources
    reading = TASK.read(source, OPTIONS)
    assert [e.metadata["pixels"] for e in reading.examples] == [8]
    assert reading.row["unknown_px"] == 2


def test_the_hdu_and_the_section_are_the_users(tmp_path):
    two = [fits.ImageHDU(RAMP.astype(np.int32)), fits.ImageHDU(RAMP.astype(np.int32) + 1)]
    path = written(tmp_path / "a.fits", *two)
    assert read(path)[0, 0] == 0 and read(path, hdu=2)[0, 0] == 1
    np.testing.assert_array_equal(read(path, section="1:3,2:6"), RAMP[1:3, 2:6])
    assert parse_options(TASK, ["section=40:4124,5:2040"]).section == "40:4124,5:2040"


def test_of_several_images_the_others_are_named(tmp_path, caplog):
    chips = [fits.ImageHDU(RAMP.astype(np.int32) + i, name=f"CHIP{i}") for i in range(2)]
    flags = fits.ImageHDU(np.zeros((4, 6), np.uint8), name="DQ")
    np.testing.assert_array_equal(read(written(tmp_path / "a.fits", flags, *chips)), RAMP)
    assert "a.fits has 2 images. HDU 2 is read, not 3 (CHIP1)" in caplog.text
    caplog.clear()
    read(written(tmp_path / "b.fits", chips[0], flags))
    assert not caplog.text


@pytest.mark.parametrize("shape", [(1, 4, 6), (1, 1, 4, 6)])
def test_axes_of_length_one_do_not_count(tmp_path, shape):
    pixels = RAMP.reshape(shape)
    np.testing.assert_array_equal(read(written(tmp_path / "a.fits", fits.ImageHDU(pixels))), RAMP)
    np.save(tmp_path / "a.npy", pixels)
    np.testing.assert_array_equal(read(tmp_path / "a.npy"), RAMP)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_holds_one_exposure(tmp_path, save):
    save(tmp_path / "a.npz", exposure=RAMP)
    np.testing.assert_array_equal(read(tmp_path / "a.npz"), RAMP)
    save(tmp_path / "a.npz", first=RAMP, second=RAMP)
    with pytest.raises(UserError, match="a.npz has the arrays first, second, expected one"):
        read(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-30])
    with pytest.raises(UserError, match="a.npz cannot be read as a NumPy archive"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((9, 9), 255, np.uint8), "no pixel is above 4000 ADU, the largest is 255"),
        (frame((3, 3, 1, 2, 9000)), "2 pixels are above 4000 ADU, and none of their clusters"),
    ],
)
def test_no_tracks_always_has_its_reason(tmp_path, caplog, image, reason):
    np.save(tmp_path / "a.npy", image)
    assert examples(tmp_path) == []
    assert f"a.npy has no tracks: {reason}" in caplog.text


@pytest.mark.parametrize(
    ("hdus", "changes", "says"),
    [
        ([], {}, "a.fits has no image in any HDU: its HDUs are 0 (PRIMARY); no image"),
        ([fits.ImageHDU(np.zeros((2, 4, 6)))], {}, "HDU 1 is an array of 2 x 4 x 6 pixels"),
        ([fits.ImageHDU(np.zeros(6))], {}, "HDU 1 is an array of 6 pixels"),
        ([fits.ImageHDU(np.zeros((4, 6)))], {"hdu": 3}, "no image in HDU 3"),
        ([fits.ImageHDU(np.zeros((4, 6)))], {"section": "9:12,0:6"}, "none of them in section"),
        ([fits.ImageHDU(np.zeros((4, 6)))], {"section": "3:1,0:6"}, "expected rows and columns"),
        ([fits.ImageHDU(np.full((4, 6), np.nan))], {}, "no pixel that is a finite number"),
    ],
)
def test_fits_without_one_flat_picture_is_refused(tmp_path, hdus, changes, says):
    path = written(tmp_path / "a.fits", *hdus)
    with pytest.raises(UserError) as error:
        read(path, **changes)
    assert says in str(error.value)


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_files_that_are_cut_short_are_refused(tmp_path, name, share):
    path = written(tmp_path / name, fits.ImageHDU(np.random.default_rng(0).normal(size=(90, 90))))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match="a.fits"):
        read(path)


@contextlib.contextmanager
def within(seconds: int):
    """Ends a test that takes longer."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"more than {seconds} s"))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("a.fits.gz", b"NAXIS0  =                   3/"),
        ("a.fits.gz", b"NAXIS1  =                 -480"),
        ("a.fits", b"NAXIS1  =                 -480"),
    ],
)
def test_a_damaged_header_is_not_read_again_and_again(tmp_path, name, damaged):
    fits.PrimaryHDU(RAMP).writeto(tmp_path / "whole.fits")
    width = b"NAXIS1  =                    6"
    data = (tmp_path / "whole.fits").read_bytes()
    assert width in data
    data = data.replace(width, damaged)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with within(10), pytest.raises(UserError, match="a.fits"):
        read(tmp_path / name)


def with_last_header(path, change):
    """Writes two images; `change` gets the header of the last one, 2,880 bytes."""
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(RAMP), fits.ImageHDU(RAMP)]).writeto(path)
    data = path.read_bytes()
    begin = 2880 * 3  # after the first's header, and header and data of the second
    assert data[begin : begin + 8] == b"XTENSION"
    path.write_bytes(data[:begin] + change(data[begin : begin + 2880]) + data[begin + 2880 :])


def test_an_hdu_of_no_kind_is_no_image(tmp_path):
    with_last_header(tmp_path / "a.fits", lambda h: h[80:160] + h[:80] + h[160:])  # two cards
    np.testing.assert_array_equal(read(tmp_path / "a.fits"), RAMP)


@pytest.mark.filterwarnings("ignore")
def test_a_header_without_keywords_is_a_sentence(tmp_path):
    with_last_header(tmp_path / "a.fits", lambda header: b"END".ljust(80).rjust(len(header)))
    with pytest.raises(UserError, match="a.fits cannot be read as a FITS file"):
        read(tmp_path / "a.fits")


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((2, 3, 4)), "2 x 3 x 4"),
        (np.zeros((3, 4), complex), "no real numbers"),
        (np.array([["a"]]), "no real numbers"),
        (np.array([[{}]], object), "cannot be read as a NumPy array"),
    ],
)
def test_arrays_that_are_no_exposure_are_refused(tmp_path, array, says):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=says):
        read(tmp_path / "a.npy")


@settings(max_examples=60, deadline=None)
@given(seed=some.integers(0, 10**6), share=some.floats(0, 0.6), least=some.integers(1, 8))
def test_tracks_are_those_of_scipy(seed, share, least):
    rng = np.random.default_rng(seed)
    image = np.where(rng.random((17, 23)) < share, rng.uniform(10, 20, (17, 23)), 1.0)
    image = image.astype(np.float32)
    found = segmentation.find(image, threshold=5.0, min_px=least)
    numbers, count = ndimage.label(image > 5, structure=np.ones((3, 3)))
    boxes = ndimage.find_objects(numbers)
    wanted = []
    for i in range(count):
        own = numbers == i + 1
        if own.sum() >= least:
            rows, columns = boxes[i]
            size = (rows.stop - rows.start, columns.stop - columns.start)
            y, x = np.unravel_index(np.where(own, image, 0).argmax(), image.shape)
            wanted.append((rows.start, columns.start, *size, own.sum(), y, x))
            energy = found.energy[(found.y == y) & (found.x == x)]
            assert energy == pytest.approx([image[own].astype(float).sum()])
    assert sorted(zip(*found[2:7], found.y, found.x, strict=True)) == sorted(wanted)


@settings(max_examples=60, deadline=None)
@given(height=some.integers(1, 300), width=some.integers(1, 300), seed=some.integers(0, 99))
def test_energy_survives_halving_and_framing(height, width, seed):
    rng = np.random.default_rng(seed)
    crop = np.where(rng.random((height, width)) < 0.3, rng.uniform(4000, 60000), 4000)
    image, halvings = reader.fit_to_square(crop.astype(np.float32), side=64, fill=4000.0)
    assert image.shape == (64, 64, 1) and image.dtype == np.float32
    assert (halvings == 0) == (max(height, width) <= 64)
    total = (image.astype(float) - 4000).sum() * 4**halvings
    assert total == pytest.approx((crop - 4000).sum(), rel=1e-4, abs=1)


def test_another_track_in_the_box_is_left_out_of_the_picture():
    image = frame((5, 5, 20, 1, 8000), (24, 5, 1, 20, 8000), (8, 12, 3, 3, 9000))
    found = segmentation.find(image, threshold=4000)
    ring = int(found.pixels.argmax())
    crop = segmentation.crop(image, found, ring, threshold=4000.0)
    assert crop.shape == (20, 20) and crop.max() == 8000 and crop.min() == 4000


def test_the_threshold_by_sigmas_is_not_moved_by_tracks():
    rng = np.random.default_rng(3)
    image = rng.normal(1000, 20, (500, 500)).astype(np.float32)
    image[100:140] = 30000  # 8 % of the exposure
    # Clipping at three sigmas takes 1.3 % off the deviation of a normal distribution.
    assert segmentation.background_threshold(image, sigmas=5) == pytest.approx(1100, abs=5)


def test_the_threshold_is_of_all_columns(monkeypatch):
    """Odd columns are 100 ADU brighter, by two amplifiers; even ones alone have a fifth of that."""
    monkeypatch.setattr(segmentation, "SAMPLED", 20_000)
    image = np.random.default_rng(3).normal(1000, 5, (200, 400)).astype(np.float32)
    image[:, 1::2] += 100
    # Half at 1000 and half at 1100: the middle is between, the deviation about 50.
    assert segmentation.background_threshold(image, sigmas=5) > 1200


def test_a_saturated_exposure_is_refused_and_a_cluster_of_a_million_pixels_is_not(tmp_path):
    np.save(tmp_path / "full.npy", np.full((1000, 1000), 65535, np.uint16))
    with pytest.raises(UserError, match="full.npy: 100% of the pixels are above 4000 ADU"):
        examples(tmp_path)
    large = np.full((1500, 1500), 900, np.uint16)
    large[200:1200, 300:1300] = 65535
    np.save(tmp_path / "full.npy", large)
    (one,) = examples(tmp_path)
    assert one.metadata["pixels"] == 1_000_000 and one.metadata["halvings"] == 4
    assert one.columns[:4].tolist() == [1000, 1000, 1e6, np.float32(65535e6)]


def test_places_are_those_of_the_whole_exposure(tmp_path):
    np.save(tmp_path / "a.npy", frame((10, 20, 3, 4, 9000)))
    (whole,), (cut,) = examples(tmp_path), examples(tmp_path, section="5:40,7:60")
    assert whole.metadata == cut.metadata
    place = [whole.metadata[name] for name in ("left", "top", "width", "height", "x", "y")]
    assert place == [20, 10, 4, 3, 20, 10]
    assert whole.metadata["energy"] == 12 * 9000


def test_labels_mean_the_track_of_their_pixel_or_the_smallest_box_around_it(tmp_path, caplog):
    ring = [(5, 5, 20, 1, 8000), (24, 5, 1, 20, 8000), (10, 15, 3, 3, 9000)]
    np.save(tmp_path / "a.npy", frame(*ring, (2, 40, 3, 3, 7000)))
    rows = ["exposure,x,y,label", "a.npy,5,8,muon", "a.npy,16,11,x-ray", "a.npy,55,35,dust"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    survey = TASK.survey(tmp_path, OPTIONS)
    assert survey.classes == ("dust", "muon", "x-ray")
    reading = TASK.read(survey.sources[0], OPTIONS)
    label_of = {e.metadata["pixels"]: e.label for e in reading.examples if e.metadata["top"] > 2}
    assert label_of == {39: 1, 9: 2}
    assert [e.label for e in reading.examples if e.metadata["top"] == 2] == [-1]
    assert reading.row["labels_without_track"] == 1 and "labels.csv line 4" in caplog.text


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["a.npy,5,5,muon", "a.npy,6,6,x-ray"], "line 3: the track at x 6, y 6 is 'x-ray', but"),
        (["a.npy,five,5,muon"], "line 2: x is 'five', expected a number"),
        (["a.npy,,5,muon"], "line 2: x is empty"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(tmp_path, rows, says):
    np.save(tmp_path / "a.npy", frame((5, 5, 3, 3, 9000)))
    (tmp_path / "labels.csv").write_text("\n".join(["exposure,x,y,label", *rows]))
    with pytest.raises(UserError) as error:
        examples(tmp_path)
    assert says in str(error.value)


def test_rows_about_other_exposures_and_classes_not_asked_for_are_noted(tmp_path):
    np.save(tmp_path / "a.npy", frame((5, 5, 3, 3, 9000), (20, 5, 3, 3, 9000)))
    rows = ["exposure,x,y,label", "a.npy,5,5,muon", "a.npy,5,20,x-ray", "b.npy,1,1,muon"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    survey = TASK.survey(tmp_path, dataclasses.replace(OPTIONS, classes="muon"))
    assert survey.classes == ("muon",)
    assert any("b.npy (1)" in note for note in survey.notes)
    assert any("x-ray (1)" in note for note in survey.notes)
    with pytest.raises(UserError, match="Did you mean 'muon'"):
        TASK.survey(tmp_path, dataclasses.replace(OPTIONS, classes="muom"))


def test_the_same_exposure_under_two_names_is_a_pair_of_twins(tmp_path):
    for name in ("a.npy", "b.npy", "c.npy"):
        np.save(tmp_path / name, frame((5, 5, 3, 3, 9000 + 10 * (name == "c.npy"))))
    assert TASK.survey(tmp_path, OPTIONS).duplicates == (("a.npy", "b.npy", "the same file twice"),)


def test_a_label_at_a_boxs_edge_is_inside_and_one_past_it_is_not():
    found = segmentation.find(frame((5, 5, 3, 4, 9000)), threshold=4000)
    for x, y, hit in ((5, 5, True), (8, 7, True), (9, 7, False), (8, 8, False), (-1, 5, False)):
        named, missed = label_table.match(
            found, [label_table.PointLabel(x, y, "muon", "here")], corner=(0, 0)
        )
        assert (named == ["muon"], missed == []) == (hit, hit)


def drawn_tracks(*, shape=(120, 90), seed=0) -> np.ndarray:
    """Returns an exposure with dots, and with lines of which some are longer than 32 px."""
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, 20, shape).astype(np.float32)
    for length in (1, 1, 2, 5, 9, 30, 50, 60):
        row, column = rng.integers(0, shape[0] - 4), rng.integers(0, shape[1] - 4)
        image[row : row + 1 + length % 3, column : column + length] = rng.uniform(5000, 60000)
    return image


@pytest.mark.parametrize("seed", range(4))
def test_all_squares_at_once_are_those_of_single_crops(seed):
    image = drawn_tracks(seed=seed)
    tracks = segmentation.find(image, threshold=4000.0)
    squares = segmentation.squares(image, tracks, side=32, threshold=4000.0)
    fits = [max(size) <= 32 for size in zip(tracks.height, tracks.width, strict=True)]
    assert any(fits) and not all(fits)
    for i in np.flatnonzero(fits):
        crop = segmentation.crop(image, tracks, i, threshold=4000.0)
        single, _ = reader.fit_to_square(crop, side=32, fill=4000.0)
        np.testing.assert_array_equal(squares[i, ..., None], single)


def test_only_tracks_that_are_too_long_are_cut_one_by_one(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", drawn_tracks())
    cut, crop = [], segmentation.crop

    def counted(image, tracks, i, *, threshold):
        cut.append(i)
        return crop(image, tracks, i, threshold=threshold)

    monkeypatch.setattr(segmentation, "crop", counted)
    read_examples = examples(tmp_path, side=32, min_px=1)
    assert cut == [i for i, e in enumerate(read_examples) if e.metadata["halvings"]] != []


def test_the_background_is_clipped_as_by_masks():
    rng = np.random.default_rng(0)
    image = rng.normal(1000, 30, (90, 80)).astype(np.float32)
    image[rng.random(image.shape) < 0.05] = 9000
    values = image.astype(np.float64).ravel()
    centre, spread = np.median(values), 1.4826 * np.median(np.abs(values - np.median(values)))
    for _ in range(8):
        inside = values[np.abs(values - centre) <= 3 * spread]
        if len(inside) == len(values):
            break
        values, centre, spread = inside, np.median(inside), inside.std()
    threshold = segmentation.background_threshold(image, sigmas=5)
    assert threshold == pytest.approx(centre + 5 * spread, rel=1e-12)
    assert threshold < 1300
