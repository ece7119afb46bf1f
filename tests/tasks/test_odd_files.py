"""Folders, tables and files as people have them: each is packed with a note, or one sentence.

Each case draws a folder and says what the survey must give: the number of images of each class, or
what the sentence must say, and what a note must say. No case may end in a traceback.
"""

import io
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tfpipe.base.errors import UserError
from tfpipe.tasks import catalog
from tfpipe.tasks.options import parse_options


def draw(folder: Path, *names: str) -> None:
    """Writes pictures of coarse noise that is a function of their paths."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(name.encode()))
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        image = cv2.resize(coarse, (32, 24))
        if path.suffix in (".avif", ".gif"):
            data = io.BytesIO()
            Image.fromarray(image).save(data, path.suffix[1:].upper())
            path.write_bytes(data.getvalue())
        else:
            suffix = path.suffix if path.suffix.lower() != ".heic" else ".png"
            path.write_bytes(cv2.imencode(suffix, image)[1].tobytes())


def classes(folder: Path, *names: str, count: int = 2, suffix: str = ".png") -> None:
    draw(folder, *(f"{n}/{Path(n).name}{i}{suffix}" for n in names for i in range(count)))


def write(folder: Path, name: str, text: str, *, encoding: str = "utf-8") -> None:
    (folder / name).write_bytes(text.encode(encoding))


def plain(folder):
    classes(folder, "oak", "elm")


def split_sets(folder):
    classes(folder, *(f"{s}/{c}" for s in ("train_set", "val", "eval-set") for c in ("oak", "elm")))


def split_images(folder):
    classes(folder, *(f"{s}/{c}" for s in ("Train Images", "Test Images") for c in ("oak", "elm")))


def only_train(folder):
    classes(folder, "train/oak", "train/elm", count=20)


def wrapped(folder):
    classes(folder, "dataset/oak", "dataset/elm")


def wrapped_twice(folder):
    classes(
        folder, "data/v1/train/oak", "data/v1/test/oak", "data/v1/train/elm", "data/v1/test/elm"
    )


def from_windows(folder):
    plain(folder)
    draw(folder, "__MACOSX/oak/._oak0.png")
    write(folder, "Thumbs.db", "x")
    write(folder, "oak/.DS_Store", "x")
    write(folder, "oak/Thumbs.db", "x")


def spaces(folder):
    classes(folder, "red  oak", "Größe", "осока")


def twins(folder):
    classes(folder, "Oak", "oak ", "1", "1.0")


def empty_class(folder):
    plain(folder)
    (folder / "ash").mkdir()


def empty_file(folder):
    plain(folder)
    write(folder, "oak/zero.png", "")


def loose(folder):
    plain(folder)
    draw(folder, "loose.png")


def no_folders(folder):
    draw(folder, "a.png", "b.png")


def heic(folder):
    classes(folder, "oak", "elm", suffix=".heic")


def some_heic(folder):
    plain(folder)
    draw(folder, "oak/phone.HEIC")


def avif(folder):
    classes(folder, "oak", "elm", suffix=".avif")


def in_table(folder):
    draw(folder, "train/a.png", "train/b.png", "train/c.png")


def kaggle(folder):
    in_table(folder)
    write(folder, "labels.csv", "id,breed\na,oak\nb,elm\nc,oak\n")


def filename_label(folder):
    in_table(folder)
    write(folder, "list.csv", "filename,label\na.png,oak\nb.png,elm\nc.png,oak\n")


def with_bom(folder):
    in_table(folder)
    write(folder, "labels.csv", "\ufefffile;class\na.png;oak\nb.png;elm\nc.png;oak\n")


def windows_paths(folder):
    in_table(folder)
    write(
        folder, "labels.csv", "path,label\ntrain\\a.png,oak\ntrain\\b.png,elm\ntrain\\c.png,oak\n"
    )


def utf16(folder):
    in_table(folder)
    write(folder, "labels.csv", "image\tlabel\na\toak\nb\telm\nc\toak\n", encoding="utf-16")


def hash_lines(folder):
    in_table(folder)
    write(folder, "labels.csv", "# made by me\n# 2024\nimage,label\na,oak\nb,elm\nc,oak\n")


def second_sheet(folder):
    in_table(folder)
    with pd.ExcelWriter(folder / "labels.xlsx") as book:
        pd.DataFrame({"read": ["me"]}).to_excel(book, sheet_name="about", index=False)
        table = pd.DataFrame({"image": list("abc"), "label": ["oak", "elm", "oak"]})
        table.to_excel(book, sheet_name="labels", index=False)


def no_label(folder):
    in_table(folder)
    write(folder, "labels.csv", "image,size\na,3\nb,4\nc,5\n")


def absent(folder):
    in_table(folder)
    write(folder, "labels.csv", "image,label\na,oak\nb,elm\nz,oak\n")


def twice(folder):
    in_table(folder)
    write(folder, "labels.csv", "image,label\na,oak\nb,elm\na.png,oak\n")


def ambiguous(folder):
    draw(folder, "one/a.png", "two/a.png")
    write(folder, "labels.csv", "image,label\na,oak\n")


def outside(folder):
    in_table(folder)
    write(folder, "labels.csv", "path,label\n../x.png,oak\n")


def numbers_beside(folder):
    plain(folder)
    write(folder, "sizes.csv", "id,area\n1,2\n2,3\n")
    write(folder, "exif.csv", "image,iso\noak0,100\n")


def predictions_beside(folder):
    plain(folder)
    write(folder, "out.csv", "key,file,label,abstain,p_oak\noak0,oak/oak0.png,oak,False,0.9\n")


def runs_of_one_class(folder):
    classes(folder, "oak/run1", "oak/run2")


def other_table(folder):
    plain(folder)
    write(folder, "notes.csv", "who,when\nme,now\n")


def two_tables(folder):
    in_table(folder)
    for name in ("a.csv", "b.csv"):
        write(folder, name, "image,label\na,oak\n")


def two_classes(folder):
    plain(folder)
    (folder / "elm" / "same.png").write_bytes((folder / "oak" / "oak0.png").read_bytes())


def twins_of_table(folder):
    in_table(folder)
    write(folder, "labels.csv", "image,label\na,Oak\nb,oak\nc,oak\n")


BOTH = {"elm": 2, "oak": 2}
TABLED = {"elm": 1, "oak": 2}


@pytest.mark.parametrize(
    ("case", "gives", "says"),
    [
        (plain, BOTH, "Images are 24 x 32 px"),
        (
            split_sets,
            {"elm": 6, "oak": 6},
            r"train_set \(train\).*eval-set \(validation\)|eval-set",
        ),
        (split_images, {"elm": 4, "oak": 4}, r"Train Images \(train\).*There is no validation"),
        (only_train, {"elm": 20, "oak": 20}, r"train \(train\).*There is no test split"),
        (wrapped, BOTH, "dataset/ only holds the other folders, so it is no class"),
        (wrapped_twice, {"elm": 4, "oak": 4}, r"data/v1/ only holds"),
        (from_windows, BOTH, "1 files in class folders are no images: oak/Thumbs.db"),
        (spaces, {"Größe": 2, "red oak": 2, "осока": 2}, ""),
        (twins, {"1": 2, "1.0": 2, "Oak": 2, "oak": 2}, "'1' and '1.0' are two.*'Oak' and 'oak'"),
        (empty_class, None, "The class folder ash holds no image"),
        (empty_file, {"elm": 2, "oak": 3}, ""),
        (loose, BOTH, "1 images lie in no class folder: loose.png"),
        (no_folders, None, "holds no class folders, expected one for each class"),
        (
            heic,
            None,
            "The class folder elm holds 2 HEIC images, which cannot be read. Convert them",
        ),
        (some_heic, BOTH, r"1 HEIC images cannot be read: convert them to PNG or JPEG"),
        (avif, BOTH, ""),
        (kaggle, TABLED, "Images and classes are those of labels.csv: id, breed"),
        (filename_label, TABLED, "those of list.csv: filename, label"),
        (with_bom, TABLED, "those of labels.csv: file, class"),
        (windows_paths, TABLED, ""),
        (utf16, TABLED, ""),
        (hash_lines, TABLED, ""),
        (second_sheet, TABLED, "those of labels.xlsx"),
        (no_label, {"train": 3}, "labels.csv lists no images.*its columns are image, size"),
        (absent, None, "labels.csv line 4: the image z is not under case"),
        (twice, None, "labels.csv line 4: the image train/a.png is already in line 2"),
        (ambiguous, None, "labels.csv line 2: 'a' may be one/a.png or two/a.png"),
        (outside, None, "labels.csv line 2: '../x.png' has '..' in it"),
        (
            other_table,
            BOTH,
            "notes.csv lists no images, so it is unused: its columns are who, when",
        ),
        (numbers_beside, BOTH, "exif.csv lists no images.*sizes.csv lists no images"),
        (predictions_beside, BOTH, "out.csv lists no images"),
        (runs_of_one_class, {"oak": 4}, ""),
        (two_tables, None, "several tables that may be the table of images: a.csv, b.csv"),
        (two_classes, None, r"The same image is in two classes: .*conflicts=leave-out"),
        (twins_of_table, {"Oak": 1, "oak": 2}, "'Oak' and 'oak' are two"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_people_have_is_read_or_refused_in_a_sentence(
    tmp_path, monkeypatch, case, gives, says
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "case"
    folder.mkdir()
    case(folder)
    task = catalog.find(str(folder))
    options = parse_options(task, [])
    if gives is None:
        with pytest.raises(UserError, match=says) as error:
            task.survey(folder, options)
        assert "\n" not in str(error.value) and str(error.value).endswith(".")
        return
    survey = task.survey(folder, options)
    counts = Counter(survey.classes[source.about.label] for source in survey.sources)
    assert dict(counts) == gives
    assert re.search(says, " ".join(survey.notes))
    for source in survey.sources:
        try:
            (example,) = task.read(source, survey.options).examples
            assert example.image.dtype == np.uint8
        except UserError as error:
            assert "zero.png is empty" in str(error)
