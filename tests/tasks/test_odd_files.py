"""Folders, tables and files as people have them: each is packed with a note, or one sentence.

pillow-heif counts as not installed here; `tests/base/test_images.py` reads HEIC with it. Each case
draws a folder and says what the survey must give: the number of images of each class, or
what the sentence must say, and what a note must say. No case may end in a traceback.
"""

import io
import re
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tfpipe import cli
from tfpipe.base.errors import UserError
from tfpipe.tasks import catalog
from tfpipe.tasks.annotations import decisions
from tfpipe.tasks.options import parse_options

# The first bytes of a photo of an iPhone, up to the brands that it is compatible with.
HEIC_HEADER = b"\0\0\0\x24ftypheic\0\0\0\0mif1MiPrmiafMiHBheic"


@pytest.fixture(autouse=True)
def without_pillow_heif(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)


def draw(folder: Path, *names: str) -> None:
    """Writes pictures of coarse noise that is a function of their paths."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(name.encode()))
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        image = cv2.resize(coarse, (32, 24))
        if path.suffix.lower() == ".heic":
            path.write_bytes(HEIC_HEADER + bytes(64))
        elif path.suffix in (".avif", ".gif"):
            data = io.BytesIO()
            Image.fromarray(image).save(data, path.suffix[1:].upper())
            path.write_bytes(data.getvalue())
        else:
            path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


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


def loose_heic(folder):
    plain(folder)
    draw(folder, "a.heic", "b.png")


def heic_in_table(folder):
    draw(folder, "train/a.png", "train/b.heic")
    write(folder, "labels.csv", "image,label\na,oak\nb,elm\n")


def only_loose_heic(folder):
    draw(folder, "a.heic", "b.heic")


def outer_folder(folder):
    classes(folder, "My photos/oak", "My photos/elm")
    draw(folder, "loose.png")


def heic_by_another_name(folder):
    classes(folder, "oak", "elm", count=20, suffix=".jpg")
    (folder / "oak" / "oak0.jpg").write_bytes(HEIC_HEADER + bytes(64))


def wrapped_sets(folder):
    classes(folder, "My photos/oak", "My photos/elm", count=20)


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


def unlisted(folder):
    draw(folder, *(f"pics/{i}.png" for i in range(40)))
    rows = "".join(f"{i},{'oak' if i % 2 else 'elm'}\n" for i in range(32))
    write(folder, "labels.csv", f"image,label\n{rows}")


def contradiction(folder):
    plain(folder)
    write(folder, "labels.csv", "image,label\noak0,elm\noak1,oak\nelm0,oak\nelm1,elm\n")


def agreement(folder):
    plain(folder)
    write(folder, "labels.csv", "image,label,group\noak0,oak,g\noak1,oak,g\nelm0,elm,h\n")


def joined(folder):
    plain(folder)
    write(folder, "list.csv", "image,group,iso\n" + "".join(
        f"{c}{i},{c}{i},10{i}\n" for c in ("oak", "elm") for i in range(2)
    ))  # fmt: skip


def table_in_wrapper(folder):
    in_table(folder / "dataset")
    write(folder / "dataset", "labels.csv", "image,label\ntrain/a.png,oak\nb,elm\nc,oak\n")


def table_beside(folder):
    in_table(folder)
    (folder / "annotations").mkdir()
    write(folder / "annotations", "list.tsv", "file\tclass\n../train/a.png\toak\nb\telm\nc\toak\n")


def table_among_images(folder):
    in_table(folder)
    write(folder / "train", "labels.csv", "file,label\na.png,oak\nb.png,elm\nc.png,oak\n")


def tables_in_folders(folder):
    draw(folder, "one/a.png", "two/b.png")
    write(folder / "one", "labels.csv", "file,label\na.png,oak\n")
    write(folder / "two", "labels.csv", "file,label\nb.png,elm\n")


def empty_table(folder):
    plain(folder)
    write(folder, "labels.csv", "")


def empty_table_alone(folder):
    draw(folder, "a.png")
    write(folder, "labels.csv", "")


def headings_alone(folder):
    in_table(folder)
    write(folder, "labels.csv", "file,label\n")


def second_table(folder):
    filename_label(folder)
    write(folder, "other.csv", "id,breed\na,elm\n")
    write(folder, "README.txt", "Trees of a park.\n")


def decided(folder):
    plain(folder)
    key = "oak/oak0.png"
    line = f"2026-01-01,me,{key},{key},,,elm,simple-cnn/1,validated,label"
    write(folder, "labels.csv", f"{decisions.HEADING}\n{line}\n")


def cyrillic(folder):
    in_table(folder)
    write(folder, "labels.csv", "image;label\na;дуб\nb;вяз\nc;дуб\n", encoding="cp1251")


def western(folder):
    in_table(folder)
    write(folder, "labels.csv", "image;label\na;Bäume\nb;forêt\nc;Bäume\n", encoding="latin-1")


def capitals(folder):
    draw(folder, "Train/IMG_1.JPG", "Train/img_2.jpg", "Train/Größe.png")
    write(folder, "labels.csv", "image,label\ntrain/img_1.jpg,oak\nIMG_2.JPG,elm\ngröße,oak\n")


def named_splits(folder):
    in_table(folder)
    write(folder, "l.csv", "image,label,split\na,oak,train_set\nb,elm,Val\nc,oak,eval\n")


def folders_of_splits(folder):
    draw(folder, "train/a.png", "train/b.png", "val/a.png", "val/b.png")
    write(
        folder,
        "labels.csv",
        "path,label\ntrain/a.png,oak\ntrain/b.png,elm\nval/a.png,oak\nval/b,elm\n",
    )


def contradicts_splits(folder):
    draw(folder, *(f"{split}/{i}.png" for split in ("train", "val") for i in range(2)))
    rows = "train/0,oak,val\ntrain/1,elm,train\nval/0,oak,val\nval/1,elm,\n"
    write(folder, "labels.csv", f"path,label,split\n{rows}")


def splits_within_train(folder):
    in_table(folder)
    write(folder, "labels.csv", "image,label,split\na,oak,train\nb,elm,val\nc,oak,test\n")


def joined_against_splits(folder):
    classes(folder, *(f"{split}/{c}" for split in ("train", "val") for c in ("oak", "elm")))
    names = [f"{s}/{c}/{c}{i}" for s in ("train", "val") for c in ("oak", "elm") for i in range(2)]
    write(folder, "l.csv", "path,split\n" + "".join(f"{name}.png,train\n" for name in names))


def two_tables(folder):
    in_table(folder)
    for name in ("a.csv", "b.csv"):
        write(folder, name, "image,label\na,oak\n")


def two_classes(folder):
    plain(folder)
    (folder / "elm" / "same.png").write_bytes((folder / "oak" / "oak0.png").read_bytes())


def class_of_two(folder):
    classes(folder, "oak", "ash", count=20)
    classes(folder, "elm", count=2)


def train_alone_with_a_class_of_two(folder):
    classes(folder, "train/oak", count=20)
    classes(folder, "train/elm", count=2)


def lacks_a_class_of_test(folder):
    classes(folder, "train/oak", "train/elm", "test/oak", count=20)


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
        (
            only_train,
            {"elm": 20, "oak": 20},
            r"train \(train\).*There is no validation split and no test split",
        ),
        (wrapped, BOTH, "dataset/ only holds the other folders, so it is no class"),
        (wrapped_twice, {"elm": 4, "oak": 4}, r"data/v1/ only holds"),
        (from_windows, BOTH, "1 files in class folders are no images: oak/Thumbs.db"),
        (spaces, {"Größe": 2, "red oak": 2, "осока": 2}, ""),
        (twins, {"1": 2, "1.0": 2, "Oak": 2, "oak": 2}, "'1' and '1.0' are two.*'Oak' and 'oak'"),
        (empty_class, None, "The class folder ash holds no image"),
        (empty_file, {"elm": 2, "oak": 3}, ""),
        (loose, BOTH, "1 image lies in no class folder: loose.png"),
        (no_folders, None, "holds no class folders, expected one for each class"),
        (
            heic,
            None,
            "The class folder elm holds 2 HEIC images, which cannot be read. Run `pip install "
            "pillow-heif`, or convert them",
        ),
        (
            some_heic,
            BOTH,
            "1 HEIC image cannot be read: oak/phone.HEIC. Run `pip install pillow-heif`, or",
        ),
        (
            loose_heic,
            BOTH,
            "1 HEIC image .*: a.heic. Run `pip .*1 image lies in no class folder: b",
        ),
        (
            heic_in_table,
            None,
            "line 3: train/b.heic cannot be read; the table lists 1 HEIC image. Run",
        ),
        (only_loose_heic, None, "no class folders, and only 2 HEIC images that cannot be read"),
        (
            outer_folder,
            BOTH,
            "My photos/ only holds the other folders, so it is no class: the classes are elm, oak"
            ".*1 image lies in no class folder: loose.png",
        ),
        (avif, BOTH, ""),
        (kaggle, TABLED, "Images and classes are those of labels.csv: id, breed"),
        (filename_label, TABLED, "those of list.csv: filename, label"),
        (with_bom, TABLED, "those of labels.csv: file, class"),
        (windows_paths, TABLED, ""),
        (utf16, TABLED, ""),
        (hash_lines, TABLED, ""),
        (second_sheet, TABLED, "those of labels.xlsx"),
        (no_label, None, "labels.csv has the columns 'image', 'size', expected 'label' or"),
        (
            unlisted,
            {"elm": 16, "oak": 16},
            "8 images are not in labels.csv: pics/32.png, pics/33.png, .* and 3 more",
        ),
        (
            contradiction,
            None,
            "labels.csv contradicts the class folders: oak/oak0.png is elm in line 2; elm/elm0.png",
        ),
        (agreement, {"elm": 1, "oak": 2}, "1 image is not in labels.csv: elm/elm1.png"),
        (joined, BOTH, "Classes are the folders; list.csv adds group, iso"),
        (table_in_wrapper, TABLED, "those of dataset/labels.csv"),
        (table_beside, TABLED, "those of annotations/list.tsv: file, class"),
        (table_among_images, TABLED, "those of train/labels.csv"),
        (tables_in_folders, None, "several tables .*: one/labels.csv, two/labels.csv. Keep one"),
        (empty_table, BOTH, r"labels.csv is unused: labels.csv is empty \(0 bytes\)"),
        (empty_table_alone, None, r"labels.csv is unused: labels.csv is empty \(0 bytes\)"),
        (headings_alone, None, "labels.csv has headings but no rows"),
        (second_table, TABLED, "other.csv is unused, as list.csv lists the images.$"),
        (decided, BOTH, "stretched where their shape differs. .*channels= and fit=.$"),
        (cyrillic, {"вяз": 1, "дуб": 2}, "labels.csv is not in UTF-8; it was read as Windows-1251"),
        (western, {"Bäume": 2, "forêt": 1}, "it was read as Windows-1252. Save it as UTF-8 if"),
        (capitals, TABLED, "those of labels.csv"),
        (named_splits, TABLED, "those of l.csv"),
        (folders_of_splits, BOTH, "The splits train, validation are those of the folders"),
        (absent, None, "labels.csv line 4: the image z is not under case"),
        (twice, None, "labels.csv line 4: the image train/a.png is already in line 2"),
        (ambiguous, None, "labels.csv line 2: 'a' may be one/a.png or two/a.png"),
        (outside, None, "labels.csv line 2: '../x.png' has '..' in it"),
        (
            other_table,
            BOTH,
            "notes.csv lists no images, so it is unused: its columns are who, when",
        ),
        (
            numbers_beside,
            BOTH,
            "exif.csv has no column of classes and lists 1 of 4 .*sizes.csv lists no",
        ),
        (predictions_beside, BOTH, "out.csv lists no images"),
        (runs_of_one_class, {"run1": 2, "run2": 2}, "oak/ only .*: the classes are run1, run2"),
        (
            contradicts_splits,
            None,
            "labels.csv contradicts the folders of splits: train/0.png is in validation. Correct",
        ),
        (splits_within_train, TABLED, "those of labels.csv"),
        (
            joined_against_splits,
            None,
            "l.csv contradicts the folders of splits: val/elm/elm0.png is in train, .* 1 more",
        ),
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


@pytest.mark.parametrize(
    ("case", "code", "says"),
    [
        (unlisted, 0, r"left out: 8 images are not in labels.csv: pics/32.png.*(\n.*)*counts:"),
        (wrapped_sets, 0, "note: My photos/ only holds the other folders.*(\n.*)*counts:"),
        (
            cyrillic,
            2,
            "note: labels.csv is not in UTF-8(.*\n)*tfpipe: Every split needs every class",
        ),
        (
            class_of_two,
            2,
            "elm has 2 files, where each split needs one, so another --salt cannot help: add files",
        ),
        (train_alone_with_a_class_of_two, 2, "elm has 2 files, where .* --salt cannot help"),
        (lacks_a_class_of_test, 2, r"The splits are yours: put elm into test\.$"),
        (contradiction, 2, "^tfpipe: labels.csv contradicts the class folders"),
        (
            heic_by_another_name,
            2,
            "tfpipe: 1 of 40 files cannot be read: oak0.jpg is a HEIC image.*pip install",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_pack_prints_what_was_left_out_and_why_it_failed(
    tmp_path, monkeypatch, capfd, case, code, says
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "case"
    folder.mkdir()
    case(folder)
    monkeypatch.setattr(sys, "argv", ["tfpipe", "pack", "./case"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    printed = capfd.readouterr()
    assert stop.value.code == code
    assert re.search(says, printed.err + printed.out)
    assert "Traceback" not in printed.err
