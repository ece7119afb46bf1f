"""A network is cut behind all that training leaves as it is."""

import keras
import numpy as np
import pytest
from keras import layers
from small_models import (
    COLUMNS,
    make_features,
    make_small,
    make_spec,
    predict,
    settle,
)

from tfpipe.models import pretrained
from tfpipe.models.frozen_body import split


def frozen(layer: layers.Layer) -> layers.Layer:
    layer.trainable = False
    return layer


def chain(*steps: layers.Layer) -> keras.Model:
    """Returns a network of some layers between an image and two classes."""
    image = x = keras.Input((8, 8, 3), name="image")
    for step in steps:
        x = step(x)
    outputs = layers.Dense(2, activation="softmax", name="probabilities")(x)
    return keras.Model({"image": image}, outputs)


def shapes_of_cut(model: keras.Model) -> list[tuple]:
    return sorted(tuple(tensor.shape[1:]) for tensor in split(model).body.outputs)


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """A pretrained body joined with columns, and features for it."""
    path = tmp_path_factory.mktemp("weights") / "resnet50.weights.h5"
    keras.utils.set_random_seed(0)
    keras.applications.ResNet50(include_top=False, weights=None).save_weights(path)
    spec = make_spec((40, 40, 3), columns=COLUMNS)
    model = settle(make_small("resnet50-and-columns", spec, weights=str(path)), spec)
    return model, make_features(model, spec, batch=4)


@pytest.mark.slow
def test_body_and_head_compute_what_the_whole_network_does(joined):
    model, features = joined
    parts = split(model)
    # The pooled map and the scaled columns: what follows is dense layers.
    assert sorted(tuple(tensor.shape) for tensor in parts.body.outputs) == [(None, 3), (None, 2048)]
    embedded = parts.body(features, training=False)
    np.testing.assert_allclose(predict(parts.head, embedded), predict(model, features), atol=1e-6)
    # What a training may change is in the head, the same weights.
    trained = {id(weight) for weight in model.trainable_weights}
    assert {id(weight) for weight in parts.head.trainable_weights} == trained
    assert not parts.body.trainable_weights


@pytest.mark.slow
def test_a_network_that_was_split_is_saved_as_before(joined, tmp_path):
    model, features = joined
    split(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(predict(loaded, features), predict(model, features), atol=1e-6)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


@pytest.mark.slow
def test_a_body_with_an_open_stage_is_no_frozen_one(joined):
    model, _ = joined
    pretrained.open_stages(model, 1)
    assert split(model) is None
    pretrained.open_stages(model, 0)
    assert split(model) is not None


def test_the_cut_is_behind_layers_that_have_no_weights():
    pool = layers.GlobalAveragePooling2D()
    model = chain(frozen(layers.Conv2D(5, 3)), frozen(layers.BatchNormalization()), pool)
    assert shapes_of_cut(model) == [(5,)]


def test_the_cut_is_before_what_is_random_or_moves():
    convolution, pool = layers.Conv2D, layers.GlobalAveragePooling2D
    for layer in (
        layers.Dropout(0.5),
        frozen(layers.Dropout(0.5)),  # which is as random as any other
        layers.BatchNormalization(),
        layers.BatchNormalization(center=False, scale=False),  # without weights that are trained
        convolution(5, 1),
    ):
        model = chain(frozen(convolution(5, 3)), layer, frozen(convolution(7, 3)), pool())
        assert shapes_of_cut(model) == [(6, 6, 5)], layer


def test_a_shortcut_past_a_trained_layer_is_cut_too():
    image = keras.Input((8, 8, 3), name="image")
    x = frozen(layers.Conv2D(5, 3))(image)
    shortcut = layers.GlobalAveragePooling2D()(frozen(layers.Conv2D(4, 3))(x))
    trained = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3)(x))
    joined = layers.Concatenate()([shortcut, trained])
    model = keras.Model({"image": image}, layers.Dense(2, name="probabilities")(joined))
    assert shapes_of_cut(model) == [(4,), (6, 6, 5)]
    parts, images = split(model), np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    embedded = parts.body({"image": images})
    np.testing.assert_allclose(predict(parts.head, embedded), predict(model, images), atol=1e-6)


@pytest.mark.parametrize("name", ["simple-cnn", "resnet9", "compact-resnet", "simple-cnn-interval"])
def test_networks_that_are_trained_from_their_first_layer_on_are_not_split(name):
    assert split(make_small(name, make_spec())) is None


def test_a_random_first_layer_leaves_nothing_to_compute_once():
    flip, pool = layers.RandomFlip(), layers.GlobalAveragePooling2D()
    assert split(chain(flip, frozen(layers.Conv2D(5, 3)), pool)) is None


def test_a_network_of_a_class_of_its_own_has_a_head_of_that_class():
    spec = make_spec((32, 32, 3))
    model = make_small("simple-cnn-interval", spec)
    first = next(layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    first.trainable = False
    parts = split(model)
    assert type(parts.head) is type(model)
    assert parts.head.get_layer("interval") is model.get_layer("interval")
