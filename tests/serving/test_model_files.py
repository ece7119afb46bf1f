"""Exported model files compute what their version computes, or there are none."""

import json
from dataclasses import replace
from pathlib import Path

import four_class_task
import keras
import numpy as np
import pytest
import server_process
import yaml
from made_card import made_card

from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.models.spec import Spec
from tfpipe.registry import load, store
from tfpipe.registry.card import VersionCard
from tfpipe.registry.export import NetworkExport
from tfpipe.serving.runtimes import available, model_files, model_folder

IMAGES = server_process.pixels(12)
FILES = {"onnx": "model.onnx", "litert": "model.tflite", "openvino": "model.xml"}
FOR_ALL = {"MODEL_CARD.md", "card.json", "labels.txt"}


def format_param(name: str):
    """Returns a parameter that is skipped where the packages of the format are not installed."""
    missing = " ".join(available.missing_packages(model_files.FORMATS[name].runtime))
    mark = pytest.mark.skipif(bool(missing), reason=f"pip install {missing}")
    return pytest.param(name, marks=mark)


FORMATS = [format_param(name) for name in model_files.FORMATS]


@pytest.fixture(scope="module")
def version(tmp_path_factory) -> Path:
    """A version of images of two classes."""
    return server_process.published(tmp_path_factory.mktemp("models") / "tiny" / "cnn", seed=1)


def published(folder: Path, model: keras.Model, spec: Spec, examples, monkeypatch) -> Path:
    monkeypatch.setattr(processes, "called", lambda function, *args: function(*args))
    card = made_card(classes=spec.classes, columns=spec.columns)
    return store.publish(NetworkExport(model, spec, examples), folder, card=card)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_computes_what_its_version_computes(version, tmp_path, name):
    made = model_files.export(version, name, tmp_path / "out")
    assert made.max_difference <= 5e-6 and made.examples == 32
    form = model_files.FORMATS[name]
    outputs = form.read(tmp_path / "out" / form.file)({"image": IMAGES})
    expected = load.open_version(version).predict_proba(IMAGES)
    np.testing.assert_allclose(outputs["probabilities"], expected, rtol=0, atol=5e-6)
    assert set(made.files) >= (FOR_ALL if name != "hf" else {"README.md", "card.json"})
    assert (tmp_path / "out" / "labels.txt").read_text() == "dull\nbright\n"
    values = json.loads((tmp_path / "out" / "card.json").read_text())
    assert VersionCard.from_json(values, file="card.json") == store.read_card(version)


@pytest.mark.parametrize("name", [name for name in FORMATS if name.values[0] != "hf"])
def test_the_lines_of_a_card_call_the_model(version, tmp_path, monkeypatch, name):
    folder = model_files.export(version, name, tmp_path / "out").path
    code = (folder / "MODEL_CARD.md").read_text().partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(folder)
    results: dict = {}
    exec(code, results)
    assert np.asarray(results["outputs"]).shape == (1, 2)


@pytest.mark.parametrize("name", [format_param("openvino"), format_param("onnx")])
def test_models_of_columns_and_autoencoders_are_exported(tmp_path, monkeypatch, name):
    columns = {"columns": ("level", "other"), "column_mean": (1.0, 0.0), "column_std": (0.5, 1.0)}
    classes = four_class_task.CLASSES
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(1)
    both = Spec((6, 8, 1), classes, (100.0,), (30.0,), **columns)
    examples = {"image": rng.integers(0, 255, (4, 6, 8, 1), np.uint8)}
    numbers = {"columns": rng.normal(size=(4, 2)).astype(np.float32)}
    model = four_class_task.of_both(both)
    folder = published(tmp_path / "k" / "both", model, both, examples | numbers, monkeypatch)
    model_files.export(folder, name, tmp_path / "both")
    card = (tmp_path / "both" / "MODEL_CARD.md").read_text()
    assert "- `columns`: [n, 2] float32: `level`, `other`." in card
    images = replace(both, columns=(), column_mean=(), column_std=(), classes=())
    model = four_class_task.autoencoder(images)
    folder = published(tmp_path / "k" / "ae", model, images, examples, monkeypatch)
    model_files.export(folder, name, tmp_path / "ae")
    assert not (tmp_path / "ae" / "labels.txt").exists()
    form = model_files.FORMATS[name]
    made = form.read(tmp_path / "ae" / form.file)(examples)["reconstruction"]
    np.testing.assert_allclose(made, model(examples), rtol=0, atol=1e-5)


def test_a_file_that_differs_is_refused_and_nothing_is_left(version, tmp_path, monkeypatch):
    form = model_files.FORMATS["keras"]

    def read(path):
        network = form.read(path)
        return lambda features: {n: a + np.float32(1e-4) for n, a in network(features).items()}

    monkeypatch.setitem(model_files.FORMATS, "keras", form._replace(read=read))
    with pytest.raises(UserError, match=r"cnn/1 as keras differs by 0\.0001 from its SavedModel"):
        model_files.export(version, "keras", tmp_path / "new" / "out")

    def write(version, path):
        raise RuntimeError("\nNo rule for Igamma\nat ...")

    monkeypatch.setitem(model_files.FORMATS, "keras", form._replace(write=write))
    with pytest.raises(UserError, match="cannot be written as keras: RuntimeError, No rule for Ig"):
        model_files.export(version, "keras", tmp_path / "new" / "out")
    assert list((tmp_path / "new").iterdir()) == []


def test_what_cannot_be_exported_is_refused_in_a_sentence(version, tmp_path, monkeypatch):
    packages = {"onnx": {"no_such_one": "one", "no_such_two": "two"}}
    monkeypatch.setattr(available, "PACKAGES", available.PACKAGES | packages)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("years of work")
    for name, out, license, sentence in (
        ("onxx", "out", "", "No format of models called 'onxx'. Did you mean 'onnx'?"),
        ("onnx", "out", "", "--format onnx needs one and two, which is not installed. Run `pip i"),
        ("keras", "full", "", "full already holds something"),
        ("keras", "out", "mit", "--license is for --format hf"),
        ("hf", "out", "CC BY 4.0", "--license is 'CC BY 4.0', expected an identifier such as cc-"),
    ):
        with pytest.raises(UserError) as refused:
            model_files.export(version, name, tmp_path / out, license=license)
        assert sentence in str(refused.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "thesis.txt"]


CARD = made_card(
    classes=("dull", "bright"),
    metrics={"test": {"accuracy": 0.75, "f1": None, "examples": 12, "log_loss": 0.5}},
)


def test_the_head_of_a_hub_card_has_licence_library_tags_and_scores():
    head = model_folder.hub_metadata(CARD, license="cc-by-4.0")
    assert yaml.safe_load(yaml.safe_dump(head)) == head
    (result,) = head.pop("model-index")[0]["results"]
    assert head == {
        "license": "cc-by-4.0",
        "library_name": "keras",
        "tags": ["tfpipe", "tiny", "simple-cnn"],
        "metrics": ["accuracy", "log_loss"],
        "pipeline_tag": "image-classification",
    }
    assert [(one["type"], one["value"]) for one in result["metrics"]] == [
        ("accuracy", 0.75),
        ("log_loss", 0.5),
    ]
    assert "model-index" not in model_folder.hub_metadata(replace(CARD, metrics={}))


def test_the_hub_reads_an_exported_card(version, tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="pip install huggingface_hub")
    made = model_files.export(version, "hf", tmp_path / "out", license="cc-by-4.0")
    assert made.notes == ()
    card = hub.ModelCard.load(made.path / "README.md")
    assert (card.data.license, card.data.library_name) == ("cc-by-4.0", "keras")
    head = yaml.safe_dump(model_folder.hub_metadata(CARD), sort_keys=False)
    (tmp_path / "README.md").write_text(f"---\n{head}---\n# a title\n")
    data = hub.ModelCard.load(tmp_path / "README.md").data
    assert [(one.metric_type, one.metric_value) for one in data.eval_results] == [
        ("accuracy", 0.75),
        ("log_loss", 0.5),
    ]
    assert data.license == "unknown"
