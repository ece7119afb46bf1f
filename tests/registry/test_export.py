"""Every kind of model is exported with the same three signatures, and answers as it was trained."""

from pathlib import Path

import cv2
import four_class_task
import keras
import numpy as np
import pandas as pd
import pytest
import small_models
import tensorflow as tf
import tiny
from made_card import made_card, write_card
from tensorflow.core.protobuf import saved_model_pb2

from tfpipe import models
from tfpipe.base import images, processes
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import dtype_policy
from tfpipe.inference import files
from tfpipe.inference.request import PredictionRequest
from tfpipe.models.calls import soften
from tfpipe.models.spec import Spec
from tfpipe.models.zoo import simple_cnn
from tfpipe.registry import export, load, store
from tfpipe.registry.export import NetworkExport
from tfpipe.tasks.insolubles import reader
from tfpipe.training import open_records
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import train

pytestmark = pytest.mark.slow

MODELS = {
    "columns": four_class_task.of_columns,
    "both": four_class_task.of_both,
    "autoencoder": four_class_task.autoencoder,
}
CLASSIFIED = {"probabilities", "label", "classes"}
REBUILT = {"reconstruction", "error"}


def spec_for(dtype: str) -> Spec:
    return Spec(
        (6, 8, 1),
        four_class_task.CLASSES,
        (1.0,),
        (1.0,),
        columns=("level", "other"),
        image_dtype=dtype,
    )


def examples(dtype: str = "uint8", *, count: int = 9) -> dict[str, np.ndarray]:
    """Draws what a model is shown."""
    rng = np.random.default_rng(0)
    high = 1 if dtype == "float32" else np.iinfo(dtype).max
    image = (rng.random((count, 6, 8, 1)) * high).astype(dtype)
    return {"image": image, "columns": rng.normal(size=(count, 2)).astype(np.float32)}


def made(name: str, dtype: str = "uint8") -> keras.Model:
    keras.utils.set_random_seed(1)
    return MODELS[name](spec_for(dtype))


@pytest.fixture
def in_this_process(monkeypatch):
    """Lets parity be looked for without the seconds that a fresh process takes to start."""
    monkeypatch.setattr(processes, "called", lambda function, *told: function(*told))


def publish(model, folder: Path) -> Path:
    return store.publish(
        NetworkExport(model, spec_for("uint8"), examples()), folder, card=made_card()
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Returns (model, its SavedModel) by name."""
    folder = tmp_path_factory.mktemp("exported")
    found = {}
    for name in MODELS:
        model = made(name)
        export.write(model, spec_for("uint8"), folder / name)
        found[name] = model, tf.saved_model.load(str(folder / name))
    return found


def test_each_batch_norm_of_an_export_is_one_operation(tmp_path):
    spec = small_models.make_spec()
    with dtype_policy("float32"):
        model = small_models.make_small("resnet18", spec)
    export.write(model, spec, tmp_path / "1")
    graph = saved_model_pb2.SavedModel()
    graph.ParseFromString((tmp_path / "1" / "saved_model.pb").read_bytes())
    functions = graph.meta_graphs[0].graph_def.library.function
    counts = [[node.op for node in one.node_def].count("FusedBatchNormV3") for one in functions]
    norms = sum("stage" in layer.name and "norm" in layer.name for layer in model.layers)
    assert counts.count(norms + 1) == 4, "each signature has those of the stages and the stem's"


@pytest.mark.parametrize(
    ("name", "encoded", "tensors", "answers"),
    [
        ("columns", {"columns"}, {"columns"}, CLASSIFIED),
        ("both", {"image_bytes", "columns"}, {"image", "columns"}, CLASSIFIED),
        ("autoencoder", {"image_bytes"}, {"image"}, REBUILT),
    ],
)
def test_every_kind_has_the_same_signatures_of_what_it_takes(
    exported, name, encoded, tensors, answers
):
    found = exported[name][1].signatures
    taken = {one: set(found[one].structured_input_signature[1]) for one in found}
    outputs = {"serving_default": answers, "predict_tensor": answers, "embed": {"embedding"}}
    if answers == CLASSIFIED:
        outputs["predict_and_embed"] = {"probabilities", "embedding"}
    assert taken == dict.fromkeys(outputs, tensors) | {"serving_default": encoded}
    given = {one: set(found[one].structured_outputs) for one in found}
    assert given == outputs


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_the_label_is_that_of_the_decision_rule(tmp_path, threshold):
    keras.utils.set_random_seed(0)
    spec = Spec((8, 8, 1), ("no", "yes"), (90.0,), (40.0,))
    model = simple_cnn.build_simple_cnn(spec, filters=2, conv_layers=1, dense_units=4)
    soften(model, 0.05)  # probabilities on both sides of the threshold
    export.write(model, spec, tmp_path / "two", thresholds={"decision": threshold})
    loaded = tf.saved_model.load(str(tmp_path / "two"))
    images = np.random.default_rng(0).integers(0, 255, (200, 8, 8, 1), dtype=np.uint8)
    outputs = loaded.signatures["predict_tensor"](image=tf.constant(images))
    expected = outputs["probabilities"].numpy()[:, 1] >= np.float32(threshold)
    assert outputs["label"].numpy().tolist() == expected.astype(int).tolist()
    assert 0 < expected.sum() < 200


@pytest.mark.parametrize("name", ["columns", "both"])
def test_classifiers_of_columns_answer_as_trained(exported, name):
    model, loaded = exported[name]
    given = {key: array for key, array in examples().items() if key in model.input}
    said = loaded.signatures["predict_tensor"](**{k: tf.constant(v) for k, v in given.items()})
    expected = model(given, training=False)
    np.testing.assert_allclose(said["probabilities"], expected, atol=1e-6)
    np.testing.assert_array_equal(said["label"], np.argmax(expected, axis=1))
    assert [word.decode() for word in said["classes"][0].numpy()] == list(four_class_task.CLASSES)
    inner = keras.Model(model.input, model.get_layer("embedding").output)
    embedding = loaded.signatures["embed"](**{k: tf.constant(v) for k, v in given.items()})
    np.testing.assert_allclose(embedding["embedding"], inner(given), atol=1e-6)


def test_an_autoencoder_answers_pictures_and_how_far_they_are_off(exported):
    model, loaded = exported["autoencoder"]
    image = examples()["image"]
    said = loaded.signatures["predict_tensor"](image=tf.constant(image))
    expected = model.predict_on_batch({"image": image})
    np.testing.assert_allclose(said["reconstruction"], expected, atol=1e-6)
    error = ((image / 255 - expected) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(said["error"], error, rtol=1e-4)


def test_bytes_are_answered_as_their_pixels_beside_columns(exported):
    loaded, given = exported["both"][1], examples()
    encoded = [images.encode_png(image[:, :, 0]) for image in given["image"]]
    by_bytes = loaded.signatures["serving_default"](
        image_bytes=tf.constant(encoded), columns=tf.constant(given["columns"])
    )
    by_tensor = loaded.signatures["predict_tensor"](**{k: tf.constant(v) for k, v in given.items()})
    np.testing.assert_allclose(by_bytes["probabilities"], by_tensor["probabilities"], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("autoencoder", "uint8"),
        ("autoencoder", "uint16"),
        ("both", "float32"),
        ("columns", "uint8"),
    ],
)
def test_a_version_of_any_kind_is_published_and_said_to_be_one(
    tmp_path, in_this_process, name, dtype
):
    model, given = made(name, dtype), examples(dtype)
    card = made_card(classes=four_class_task.CLASSES)
    version = store.publish(
        NetworkExport(model, spec_for(dtype), given), tmp_path / name, card=card
    )
    card = store.read_card(version)
    assert card.kind == ("autoencoder" if name == "autoencoder" else "classifier")
    assert card.inputs == tuple(key for key in ("image", "columns") if key in model.input)
    assert card.parity["max_difference"] <= 1e-5
    assert card.parity["examples"] == 9
    assert not (version / "assets.extra" / ".parity.npz").exists()
    read = load.read_model(version)
    taken = {key: given[key] for key in card.inputs}
    np.testing.assert_allclose(read(taken), model(taken), atol=1e-6)
    if card.kind == "classifier":
        loaded = load.LoadedVersion(version)
        said = loaded.predict_proba(given["image"], given["columns"], batch_size=4)
        np.testing.assert_allclose(said, model(taken), atol=1e-6)
        none = loaded.predict_proba(given["image"][:0], given["columns"][:0])
        assert none.shape == (0, 4)


@pytest.mark.parametrize("name", ["columns", "autoencoder"])
def test_an_export_of_other_weights_is_never_published(
    tmp_path, in_this_process, monkeypatch, name
):
    write = export.write

    def wrong(model, spec, path, *, thresholds):
        other = keras.models.clone_model(model)
        other.set_weights([weight * 1.05 for weight in model.get_weights()])
        write(other, spec, path, thresholds=thresholds)

    monkeypatch.setattr(export, "write", wrong)
    with pytest.raises(UserError, match="differs from the trained one.*Nothing was published"):
        publish(made(name), tmp_path / name)
    assert not list((tmp_path / name).iterdir())


def test_parity_sees_what_is_wrong_by_bytes_alone(tmp_path, in_this_process, monkeypatch):
    monkeypatch.setattr(export, "decode_image", lambda *_: tf.zeros((6, 8, 1), tf.uint8))
    with pytest.raises(UserError, match="differs from the trained one"):
        publish(made("both"), tmp_path / "both")


def test_answers_that_are_no_numbers_are_no_parity(tmp_path, in_this_process):
    model = made("columns")
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    with pytest.raises(UserError, match="differs from the trained one by nan"):
        publish(model, tmp_path / "m")


def test_a_changed_keras_file_is_refused_before_it_is_read(tmp_path, in_this_process):
    version = publish(made("columns"), tmp_path / "m")
    path = version / "assets.extra" / "model.keras"
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(UserError, match="model.keras is missing or not what was exported"):
        load.read_model(version)


def test_predicting_with_an_autoencoder_names_the_classifiers_there_are(tmp_path):
    def put(name: str, version: int, **card) -> None:
        write_card(tmp_path / "tiny" / name / str(version), model=name, **card)

    put("conv-autoencoder", 2, kind="autoencoder")
    version = store.find(tmp_path, task="tiny", model="conv-autoencoder", version=None)
    with pytest.raises(UserError) as told:
        files.predict(PredictionRequest(tiny.TASK, version, [], tmp_path / "out.csv"))
    assert str(told.value) == (
        "Version 2 of conv-autoencoder is an autoencoder, which gives images back and names no "
        "classes: train a classifier first."
    )
    put("old-cnn", 1)
    put("simple-cnn", 1)
    with pytest.raises(UserError, match="predict with --model old-cnn or simple-cnn"):
        files.predict(PredictionRequest(tiny.TASK, version, [], tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("name", ["columns", "autoencoder"])
def test_every_kind_goes_from_records_to_a_version(tmp_path, monkeypatch, name):
    monkeypatch.setitem(models.MODELS, name, MODELS[name])
    monkeypatch.setattr(open_records, "AUTOENCODERS", ("autoencoder",))
    data = four_class_task.packed(tmp_path)
    told = train.train(
        train.TrainingRun(
            task=four_class_task.TASK,
            model=name,
            raw=tmp_path / "raw",
            records=data.folder,
            models=tmp_path / "saved" / name,
            options=four_class_task.TASK.options,
            config=TrainingConfig(epochs=2),
            precision="float32",
        )
    )
    extra = tmp_path / "saved" / name / "1" / "assets.extra"
    card = store.read_card(extra.parent)
    assert (card.kind, card.inputs) == {
        "columns": ("classifier", ("columns",)),
        "autoencoder": ("autoencoder", ("image",)),
    }[name]
    assert card.metrics == told["metrics"]
    assert set(card.random_split_scores) == set(card.metrics["test"])
    keys = pd.read_csv(extra / "predictions.csv")["key"]
    splits = card.metrics
    assert len(keys) == sum(sum(data.manifest.counts[split].values()) for split in splits)
    assert "<h2>Card</h2>" in (extra / "report.html").read_text()


@pytest.mark.parametrize("shape", [(20, 31), (33, 32), (7, 90), (100, 41), (64, 64), (1, 1)])
def test_a_picture_of_another_size_is_framed_as_the_reader_frames_it(shape):
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (*shape, 3), np.uint8), (0, 0), 1.5)
    image = image.reshape(*shape, 3)
    spec = Spec((32, 32, 3), ("a", "b"), (0.0,) * 3, (1.0,) * 3, letterbox=True)
    png = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    served = export.decoded(tf.constant([png]), spec)[0].numpy().astype(int)
    read, scale = reader.letterbox(image, side=32)
    if scale == 1:
        np.testing.assert_array_equal(served, read)
    else:  # by another library's mean over areas
        assert np.abs(served - read).mean() < 1 and np.abs(served - read).max() < 12
    np.testing.assert_array_equal(served[0, 0], read[0, 0])
