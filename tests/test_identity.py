"""A folder's records and versions are its own, and a version predicts wherever it is copied to."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tiny
from made_card import made_card
from run_command import run

import tfpipe
from tfpipe.base import tables
from tfpipe.base.errors import UserError
from tfpipe.data.manifest import RecordSummary
from tfpipe.registry import previous_version, store
from tfpipe.serving import server
from tfpipe.serving.limits import Limits
from tfpipe.serving.model.store import ModelStore
from tfpipe.tasks import catalog

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
SMALL = {"filters": 4, "conv_layers": 1, "dense_units": 8}


def draw(folder: Path, *, seed: int, names=("bright", "dull")) -> Path:
    """Writes 60 images of 16 x 16 px; the first class is 120 grey levels brighter."""
    rng = np.random.default_rng(seed)
    for i in range(60):
        path = folder / names[i % 2] / f"{seed}-{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 120, (16, 16, 3)) + (120 if i % 2 == 0 else 0)
        cv2.imwrite(str(path), image.astype(np.uint8))
    return folder


@pytest.fixture
def project(tmp_path):
    return tfpipe.Project(tmp_path / "data", tmp_path / "saved_models", progress=False)


@pytest.mark.parametrize("names", [("a/photos", "b/photos"), ("фото", "照片")])
def test_two_folders_of_one_name_have_records_of_their_own(project, tmp_path, names):
    first, second = (draw(tmp_path / name, seed=i) for i, name in enumerate(names))
    packed = [project.pack(str(folder)) for folder in (first, second)]
    assert packed[0].path != packed[1].path
    assert packed[1].path.name.startswith(f"{packed[0].path.name}-")
    for folder, records in zip((first, second), packed, strict=True):
        again = project.records(str(folder))
        assert (again.path, again.fingerprint) == (records.path, records.fingerprint)
        assert records.manifest.origin == str(folder)


def test_a_folder_that_has_moved_keeps_its_records_and_another_one_does_not(project, tmp_path):
    before = draw(tmp_path / "a" / "photos", seed=0)
    packed = project.pack(str(before))
    after = tmp_path / "b" / "photos"
    after.parent.mkdir()
    before.rename(after)
    stranger = draw(tmp_path / "c" / "photos", seed=1)
    assert project.resolve(str(stranger)).name != "photos"
    assert project.pack(str(after)).path == packed.path
    assert project.records(str(after)).manifest.origin == str(after)


def test_images_stay_in_their_split_when_the_records_were_removed(project, tmp_path):
    folder = draw(tmp_path / "photos", seed=0)
    packed = project.pack(str(folder))
    manifest = packed.manifest
    version = project.saved_models / "photos" / "simple-cnn" / "1"
    store.write_card(version, made_card(task="photos", data=manifest.summary))
    moved = manifest.sources["test"][0]  # as an older release may have split it
    sources = previous_version.sources(manifest)
    sources.loc[sources["source"] == moved, "split"] = "train"
    tables.write_csv(sources, version / previous_version.SOURCES)
    shutil.rmtree(packed.path)
    draw(folder, seed=1)
    again = project.pack(str(folder)).manifest
    split_of = {name: split for split, names in again.sources.items() for name in names}
    assert {name: split_of[name] for name in sources["source"]} == dict(
        zip(sources["source"], sources["split"], strict=True)
    )
    assert split_of[moved] == "train" and len(split_of) == 120


def test_versions_without_records_keep_their_name_from_others(project, tmp_path):
    folder = draw(tmp_path / "a" / "photos", seed=0)
    version = project.saved_models / "photos" / "simple-cnn" / "1"
    data = RecordSummary(fingerprint="", origin=str(folder))
    store.write_card(version, made_card(task="photos", data=data))
    other = draw(tmp_path / "b" / "photos", seed=1)
    assert project.resolve(str(folder)).name == "photos"
    assert project.resolve(str(other)).name.startswith("photos-")
    assert project.resolve("melt-layer").name == "melt-layer"
    old = made_card(task="photos")  # of a release without origins: as before
    store.write_card(version, old)
    assert project.resolve(str(other)).name == "photos"


def test_a_version_of_another_folder_or_of_other_classes_is_refused(project, tmp_path):
    folders = [draw(tmp_path / name / "photos", seed=0) for name in "ab"]
    path = project.saved_models / "photos" / "simple-cnn" / "1"
    data = RecordSummary(fingerprint="", origin=str(folders[0]))
    store.write_card(path, made_card(task="photos", data=data, classes=("dull", "other")))
    version = tfpipe.Version(path, task=tfpipe.load_task(str(folders[1])))
    with pytest.raises(UserError, match="was trained on .*a/photos, not on .*b/photos"):
        version.predict([folders[1]])
    project.pack(str(folders[0]))
    with pytest.raises(UserError, match="classes dull, other, but the records .* bright, dull"):
        project.version(str(folders[0])).predict([folders[0]])
    builtin = tfpipe.Version(path, task=tfpipe.load_task(tiny.__file__))
    with pytest.raises(UserError, match="has the class 'other', which the task tiny does not"):
        builtin.predict([folders[0]])


def test_the_task_of_a_version_is_that_of_its_card_or_missed_in_a_sentence(tmp_path):
    assert catalog.of_version("melt-layer", "") is catalog.TASKS["melt-layer"]
    tfpipe.load_task(tiny.__file__)
    assert catalog.of_version("tiny", tiny.__file__).classes == tiny.CLASSES
    code = tmp_path / "own.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for origin in ("/gone/own.py", str(code)):
        sentence = f"defined in the Python file {origin}. A version runs no code by itself: name"
        with pytest.raises(UserError, match=sentence):
            catalog.of_version("own", origin)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match="older release"):
        catalog.of_version("photos", "")


@pytest.mark.slow
def test_a_copied_version_predicts_without_its_raw_folder(project, tmp_path, monkeypatch):
    folder = draw(tmp_path / "photos", seed=0)
    new = draw(tmp_path / "new", seed=1)
    small = {"model": "simple-cnn", "hyperparameters": SMALL, "epochs": 8}
    trained = project.train(str(folder), **small, random_split=False)
    expected = trained.predict([new])
    copied = tmp_path / "elsewhere" / "7"
    shutil.copytree(trained.path, copied)
    for gone in (folder, project.data, project.saved_models):
        shutil.rmtree(gone)
    monkeypatch.chdir(copied.parent)
    predicted = tfpipe.Version(copied).predict([new])
    pd.testing.assert_frame_equal(predicted, expected)
    assert project.predictor(str(copied.parent)).path == copied  # the newest of a model's folder
    out = run("predict", "7", str(new), "--out", "out.csv")
    assert (out["task"], out["version"], out["rows"]) == ("photos", 7, 60)
    written = pd.read_csv("out.csv")
    assert list(written["label"]) == list(expected["label"])
    assert (written["key"].str.contains("bright") == (written["label"] == "bright")).mean() > 0.9
    selectors = server.parse_selectors(["7"], models=Path("saved_models"))
    models = ModelStore(Path("saved_models"), selectors, limits=Limits())
    models.refresh()
    assert models.is_ready and models.names == ["photos_simple-cnn"]
    assert models.get("photos_simple-cnn").servable.card.classes == ("bright", "dull")
    with pytest.raises(UserError, match="is no folder of a version"):
        server.parse_selectors(["./"], models=Path("saved_models"))
    named = copied.rename(copied.with_name("best"))
    with pytest.raises(UserError, match="this one is called 'best'. Rename it"):
        server.parse_selectors([str(named)], models=Path("saved_models"))
    assert tfpipe.Version(named).number == 1
