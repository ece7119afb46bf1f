"""Whatever is wrong with files, tables or words on the command line comes out as one sentence."""

import shutil
import struct
import sys
import zlib

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow  # noqa: F401  its own warnings belong here, not to the first test
from made_card import made_card
from PIL import Image

from tfpipe import cli
from tfpipe.models.spec import Spec
from tfpipe.registry import load, store
from tfpipe.tasks.samples.melt_layer import draw

# core_002 for validation, core_003 for test, the others for training; few windows, to be quick
PACKED = ("--salt", "1", "--option", "stride_px=30")
VICTIM = "core_004.png"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Four small photos with melt layers in each, that pack with PACKED."""
    folder = tmp_path_factory.mktemp("drawn") / "melt-layer"
    draw(folder, photos=4, px_per_m=600, seed=4)
    return folder


@pytest.fixture
def data(drawn, tmp_path):
    shutil.copytree(drawn, tmp_path / "data" / "raw" / "melt-layer")
    return tmp_path / "data"


@pytest.fixture
def tfpipe(data, tmp_path, monkeypatch, capsys):
    """Runs the command line where data/ is; returns (exit code, stdout, stderr)."""

    def run(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["tfpipe", *map(str, words)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(tfpipe, data):
    """Runs the command line, which must refuse in one sentence and write no records."""

    def run(*words):
        code, out, err = tfpipe(*words)
        assert code == 2, err
        assert "Traceback" not in err and out == ""
        said = [line for line in err.splitlines() if line.startswith("tfpipe: ")]
        assert len(said) == 1 and err.endswith(said[0] + "\n"), err
        assert not (data / "records" / "melt-layer").exists()
        return said[0].removeprefix("tfpipe: ")

    return run


@pytest.fixture
def raw(data):
    return data / "raw" / "melt-layer"


def bomb(side=20000):
    """Returns a black PNG of 400 megapixels in 0.4 MB."""

    def chunk(kind, content):
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9, wbits=-15)
    hundredth = packer.compress(bytes(side * (side + 1) // 100)) + packer.flush(zlib.Z_FULL_FLUSH)
    adler = struct.pack(">HH", side * (side + 1) % 65521, 1)
    rows = b"\x78\xda" + 100 * hundredth + b"\x03\x00" + adler
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def encoded(image, suffix=".png"):
    return cv2.imencode(suffix, image)[1].tobytes()


MEND = "Mend or remove them, or pack the others by --skip-bad 1."
BAD_PHOTOS = {
    "cut short": (
        lambda photo: photo[: len(photo) * 6 // 10],
        "core_004.png is cut short or damaged, expected a whole PNG of ",
    ),
    "empty": (
        lambda photo: b"",
        "core_004.png is empty (0 bytes), expected an image (JPEG, PNG, TIFF, BMP, WebP, GIF, "
        "AVIF or PNM). Copy it again.",
    ),
    "text": (
        lambda photo: b"not a picture",
        "core_004.png is damaged or something else, expected an image (JPEG, PNG, TIFF, BMP, WebP"
        ", GIF, AVIF or PNM). Copy it again, or save it as PNG.",
    ),
    "no core": (
        lambda photo: encoded(np.full((900, 300), 90, np.uint8)),
        "core_004.png: no core was found (expected a bright strip, longer than wide, on a darker "
        "ground). Add its edges to the table of photos, in columns crop_top_px, crop_bottom_px, "
        "crop_left_px and crop_right_px: their places in the photo, from its upper left corner.",
    ),
}


@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_a_photo_that_cannot_be_read_is_named(raw, refused, kind):
    spoil, sentence = BAD_PHOTOS[kind]
    path = raw / "photos" / VICTIM
    path.write_bytes(spoil(path.read_bytes()))
    said = refused("pack", "melt-layer", *PACKED)
    assert said.startswith(f"1 of 4 files cannot be read: {sentence}"), said
    assert said.endswith(f" {MEND}")


def test_a_bomb_is_refused_by_its_header_before_anything_is_decoded(raw, refused, monkeypatch):
    small = bomb()
    assert len(small) < 1_000_000
    (raw / "photos" / VICTIM).write_bytes(small)
    decoded, decode = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda b, *a: decoded.append(len(b)) or decode(b, *a))
    assert refused("pack", "melt-layer", *PACKED) == (
        "1 of 4 files cannot be read: core_004.png is a PNG of 400 megapixels. Only TIFF and JPEG "
        f"are read beyond 300. Save it as TIFF. {MEND}"
    )
    assert decoded and len(small) not in decoded


def test_bad_photos_are_left_out_where_the_user_says_so(raw, tfpipe):
    (raw / "photos" / VICTIM).write_bytes(b"")
    code, out, err = tfpipe("pack", "melt-layer", *PACKED, "--skip-bad", 1)
    assert code == 0, err
    assert "left out: core_004.png is empty (0 bytes)" in err
    assert VICTIM not in set(pd.read_csv(raw.parents[1] / "records/melt-layer/alignment.csv").photo)


def turned_jpeg(photo):
    exif = Image.Exif()
    exif[274] = 6
    stored = Image.fromarray(cv2.rotate(photo, cv2.ROTATE_90_COUNTERCLOCKWISE))
    return lambda path: stored.save(path, format="JPEG", quality=95, exif=exif)


GOOD_PHOTOS = {
    "16 bits": lambda photo: (
        lambda path: path.write_bytes(encoded(photo[..., ::-1].astype(np.uint16) * 257))
    ),
    "CMYK": lambda photo: (
        lambda path: Image.fromarray(photo).convert("CMYK").save(path, format="JPEG", quality=95)
    ),
    "turned by EXIF": turned_jpeg,
}


@pytest.mark.parametrize("kind", GOOD_PHOTOS)
def test_an_unusual_photo_is_read_like_a_usual_one(drawn, raw, data, tfpipe, kind):
    photo = np.array(Image.open(raw / "photos" / "core_001.png").convert("RGB"))
    GOOD_PHOTOS[kind](photo)(raw / "photos" / "core_001.png")
    code, _, err = tfpipe("pack", "melt-layer", *PACKED)
    assert code == 0, err
    row = pd.read_csv(data / "records/melt-layer/alignment.csv").iloc[0]
    truth = pd.read_csv(drawn / "truth.csv").iloc[0]
    assert row.photo == truth.photo == "core_001.png"
    for edge in ("top", "bottom", "left", "right"):
        assert abs(row[f"core_{edge}_px"] - truth[f"core_{edge}_px"]) <= 2
    assert row.status == "aligned" and abs(row.shift_px + truth.shift_px) <= 2
    assert row.layer_windows > 0


def test_a_photo_without_row_and_a_row_without_photo_are_noted(raw, tfpipe):
    (raw / "photos" / VICTIM).rename(raw / "photos" / "new.png")
    code, _, err = tfpipe("pack", "melt-layer", *PACKED)
    assert code == 0, err
    notes = [line for line in err.splitlines() if line.startswith("left out: ")]
    assert notes[:2] == [
        "left out: photos.csv line 5: photo 'core_004.png' is not in photos/, "
        "so its row is unused.",
        "left out: photos/new.png is not in photos.csv, so it is unused.",
    ]


def in_table(name, old, new):
    def spoil(raw):
        path = raw / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return spoil


def whole(name, text):
    return lambda raw: (raw / name).write_text(text)


BAD_TABLES = {
    "a photo named twice": (
        in_table("photos.csv", VICTIM, "core_001.png"),
        "photos.csv line 5: photo 'core_001.png' is already named on line 2. "
        "Keep one of the two rows.",
    ),
    "a path that climbs": (
        in_table("photos.csv", VICTIM, "../core_004.png"),
        "photos.csv line 5: '../core_004.png' has '..' in it, expected the name of a file under "
        "photos. Put the file there and give its name from there.",
    ),
    "an absolute path": (
        in_table("photos.csv", VICTIM, "/core_004.png"),
        "photos.csv line 5: '/core_004.png' is absolute, expected the name of a file under photos. "
        "Put the file there and give its name from there.",
    ),
    "a photo upside down": (
        in_table("photos.csv", "120.0000", "129.0000"),
        "photos.csv line 2: bottom_m 121.644 m is not below top_m 129 m. "
        "Swap them, or correct the row.",
    ),
    "a layer upside down": (
        whole("layers.csv", "depth from,depth to,type\n120.5,120.4,meltLayer\n"),
        "layers.csv line 2: depth_to 120.4 m is above depth_from 120.5 m. "
        "Swap them, or remove the row.",
    ),
    "text for a depth": (
        in_table("photos.csv", "120.0000", "surface"),
        "photos.csv line 2: top m is 'surface', expected a number. Correct the cell.",
    ),
    "an empty table": (
        whole("layers.csv", ""),
        "layers.csv is empty (0 bytes), expected a table "
        "(text as .csv or .tsv, a spreadsheet, .parquet or PANGAEA .tab). Copy it again.",
    ),
    "headings only": (
        whole("photos.csv", "photo,top_m,bottom_m\n"),
        "photos.csv has headings but no rows, expected one row or more. Add the rows.",
    ),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_a_wrong_table_is_refused_with_file_line_and_cure(raw, refused, kind):
    spoil, sentence = BAD_TABLES[kind]
    spoil(raw)
    assert refused("pack", "melt-layer", *PACKED) == sentence


def test_one_photo_alone_is_too_few(raw, refused):
    rows = (raw / "photos.csv").read_text().splitlines()
    (raw / "photos.csv").write_text("\n".join(rows[:2]))
    said = refused("pack", "melt-layer", *PACKED)
    assert said.startswith("Every split needs every class, but ")
    assert "validation has no no-layer, validation has no melt-layer" in said
    assert said.endswith(
        "There is 1 file, where each split needs one, so another --salt cannot help: add files."
    )


def test_one_class_alone_is_too_few(raw, refused):
    layers = raw / "layers.csv"
    layers.write_text(layers.read_text().replace("meltLayer", "meltLens"))
    said = refused("pack", "melt-layer", *PACKED)
    assert said.startswith(
        "Every split needs every class, but train has no melt-layer, validation has no melt-layer, "
        "test has no melt-layer (train: "
    )
    assert said.endswith("Label some as melt-layer.")


BAD_WORDS = {
    "task": (
        ("pack", "melt-layr"),
        "No task called 'melt-layr'. Did you mean 'melt-layer'? There are: melt-layer, insolubles, "
        "ccd-tracks, ionization-redshift, ionization-escape-fraction, folds.",
    ),
    "model": (
        ("train", "melt-layer", "--model", "enhanced-cn"),
        "No model for melt-layer called 'enhanced-cn'. Did you mean 'enhanced-cnn'? There are: "
        "simple-cnn, simple-cnn-interval, enhanced-cnn, ",
    ),
    "option": (
        ("pack", "melt-layer", "-o", "strid=5"),
        "No melt-layer option called 'strid'. Did you mean 'stride_px'? There are: ",
    ),
    "option without a value": (
        ("pack", "melt-layer", "-o", "stride_px"),
        "--option 'stride_px' has no '='. Write it as name=value.",
    ),
    "whole number": (
        ("pack", "melt-layer", "-o", "stride_px=ten"),
        "Option stride_px is 'ten', expected a whole number.",
    ),
    "number": (
        ("pack", "melt-layer", "-o", "max_shift_mm=far"),
        "Option max_shift_mm is 'far', expected a number.",
    ),
    "choice": (
        ("pack", "melt-layer", "-o", "top_is=north"),
        "Option top_is is 'north', expected up or left or right or down.",
    ),
    "too small": (
        ("pack", "melt-layer", "-o", "stride_px=0"),
        "Option stride_px is '0', expected at least 1.",
    ),
    "not a number": (
        ("pack", "melt-layer", "-o", "max_shift_mm=nan"),
        "Option max_shift_mm is 'nan', expected at least 1.",
    ),
    "shards": (
        ("pack", "melt-layer", "--shards", "0"),
        "--shards '0' is neither auto nor a number from 1 to 99999. Give the shards of each ",
    ),
    "shards of nothing": (
        ("repack", "melt-layer", "--shards", "auto"),
        "data/records/melt-layer holds no packed records. Run `tfpipe pack` first.",
    ),
    "no version": (
        ("predict", "melt-layer", "data/raw/melt-layer/photos", "--out", "layers.csv"),
        "saved_models/melt-layer holds no version yet. Run `tfpipe tune melt-layer` first.",
    ),
}


@pytest.mark.parametrize("kind", BAD_WORDS)
def test_a_wrong_word_is_refused_and_the_right_one_offered(refused, kind, tmp_path):
    words, sentence = BAD_WORDS[kind]
    assert refused(*words).startswith(sentence)
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("tune", "--algorithm", "hyper"), "No search algorithm called 'hyper'. Did you mean "),
        (("train", "--balance", "sample"), "No balance called 'sample'. Did you mean 'sampling'?"),
        (("train", "--precision", "float23"), "No precision called 'float23'. Did you mean "),
        (("train", "--hp", "filtrs=3"), "No hyperparameter of simple-cnn called 'filtrs'. Did "),
        (("train", "--split", "nan/20/20"), "--split is 'nan/20/20', expected three shares"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_packed(refused, words, sentence):
    assert refused(words[0], "melt-layer", *words[1:], *PACKED).startswith(sentence)


@pytest.mark.parametrize("split", ["60/40", "60/20/30", "a/b/c", "100/0/0", "120/-10/-10", ""])
def test_a_split_must_be_three_shares_of_a_hundred(refused, split):
    assert refused("pack", "melt-layer", "--split", split) == (
        f"--split is {split!r}, expected three shares above 0 that add up to 100."
    )


@pytest.mark.parametrize("words", [("pack", "melt-layer", "--sallt", "1"), ("pak", "melt-layer")])
def test_an_unknown_flag_or_command_is_refused_and_the_right_one_offered(tfpipe, data, words):
    code, out, err = tfpipe(*words)
    assert code == 2 and out == "" and "Traceback" not in err
    assert "Did you mean" in err or "Possible options" in err or "No such" in err
    assert not (data / "records").exists()


def test_a_missing_raw_folder_is_refused(refused, tmp_path):
    assert refused("pack", "melt-layer", "--data", tmp_path / "nowhere") == (
        f"{tmp_path / 'nowhere/raw/melt-layer/photos'} is missing: expected a folder of photos. "
        "`tfpipe tasks melt-layer` says what goes where."
    )


def test_records_that_cannot_be_written_are_refused(data, refused):
    (data / "records").write_text("a file where the folder would be")
    said = refused("pack", "melt-layer", *PACKED)
    assert said == (
        "data/records/melt-layer cannot be written: File exists. Free some space or choose another "
        "folder."
    )


SPEC = Spec((50, 200, 3), ("no-layer", "melt-layer"), (128.0,) * 3, (40.0,) * 3)


class Dark:
    """Stands in for a saved version: every window shows a layer."""

    card = made_card(thresholds={"decision": 0.5, "confident": 0.7}, spec=SPEC)

    def __init__(self, version):
        pass

    def predict_proba(self, images=None, columns=None):
        return np.tile([[0.1, 0.9]], (len(images), 1))


@pytest.fixture
def version(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "open_version", Dark)
    monkeypatch.setattr(store, "read_card", lambda version: Dark.card)
    monkeypatch.setattr(store, "find", lambda *args, **kwargs: tmp_path / "simple-cnn" / "1")


@pytest.mark.usefixtures("version")
def test_a_missing_photo_is_refused_and_nothing_is_written(refused, tmp_path):
    assert refused("predict", "melt-layer", "gone.png", "--out", "layers.csv") == (
        "gone.png does not exist. Give photos, or folders of photos."
    )
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


@pytest.mark.usefixtures("version")
def test_a_missing_table_of_photos_is_refused(refused, tmp_path):
    words = ("data/raw/melt-layer/photos", "--out", "layers.csv", "--photos-table", "gone.csv")
    assert refused("predict", "melt-layer", *words).startswith("gone.csv does not exist, expected ")
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


@pytest.mark.usefixtures("version")
def test_answers_that_cannot_be_written_are_refused(refused, tmp_path):
    (tmp_path / "taken").write_text("a file")
    photo = "data/raw/melt-layer/photos/core_001.png"
    said = refused("predict", "melt-layer", photo, "--out", "taken/layers.csv")
    assert "cannot be written: " in said and said.startswith("taken")
    assert (tmp_path / "taken").read_text() == "a file"


@pytest.mark.usefixtures("version")
def test_the_other_photos_are_answered_when_one_cannot_be_read(raw, tfpipe, tmp_path):
    (raw / "photos" / VICTIM).write_bytes(b"")
    code, _, err = tfpipe("predict", "melt-layer", raw / "photos", "--out", "layers.csv")
    assert code == 2 and "Traceback" not in err
    assert "core_004.png is empty (0 bytes)" in err
    assert err.splitlines()[-1].startswith("tfpipe: 1 files could not be read; ")
    found = pd.read_csv(tmp_path / "layers.csv")
    assert set(found.photo) == {"core_001.png", "core_002.png", "core_003.png"}
    assert found.depth_from_m.between(120, 125).all()
    assert len(list((tmp_path / "layers").glob("*.png"))) == 3
    assert pd.read_csv(tmp_path / "layers" / "skipped.csv").iloc[0, 0] == VICTIM


@pytest.mark.usefixtures("version")
def test_no_photo_that_can_be_read_is_refused_and_nothing_is_written(refused, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"")
    assert refused("predict", "melt-layer", "photo.png", "--out", "layers.csv") == (
        "No file could be read: photo.png is empty (0 bytes), expected an image (JPEG, PNG, TIFF, "
        "BMP, WebP, GIF, AVIF or PNM). Copy it again."
    )
    assert {path.name for path in tmp_path.iterdir()} == {"data", "photo.png"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--runner", "DaskRunner"], "Run `pip install 'tfpipe[beam]'`."),
        (["--beam-option", "direct_num_workers=2"], "Name one by --runner"),
    ],
)
def test_a_runner_needs_beam_and_its_options_a_runner(tfpipe, data, monkeypatch, words, sentence):
    monkeypatch.setitem(sys.modules, "apache_beam", None)  # as where it is not installed
    code, _, error = tfpipe("pack", "melt-layer", *words)
    assert code == 2 and sentence in error and "Traceback" not in error
    assert not (data / "records").exists()
