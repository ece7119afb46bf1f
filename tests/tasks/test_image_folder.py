"""Any folder of pictures: its classes, groups, splits and size, and what is wrong with it."""

import dataclasses
import re
import shutil
from collections import Counter

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tfpipe.base import images
from tfpipe.base.errors import UserError
from tfpipe.tasks import catalog, image_folder
from tfpipe.tasks.image_folder import infer_size, reader
from tfpipe.tasks.image_folder.options import ImageFolderOptions, shape_of
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import SPLITS, Source


def picture(path, *, shape=(24, 32, 3), seed=None):
    """Writes coarse noise that is a function of the path, or of a seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(str(path.name).encode()) if seed is None else seed)
    coarse = rng.integers(0, 256, (6, 8, *shape[2:]), np.uint8)
    data = cv2.imencode(path.suffix, cv2.resize(coarse, shape[1::-1]))[1]
    path.write_bytes(data.tobytes())


def tree(folder, *names, count=2, **given):
    """Draws pictures of each class folder."""
    for name in names:
        for i in range(count):
            picture(folder / name / f"{name.replace('/', '-')}_{i}.png", **given)
    return folder


def surveyed(folder, *words):
    task = catalog.find(str(folder))
    return task.survey(task.raw_files.folder, parse_options(task, words))


def refused(folder, says, *words):
    with pytest.raises(UserError, match=says) as error:
        surveyed(folder, *words)
    assert "\n" not in str(error.value)


def test_a_folder_is_a_task_under_a_safe_name(tmp_path, monkeypatch):
    tree(tmp_path / "Größe der Füße (2)", "a", "b")
    task = catalog.find(str(tmp_path / "Größe der Füße (2)"))
    assert task.name == "groe-der-fue-2" and task.raw_files.folder.is_absolute()
    tree(tmp_path / "insolubles", "a", "b")
    monkeypatch.chdir(tmp_path)
    assert catalog.find("./insolubles").name == "insolubles-pictures"
    assert catalog.find("insolubles") is catalog.TASKS["insolubles"]
    assert catalog.origin_of(catalog.find("./insolubles")) == str(tmp_path / "insolubles")
    assert catalog.origin_of(catalog.find("insolubles")) == "insolubles"
    with pytest.raises(UserError, match="no folder"):
        catalog.find("./nowhere")
    with pytest.raises(UserError, match="Did you mean 'insolubles'"):
        catalog.find("insoluble")


def test_classes_are_sorted_and_pictures_come_in_a_fixed_order(tmp_path):
    found = surveyed(tree(tmp_path, "pear", "apple", "fig"))
    assert found.classes == ("apple", "fig", "pear")
    assert [source.name for source in found.sources][:2] == [
        "apple/apple_0.png",
        "apple/apple_1.png",
    ]
    assert [source.about.label for source in found.sources] == [0, 0, 1, 1, 2, 2]
    assert all(source.group == source.name and not source.split for source in found.sources)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "TEST")])
def test_folders_of_splits_are_honoured(tmp_path, names):
    for name in names:
        tree(tmp_path, f"{name}/b", f"{name}/a/inner")
    found = surveyed(tmp_path)
    assert found.classes == ("a", "b")
    for name, split in zip(names, SPLITS, strict=True):
        own = [source for source in found.sources if source.name.startswith(f"{name}/")]
        assert len(own) == 4
        assert {SplitConfig((0.2, 0.2, 0.6)).of_source(one) for one in own} == {split}


def test_a_lacking_split_is_drawn_from_train_with_each_class(tmp_path):
    tree(tmp_path, "train/a", "train/b", count=16)
    tree(tmp_path, "test/a", "test/b")
    survey = surveyed(tmp_path)
    assigned = SplitConfig().assigned(survey.sources)
    counts = Counter((s.strata[0], assigned.of_source(s)) for s in survey.sources)
    for name in "ab":
        assert counts[name, "test"] == 2
        # 60 and 20 of 80 %: 12 and 4 of 16.
        assert counts[name, "train"] == 12 and counts[name, "validation"] == 4
    assert any("There is no validation split: groups of train" in note for note in survey.notes)


def test_with_train_alone_the_splits_are_those_of_one_tree(tmp_path):
    tree(tmp_path, "train/a", "train/b", count=16)
    survey = surveyed(tmp_path)
    assert not any(source.split for source in survey.sources)
    assert {source.allowed_splits for source in survey.sources} == {SPLITS}
    (note,) = (note for note in survey.notes if "There is no" in note)
    assert note.startswith("There is no validation split and no test split: groups of train")


def test_cells_of_split_that_are_empty_are_free(tmp_path):
    table(tmp_path, "path,label,split\npics/a.png,x,test\npics/b.png,x,\npics/c.png,y,\n")
    survey = surveyed(tmp_path)
    assert [source.split for source in survey.sources] == ["test", "", ""]
    assert survey.sources[1].allowed_splits == SPLITS


def test_pictures_without_a_train_folder_are_refused(tmp_path):
    refused(tree(tmp_path, "val/a", "test/a"), "none is in train")


@settings(max_examples=30, deadline=None)
@given(some.text(max_size=9), some.sampled_from(["", *SPLITS]))
def test_the_users_split_comes_before_the_hash(group, split):
    source = Source("a", group, None, split=split)
    config = SplitConfig((0.5, 0.25, 0.25))
    assert config.of_source(source) == (split or config.of_group(group))


def test_groups_are_told_by_names(tmp_path):
    for name in ("o1_a.png", "o1_b.png", "o2_a.png"):
        picture(tmp_path / "x" / name)
    tree(tmp_path, "o3")
    found = surveyed(tmp_path, r"group-from=^(o\d)_")
    assert [source.group for source in found.sources] == ["o3", "o3", "o1", "o1", "o2"]
    refused(tmp_path, "has no group", r"group-from=^(q\d)_")
    refused(tmp_path, "no regular expression", "group-from=(")


# Odd folders.


def test_an_empty_class_folder_is_refused(tmp_path):
    tree(tmp_path, "a", "b")
    (tmp_path / "c").mkdir()
    refused(tmp_path, "class folder c holds no image")


def test_a_folder_without_class_folders_is_refused(tmp_path):
    refused(tmp_path, "holds no class folders")


def test_files_that_are_no_pictures_by_name_are_counted_and_named(tmp_path):
    tree(tmp_path, "a", "b")
    for name in ("a/notes.txt", "b/Thumbs.db", ".DS_Store", "a/.hidden.png"):
        (tmp_path / name).write_text("x")
    picture(tmp_path / "loose.png")
    found = surveyed(tmp_path)
    assert len(found.sources) == 4
    notes = " ".join(found.notes)
    assert "2 files in class folders are no images: a/notes.txt, b/Thumbs.db." in notes
    assert "1 image lies in no class folder: loose.png." in notes


def test_a_file_that_is_no_picture_by_content_is_named_when_it_is_read(tmp_path):
    tree(tmp_path, "a", "b")
    (tmp_path / "a" / "broken.png").write_text("no picture")
    task, found = catalog.find(str(tmp_path)), surveyed(tmp_path)
    bad = next(source for source in found.sources if "broken" in source.name)
    with pytest.raises(UserError, match="broken.png"):
        task.read(bad, found.options)


def test_nothing_but_broken_pictures_is_one_sentence(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_text(f"no picture {name}")
    refused(tmp_path, "None of the 2 sampled images")


def test_the_same_picture_in_two_classes_is_refused_and_both_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)  # where the table of all pairs is written
    tree(tmp_path, "a", "b")
    (tmp_path / "b" / "copy.png").write_bytes((tmp_path / "a" / "a_0.png").read_bytes())
    refused(tmp_path, re.escape("two classes: a/a_0.png (a) and b/copy.png (b)"))


def test_all_pairs_in_two_classes_are_in_a_table_and_may_be_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "x", "a", "b", count=4)
    for i in range(2):
        shutil.copy(tmp_path / "x" / "a" / f"a_{i}.png", tmp_path / "x" / "b" / f"same{i}.png")
    refused(tmp_path / "x", "x-conflicts.csv has them all.*conflicts=leave-out")
    pairs = pd.read_csv(tmp_path / "x-conflicts.csv")
    assert pairs["one image"].tolist() == ["a/a_0.png", "a/a_1.png"]
    assert pairs["class of that"].tolist() == ["b", "b"]
    survey = surveyed(tmp_path / "x", "conflicts=leave-out")
    names = [source.name for source in survey.sources]
    assert names == [*(f"a/a_{i}.png" for i in (2, 3)), *(f"b/b_{i}.png" for i in range(4))]
    assert any(
        "2 images are in two classes, so their 4 files are left out" in n for n in survey.notes
    )


@pytest.mark.parametrize(
    ("name", "prefixes"),
    [("rec{run}_{i:06d}.png", 6), ("NP1511300{run}_3-5x-R42_revised_{i}.png", 6)],
)
def test_recordings_in_names_are_suggested_as_groups(tmp_path, name, prefixes):
    for i in range(36):
        path = tmp_path / "x" / "ab"[i % 2] / name.format(run=i % prefixes, i=i)
        picture(path, seed=i)
    (hint,) = (note for note in surveyed(tmp_path / "x").notes if "prefixes" in note)
    assert f"The names share {prefixes} prefixes" in hint
    pattern = re.search("group_from='(.*?)'", hint)[1]
    survey = surveyed(tmp_path / "x", f"group_from={pattern}")
    assert len({source.group for source in survey.sources}) == prefixes
    assert not any("prefixes" in note for note in survey.notes)
    # Counted by hand: test images whose prefix is in training, too.
    split = SplitConfig().assigned(surveyed(tmp_path / "x").sources).by_group
    prefix = {name: re.search(pattern, name.partition("/")[2])[1] for name in split}
    training = {prefix[name] for name in split if split[name] == "train"}
    test = [name for name in split if split[name] == "test"]
    beside = sum(prefix[name] in training for name in test)
    assert f"{beside} of {len(test)} test images have a neighbour" in hint


@pytest.mark.parametrize("name", ["{cls}_{i}.png", "{i}.png", "pic{i}.png", "{cls}.{i}.png"])
def test_names_without_recordings_suggest_nothing(tmp_path, name):
    for i in range(36):
        cls = "ab"[i % 2]
        picture(tmp_path / "x" / cls / name.format(cls=cls, i=i), seed=i)
    assert not any("prefixes" in note for note in surveyed(tmp_path / "x").notes)


def test_the_same_picture_twice_in_a_class_is_one_group_or_parted_by_no_split(tmp_path):
    tree(tmp_path, "a", "b")
    (tmp_path / "a" / "copy.png").write_bytes((tmp_path / "a" / "a_0.png").read_bytes())
    groups = {source.name: source.group for source in surveyed(tmp_path).sources}
    assert groups["a/copy.png"] == groups["a/a_0.png"] != groups["a/a_1.png"]
    found = surveyed(tmp_path, r"group-from=(.*)")
    assert found.duplicates == (("a/a_0.png", "a/copy.png", "the same file twice"),)


@pytest.mark.parametrize("name", ["oak leaf", "Größe", "\u30c4\u30af\u30b7", "50 %, 'new'; =1+1"])
def test_classes_are_called_as_their_folders(tmp_path, name):
    found = surveyed(tree(tmp_path, name, "other"))
    assert name in found.classes


def test_accents_written_in_two_ways_are_one_class(tmp_path):
    for split, name in zip(("train", "val", "test"), ("e\u0301", "\u00e9", "\u00e9"), strict=True):
        picture(tmp_path / split / name / f"{split}.png")
    assert surveyed(tmp_path).classes == ("\u00e9",)


def test_heic_images_are_listed_where_they_can_be_read(tmp_path, monkeypatch):
    tree(tmp_path, "a", "b")
    (tmp_path / "a" / "phone.HEIC").write_bytes(b"x")
    for is_installed in (True, False):
        monkeypatch.setattr(images, "can_read_heic", lambda is_there=is_installed: is_there)
        survey = surveyed(tmp_path)
        names = [source.name for source in survey.sources]
        assert ("a/phone.HEIC" in names) == is_installed
        assert any("pillow-heif" in note for note in survey.notes) != is_installed


# Tables.


def table(folder, text, *, names=("a", "b", "c")):
    for name in names:
        picture(folder / "pics" / f"{name}.png")
    (folder / "list.csv").write_text(text)
    return folder


def test_a_table_tells_classes_groups_splits_and_numbers(tmp_path):
    table(
        tmp_path,
        "path,label,group,split,Length (mm),who,gap\npics/a.png,x/y,g,train,1.5,me,\n"
        "pics/b.png,z w,g,val,2,you,3\npics\\c.png,,h,test,3,we,4\n",
    )
    found = surveyed(tmp_path)
    assert found.classes == ("x/y", "z w")
    assert [s.about.label for s in found.sources] == [0, 1, -1]
    assert [s.group for s in found.sources] == ["g", "g", "h"]
    assert [s.split for s in found.sources] == list(SPLITS)
    assert found.columns == ("length",)
    assert [s.about.columns.tolist() for s in found.sources] == [[1.5], [2.0], [3.0]]
    assert any("who, gap" in note for note in found.notes)
    assert any("1 rows of list.csv have no label" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,label\npics/a.png,x\npics/no.png,x\n", "list.csv line 3: .*no.png is not under"),
        ("path,label\npics/a.png,x\npics/a.png,x\n", "line 3: .* already in line 2"),
        ("path,label\n../a.png,x\n", "line 2: .* has '..'"),
        ("path,label,split\npics/a.png,x,tset\n", "line 2: split is 'tset'"),
        ("path\npics/a.png\n", "expected 'label'"),
        ("path,label,n\npics/a.png,x,1\npics/b.png,x,l2\npics/c.png,x,1\n", "line 3: n is 'l2'"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path, text, says):
    refused(table(tmp_path, text), says)


def test_two_tables_of_pictures_are_refused_and_other_tables_are_not_looked_at(tmp_path):
    table(tmp_path, "path,label\npics/a.png,x\npics/b.png,y\n")
    (tmp_path / "prices.csv").write_text("what,price\napple,1\n")
    assert len(surveyed(tmp_path).sources) == 2
    (tmp_path / "more.csv").write_text("path,label\npics/c.png,x\n")
    refused(tmp_path, "several tables that may be the table of images: list.csv, more.csv")


def test_new_pictures_have_no_labels_and_the_columns_of_their_table(tmp_path):
    tree(tmp_path / "new", "a", "b")
    task = catalog.find(str(tmp_path / "new"))
    found = task.survey_new(
        [tmp_path / "new" / "a", tmp_path / "new/b/b_0.png"], None, ImageFolderOptions()
    )
    assert [s.path.name for s in found.sources] == ["a_0.png", "a_1.png", "b_0.png"]
    assert {s.about.label for s in found.sources} == {-1}
    table(tmp_path / "told", "path,n\npics/a.png,1\npics/b.png,2\n")
    found = task.survey_new([tmp_path / "told"], None, ImageFolderOptions())
    assert found.columns == ("n",) and len(found.sources) == 2
    with pytest.raises(UserError, match="does not exist"):
        task.survey_new([tmp_path / "gone"], None, ImageFolderOptions())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image in"):
        task.survey_new([tmp_path / "empty"], None, ImageFolderOptions())


# Sizes and pixels.


def test_size_and_channels_are_looked_at_and_said(tmp_path):
    found = surveyed(tree(tmp_path / "one", "a", "b", shape=(300, 400, 3)))
    assert found.image_shape == (96, 128, 3)
    assert (
        "Images are 300 x 400 px (height x width), in colour; they are stored as 96 x 128 px"
        in (found.notes[0])
    )
    found = surveyed(tree(tmp_path / "two", "a", "b", shape=(8, 9)))
    assert found.image_shape == (8, 8, 1) and "grey" in found.notes[0]
    found = surveyed(tmp_path / "two", "size=20x40", "channels=colour")
    assert found.image_shape == (20, 40, 3)
    # What was chosen is kept, so that new pictures come to the same size.
    assert shape_of(found.options) == (20, 40, 3)
    refused(tmp_path / "two", "size is '3'", "size=3")
    refused(tmp_path / "two", "size is 'large'", "size=large")


@settings(max_examples=30, deadline=None)
@given(some.integers(1, 5000), some.integers(1, 5000))
def test_any_size_comes_to_one_that_is_stored(height, width):
    chosen = infer_size.median_size(np.array([[height, width]], float))
    assert all(8 <= side <= 128 and side % 8 == 0 for side in chosen)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30, 3), (7, 7, 3), (40, 40)])
@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_every_fit_gives_the_size(shape, fit):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert reader.fit_image(image, height=24, width=40, fit=fit).shape == (24, 40, *shape[2:])


def test_fits_stretch_pad_and_crop():
    image = np.full((20, 40), 90, np.uint8)
    image[5:15, 15:25] = 200  # a square in the middle
    for fit, aspect in (("stretch", 0.5), ("pad", 1.0), ("crop", 1.0)):
        bright = reader.fit_image(image, height=40, width=40, fit=fit) > 145
        across, down = bright.any(axis=0).sum(), bright.any(axis=1).sum()
        assert across / down == pytest.approx(aspect, abs=0.11), fit
    assert reader.fit_image(image, height=40, width=40, fit="pad")[0, 0] == 90


KINDS = {
    "grey.png": lambda i: i[..., 0],
    "deep.png": lambda i: i.astype(np.uint16) * 257,
    "alpha.png": lambda i: np.dstack([i, np.full(i.shape[:2], 60, np.uint8)]),
    "colour.jpg": lambda i: i,
    "colour.bmp": lambda i: i,
    "deep.tif": lambda i: i.astype(np.uint16) * 257,
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("channels", ["grey", "colour"])
def test_pictures_of_every_kind_come_as_they_look(tmp_path, name, channels):
    bgr = np.zeros((16, 16, 3), np.uint8)
    bgr[:, 8:] = (40, 120, 240)
    path = tmp_path / name
    cv2.imwrite(str(path), KINDS[name](bgr))
    options = ImageFolderOptions(size="16", channels=channels)
    source = Source(name, name, path, reader.LabelAndColumns(0, np.zeros(0, np.float32)))
    (example,) = reader.read(source, options).examples
    rgb = (40,) * 3 if name.startswith("grey") else (240, 120, 40)
    wanted = rgb if channels == "colour" else (round(np.dot(rgb, (0.299, 0.587, 0.114))),)
    assert example.image.shape == (16, 16, len(wanted)) and example.image.dtype == np.uint8
    np.testing.assert_allclose(example.image[8, 12], wanted, atol=4)


def test_the_task_is_whole():
    assert {field.name for field in dataclasses.fields(ImageFolderOptions)} == {
        "size",
        "fit",
        "channels",
        "bits",
        "conflicts",
        "group_from",
    }
    assert image_folder.MODELS[0] == "compact-resnet"


def test_a_folder_of_a_core_is_told_from_one_of_images(tmp_path):
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "EGRIP1.png"), np.zeros((9, 9), np.uint8))
    (tmp_path / "EGRIP_visual_strat.tab").write_text(
        "File name\tDepth top [m]\tDepth bot [m]\nEGRIP1\t1\t2\n"
    )
    with pytest.raises(UserError, match="run `tfpipe check melt-layer`"):
        image_folder.survey(tmp_path, ImageFolderOptions())
