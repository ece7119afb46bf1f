"""What is published is what was trained: raw bytes in, the same answer out, or nothing at all."""

import shutil

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from made_card import made_card

from tfpipe.base.errors import UserError
from tfpipe.base.hardware import dtype_policy
from tfpipe.models.spec import Spec
from tfpipe.models.zoo import simple_cnn
from tfpipe.registry import export, load, store
from tfpipe.registry.export import NetworkExport

pytestmark = pytest.mark.slow  # what they share is an export

CLASSES = ("no-layer", "melt-layer")
SPEC = Spec((20, 30, 3), CLASSES, (100.0, 110.0, 120.0), (40.0, 50.0, 60.0))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 20, 30, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return simple_cnn.build_simple_cnn(SPEC, filters=4, conv_layers=2, dense_units=8)


@pytest.fixture(scope="module")
def version(model, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "melt-layer" / "simple-cnn"
    card = made_card(task="melt-layer", classes=CLASSES)
    return store.publish(NetworkExport(model, SPEC, {"image": images}), folder, card=card)


@pytest.fixture(scope="module")
def signatures(version):
    loaded = tf.saved_model.load(str(version))
    return loaded, loaded.signatures


def test_a_version_is_numbered_from_one(version):
    assert version.name == "1"
    assert store.versions(version.parent) == [1]
    assert store.read_card(version).version == 1


def test_the_signatures_take_and_give_what_the_readme_says(signatures):
    _, found = signatures
    assert set(found) == {"serving_default", "predict_tensor", "embed", "predict_and_embed"}
    taken = {name: set(found[name].structured_input_signature[1]) for name in found}
    assert taken == {
        "serving_default": {"image_bytes"},
        "predict_tensor": {"image"},
        "embed": {"image"},
        "predict_and_embed": {"image"},
    }
    answer = {"probabilities", "label", "classes"}
    assert set(found["serving_default"].structured_outputs) == answer
    assert set(found["predict_tensor"].structured_outputs) == answer
    assert set(found["embed"].structured_outputs) == {"embedding"}
    both = found["predict_and_embed"].structured_outputs
    assert set(both) == {"probabilities", "embedding"}


def test_tensors_are_answered_as_by_the_trained_model(signatures, model, images):
    _, found = signatures
    said = found["predict_tensor"](image=tf.constant(images))
    expected = model({"image": images}, training=False).numpy()
    np.testing.assert_allclose(said["probabilities"], expected, atol=1e-6)
    np.testing.assert_array_equal(said["label"], expected.argmax(axis=1))
    assert [name.decode() for name in said["classes"][0].numpy()] == list(CLASSES)


def test_encoded_pictures_are_answered_as_their_pixels(signatures, images):
    _, found = signatures
    encoded = [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in images[:5]]
    by_bytes = found["serving_default"](image_bytes=tf.constant(encoded))["probabilities"]
    by_tensor = found["predict_tensor"](image=tf.constant(images[:5]))["probabilities"]
    np.testing.assert_allclose(by_bytes, by_tensor, atol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("shape", [(20, 30, 3), (41, 60, 3), (20, 30)])
def test_pictures_of_any_size_and_kind_are_answered(signatures, suffix, shape):
    _, found = signatures
    encoded = cv2.imencode(suffix, np.full(shape, 90, np.uint8))[1].tobytes()
    said = found["serving_default"](image_bytes=tf.constant([encoded]))["probabilities"].numpy()
    assert said.shape == (1, 2)
    assert np.isclose(said.sum(), 1)


def test_the_embedding_is_the_layer_of_that_name(signatures, model, images):
    _, found = signatures
    inner = keras.Model(model.inputs, model.get_layer("embedding").output)
    said = found["embed"](image=tf.constant(images[:3]))["embedding"]
    np.testing.assert_allclose(said, inner({"image": images[:3]}), atol=1e-5)


def test_the_keras_file_beside_it_answers_the_same(version, model, images):
    loaded = keras.models.load_model(version / "assets.extra" / "model.keras")
    np.testing.assert_allclose(
        loaded({"image": images}, training=False), model({"image": images}), atol=1e-6
    )


def test_loaded_classifies_any_number(version, model, images):
    loaded = load.LoadedVersion(version)
    expected = model({"image": images}, training=False).numpy()
    np.testing.assert_allclose(loaded.predict_proba(images, batch_size=7), expected, atol=1e-6)
    assert loaded.predict_proba(images[:0]).shape == (0, 2)


def test_a_changed_file_is_refused(version):
    path = version / "variables" / "variables.data-00000-of-00001"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(UserError, match="not what was exported"):
            load.LoadedVersion(version)
    finally:
        path.write_bytes(whole)


@pytest.mark.slow
def test_an_export_that_answers_otherwise_is_not_published(tmp_path, images, model, monkeypatch):
    write = export.write

    def wrong(model, spec, path, *, thresholds):
        other = keras.models.clone_model(model)
        other.set_weights([weight * 1.05 for weight in model.get_weights()])
        write(other, spec, path, thresholds=thresholds)

    monkeypatch.setattr(export, "write", wrong)
    folder = tmp_path / "simple-cnn"
    with pytest.raises(UserError, match="differs from the trained one.*Nothing was published"):
        store.publish(NetworkExport(model, SPEC, {"image": images}), folder, card=made_card())
    assert store.versions(folder) == []
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_a_bfloat16_network_is_exported_in_float32(images):
    def build():
        return simple_cnn.build_simple_cnn(SPEC, filters=4, conv_layers=2, dense_units=8)

    with dtype_policy("mixed_bfloat16"):
        trained = build()
        exported = export.in_float32(trained, build)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert {layer.compute_dtype for layer in exported.layers} == {"float32"}
    for one, other in zip(trained.get_weights(), exported.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    near = exported({"image": images}).numpy()
    assert np.abs(trained({"image": images}).numpy() - near).max() < 0.05


def test_find_takes_the_newest_and_names_what_there_is(tmp_path):
    for name in ("simple-cnn/1", "simple-cnn/2", "simple-cnn/.draft", "simple-cnn/search"):
        (tmp_path / "melt-layer" / name).mkdir(parents=True)
    found = store.find(tmp_path, task="melt-layer", model=None, version=None)
    assert found.name == "2"
    assert store.find(tmp_path, task="melt-layer", model="simple-cnn", version=1).name == "1"
    with pytest.raises(UserError, match="no version 7 of simple-cnn. There are simple-cnn: 1, 2"):
        store.find(tmp_path, task="melt-layer", model="simple-cnn", version=7)
    with pytest.raises(UserError, match="holds no version yet. Run `tfpipe tune folds`"):
        store.find(tmp_path, task="folds", model=None, version=None)


def test_a_saved_model_of_other_software_is_named_as_that(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "saved_model.pb").touch()
    with pytest.raises(UserError, match="theirs is a SavedModel of other software"):
        store.find(
            tmp_path, task="theirs", model=None, version=None, typed=str(tmp_path / "theirs")
        )


def test_a_folder_without_a_card_is_no_version(tmp_path):
    with pytest.raises(UserError, match="no readable card.json"):
        store.read_card(tmp_path)


def test_a_copy_of_a_version_has_the_number_of_its_folder(version, tmp_path):
    copied = shutil.copytree(version, tmp_path / "7")
    assert (store.read_card(version).version, store.read_card(copied).version) == (1, 7)
    assert load.open_version(copied).card.version == 7


def test_the_card_vouches_for_every_file_and_for_parity(version):
    card = store.read_card(version)
    there = {p.relative_to(version).as_posix() for p in version.rglob("*") if p.is_file()}
    assert set(card.sha256) == there - {"assets.extra/card.json"}
    assert 0 <= card.parity["max_difference"] <= 1e-5
    assert card.packages["tensorflow"] == tf.__version__
