"""core-unet from raw photos to layers in metres, beside the window models of the same task."""

import numpy as np
import pytest

import tfpipe
from tfpipe.data import manifest as data_manifest
from tfpipe.models import sliding_window
from tfpipe.report import write
from tfpipe.tasks.samples.melt_layer import draw as draw_sample
from tfpipe.training import loop

pytestmark = pytest.mark.slow

SMALL = {
    "filters": 4,
    "units": 16,
    "levels": 2,
    "batch_size": 8,
    "learning_rate": 5e-3,
    "optimizer": "adam",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("core-unet")
    draw_sample(folder / "data" / "raw" / "melt-layer", photos=10, px_per_m=500)
    project = tfpipe.Project(folder / "data", folder / "models", progress=False)
    project.pack("melt-layer", options={"stride_px": 40})
    return project


@pytest.fixture(scope="module")
def version(project):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "write", lambda version, records: None)  # no report is read here
        return project.train(
            "melt-layer", model="core-unet", hyperparameters=SMALL, epochs=8, random_split=False
        )


def test_a_trained_network_finds_drawn_layers_in_metres(project, version):
    assert version.task.view == "strips" and version.card.inference_mode == "rows"
    scores = [version.metrics[split] for split in ("validation", "test")]
    tabled = [one["layers_tabled"] for one in scores]
    found = [count * one["layer_recall"] for count, one in zip(tabled, scores, strict=True)]
    assert sum(found) >= 0.5 * sum(tabled) > 2
    assert min(one["layer_depth_error_mm"] for one in scores) < 2
    table = version.predict([project.raw_folder(version.task) / "photos"])
    assert list(table.columns) == list(version.task.whole_file.table_columns)
    assert set(table["kind"]) <= {"layer", "lens"} and (table["kind"] == "layer").any()
    layers = table[table["kind"] == "layer"]
    assert (layers["darkness"] < 1).all() and (layers["depth_from_m"] >= 120).all()
    strips = np.full((2, *version.task.image_shape), 120, np.uint8)
    assert version.predict_proba(strips).shape == (2, 2)


def test_strips_have_records_of_their_own_in_the_same_splits(project, version):
    windows = project.records("melt-layer").manifest
    strips = data_manifest.read(project.records_folder(version.task))
    assert windows.sources == strips.sources and windows.groups == strips.groups
    assert windows.row_classes == () and strips.row_classes == ("none", "layer", "lens")
    assert project.records(version.task).manifest == strips
    assert project.records_folder(version.task) != project.records("melt-layer").path


class Blind:
    """A stand-in for a network that finds nothing, so that photos are compared without its work."""

    def along(self, images, top_px):
        shape = (*top_px.shape, 1)
        rows = np.tile(np.float32([1, 0, 0]), (*shape, 512, 1))[:, :, 0]
        return {"probabilities": np.tile(np.float32([1, 0]), shape), "rows": rows}


def test_models_of_windows_and_of_strips_are_compared_by_the_layers_they_find(
    project, version, monkeypatch
):
    monkeypatch.setattr(loop, "fit", lambda *arguments, **rest: None)
    monkeypatch.setattr(sliding_window, "by_inference_mode", lambda network: {"blind": Blind()})
    made = project.compare("melt-layer", models=["simple-cnn", "core-unet"], epochs=1, quick=True)
    assert made.table["model"].tolist() == ["simple-cnn", "core-unet"]
    assert "layer_f1" in made.metrics and "layer_depth_error_mm" in made.metrics
    for split in ("validation", "test"):
        found = made.table[f"{split}_layer_f1"]
        assert found.between(0, 1).all() and len(found) == 2
    counts = made.folds.pivot(index="model", columns="split", values="layers_tabled")
    assert (counts.nunique() == 1).all()  # both are scored on the same photos
    assert (counts.loc["core-unet"] > 0).all() and (made.folds["layers_found"] == 0).all()
