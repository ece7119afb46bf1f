"""The Python API: lazily imported, and enough to pack, train, predict and rerun with."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import four_class_task
import numpy as np
import pandas as pd
import pytest
import tiny

import tfpipe
from tfpipe.base.errors import UserError
from tfpipe.search import time_budget
from tfpipe.workflows import run_config, train

SMALL = {"filters": 4, "conv_layers": 1, "dense_units": 8}
LIGHT = """
import sys, tfpipe, tfpipe.cli
heavy = {"tensorflow", "keras", "pandas", "numpy", "sklearn", "cv2"} & set(sys.modules)
assert not heavy, heavy
import tfpipe.tasks.catalog
heavy = {"tensorflow", "keras", "sklearn", "astropy", "scipy.stats", "pandas", "h5py", "tifffile"}
heavy &= set(sys.modules)
assert not heavy, heavy
"""


def test_the_package_its_commands_and_its_tasks_import_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_public_name_is_there_and_documented():
    assert dir(tfpipe) == sorted(tfpipe.__all__)
    for name in tfpipe.__all__:
        value = getattr(tfpipe, name)
        assert name == "__version__" or value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'Projekt'"):
        tfpipe.Projekt  # noqa: B018


def test_a_task_is_loaded_by_name_file_or_folder(tmp_path):
    assert tfpipe.load_task("melt-layer").name == "melt-layer"
    assert tfpipe.load_task(tiny.__file__).name == "tiny"
    with pytest.raises(UserError, match="Did you mean 'melt-layer'"):
        tfpipe.load_task("melt-layr")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
def test_training_leaves_out_as_many_unreadable_files_as_packing_did(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for i in range(40):
        path = tmp_path / "photos" / ("oak", "elm")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
    project = tfpipe.Project(tmp_path / "data", tmp_path / "m", progress=False)
    task = tfpipe.load_task(str(tmp_path / "photos"))
    path.write_bytes(path.read_bytes()[:99])
    packed = project.pack(task, skip_bad=1)
    assert list(packed.manifest.unreadable) == ["elm/39.png"]
    monkeypatch.setattr(train, "train", lambda run, epochs=None: {"path": str(tmp_path / "1")})
    project.train(task)
    assert project.records(task).fingerprint == packed.fingerprint
    with pytest.raises(UserError, match="1 of 40 files cannot be read"):
        project.train(task, packing=tfpipe.PackingConfig(skip_bad=0))


def test_run_yaml_round_trips(tmp_path):
    config = run_config.RunConfig(
        command="tune",
        task="melt-layer",
        model="simple-cnn",
        options={"stride_px": 20},
        split=tfpipe.SplitConfig((0.5, 0.25, 0.25), "a"),
        hyperparameters={"filters": np.int64(4), "dropout": np.float32(0.5)},
        training=tfpipe.TrainingConfig(epochs=3, learning_rate=0.01),
        search=tfpipe.SearchConfig(task="melt-layer", model="simple-cnn", records=""),
        records="abc",
    )
    run_config.write(config, tmp_path)
    assert run_config.read(tmp_path / "run.yaml") == config


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected names and values"),
        ("a: [", "line 1 is no YAML"),
        ("comand: tune", "Did you mean 'command'"),
        ("command: tun\ntask: a\nmodel: b", "Did you mean 'tune'"),
        ("command: tune\ntask: 3\nmodel: b", "task: .*received 3"),
        ("command: tune\ntask: a", "model: .*equired"),
        ("command: train\ntask: a\nmodel: b\ntraining: {epochs: many}", "epochs: .*'many'"),
        ("command: train\ntask: a\nmodel: b\ntraining: {epoch: 3}", "Did you mean 'epochs'"),
    ],
)
def test_a_wrong_run_yaml_is_refused_in_a_sentence(tmp_path, text, sentence):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence) as error:
        tfpipe.Project(progress=False).rerun(path)
    assert "\n" not in str(error.value)


def test_a_missing_run_yaml_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        tfpipe.Project(progress=False).rerun(tmp_path / "run.yaml")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with raw files of the tiny task."""
    place = tmp_path_factory.mktemp("project")
    raw = place / "data" / "raw" / "tiny"
    raw.mkdir(parents=True)
    for number in range(12):
        (raw / f"file{number:02d}.txt").write_text(str(number))
    return tfpipe.Project(data=place / "data", saved_models=place / "saved_models", progress=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
def test_a_notebook_packs_trains_predicts_and_reruns(project):
    task = tfpipe.load_task(tiny.__file__)
    records = project.pack(task, options={"pictures": 20})
    version = project.train(task, hyperparameters=SMALL, epochs=2, random_split=False)
    assert project.records(task).fingerprint == records.fingerprint  # its options are remembered
    assert 0 <= version.metrics["test"]["average_precision"] <= 1
    assert (version.number, version.model) == (1, "simple-cnn")
    images = np.zeros((3, 16, 16, 1), np.uint8)
    probabilities = version.predict_proba(images)
    assert probabilities.shape == (3, 2) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert version.embed(images).dtype == np.float32
    assert version.keras_model().count_params() == version.card.parameters
    table = version.predict([project.raw_folder(task)])
    assert isinstance(table, pd.DataFrame) and len(table) == 12
    assert table.attrs["skipped"] == {}
    written = version.predict([project.raw_folder(task)], out=version.path.parents[2] / "table.csv")
    assert (written.rows, written.files) == (12, 12)
    pd.testing.assert_frame_equal(
        pd.read_csv(written.path), table, check_dtype=False, check_like=True
    )
    again = project.rerun(version.path / "assets.extra" / "run.yaml")
    assert again.number == 2 and again.metrics == version.metrics
    assert again.card.data.fingerprint == version.card.data.fingerprint
    assert list(project.versions(task)["version"]) == [2, 1]
    assert "Version(tiny/simple-cnn/1)" in version._repr_html_()
    assert "<iframe" in version.report()._repr_html_()
    assert "Reliability" in version.plot_calibration().axes[0].get_title(loc="left")
    assert len(version.plot_confusion().axes[0].texts) == 4
    with pytest.raises(UserError, match="no column depth_from_m"):
        version.plot_depth(table)
    with pytest.raises(UserError, match="has not been explored. Run tfpipe explore"):
        version.plot_map()
    with pytest.raises(UserError, match="very records"):
        project.retrain(task)
    assert project.rollback(task, 1).card.copied_from == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
def test_a_search_is_run_reported_and_run_again(project):
    task = tfpipe.load_task(tiny.__file__)
    version = project.tune(
        task,
        algorithm="random",
        trials=2,
        trial_epochs=1,
        space=Path(tiny.__file__).with_name("tiny_space.py"),
        epochs=2,
        random_split=False,
        packing=tfpipe.PackingConfig(options={}),
    )
    assert version.card.search["score"] == max(
        trial["score"] for trial in version.card.search["trials"]
    )
    report = project.search_report(task)
    assert report.path.is_file() and len(report.trials) == 2
    assert list(project.searches(task)["model"]) == ["simple-cnn"]
    fresh = tfpipe.Project(project.data, project.saved_models.with_name("other"), progress=False)
    again = fresh.rerun(version.path / "assets.extra" / "run.yaml")
    assert again.metrics == version.metrics and again.number == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
def test_a_search_of_a_given_time_has_what_fits_into_it(project, monkeypatch):
    measured = SimpleNamespace(called=lambda function, config: (2.0, 1.0))  # on any machine
    monkeypatch.setattr(time_budget, "processes", measured)
    task = tfpipe.load_task(tiny.__file__)
    kinds = {"algorithm": "random", "space": Path(tiny.__file__).with_name("tiny_space.py")}
    with pytest.raises(UserError, match="--time chooses trials"):
        project.tune(task, time_min=1, trials=3, **kinds)
    with pytest.raises(UserError, match="Give --time"):
        project.tune(task, time_min=0.001, **kinds)
    version = project.tune(task, time_min=1, random_split=False, **kinds)
    made = run_config.read(version.path / "assets.extra" / "run.yaml")
    assert (made.search.trials, made.search.trial_epochs) == (6, 3), "42 s of trials of 7 s"
    assert len(version.card.search["trials"]) == 6
    assert made.training.epochs == 9, "18 s, for one training"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
def test_trees_are_trained_explained_and_run_again(tmp_path):
    task = four_class_task.TASK
    raw = tmp_path / "data" / "raw" / task.name
    raw.mkdir(parents=True)
    for number in range(12):
        (raw / f"file{number:02d}.txt").write_text(str(number))
    project = tfpipe.Project(tmp_path / "data", tmp_path / "models", progress=False)
    version = project.train_trees(task, trials=2)
    columns = np.zeros((2, len(version.card.columns)), np.float32)
    names = [text.get_text() for text in version.plot_shap("few").axes[0].get_yticklabels()]
    assert set(version.card.columns) <= set(names)
    with pytest.raises(UserError, match="No class called 'fw'. Did you mean 'few'"):
        version.plot_shap("fw")
    assert version.predict_proba(columns=columns).shape == (2, 4)
    config = run_config.read(version.path / "assets.extra" / "run.yaml")
    assert config.trees.trials == 2 and config.training is None
    assert config.records == project.records(task).fingerprint
