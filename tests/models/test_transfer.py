"""Pretrained bodies: their pixels, the images that they take, and how their stages are opened."""

import dataclasses

import keras
import numpy as np
import pytest
from small_models import count_trainable, make_images, make_small, make_spec, predict

from tfpipe.base.errors import UserError
from tfpipe.models import pretrained

pytestmark = pytest.mark.slow

GREY, COLOURED = make_spec((32, 32, 1)), make_spec((32, 32, 3))

KERAS = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Returns a function from a model's name to a file of weights for it, without top."""
    folder = tmp_path_factory.mktemp("given")

    def path(name: str) -> str:
        file = folder / f"{name}.weights.h5"
        if not file.exists():
            keras.utils.set_random_seed(0)
            whole = KERAS[name](include_top=False, weights=None, input_shape=(32, 32, 3))
            for layer in whole.layers:  # as after a training, no two batch norms alike
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.moving_mean.assign(keras.random.normal(layer.moving_mean.shape, 0, 0.1))
                    layer.moving_variance.assign(
                        keras.random.uniform(layer.moving_variance.shape, 0.5, 2)
                    )
            whole.save_weights(file)
        return str(file)

    return path


def last_map(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns what a model's body makes of raw pictures."""
    top = next(one for one in model.layers if one.name in ("flatten", "embedding"))
    return predict(keras.Model(model.input, top.input), images)


def open_layers(model: keras.Model) -> set[str]:
    body = model.get_layer("body")
    return {one.name for one in body.layers if one.trainable_weights}


# Weights.


def test_a_given_body_is_frozen_and_one_of_ones_own_learns(given):
    model = make_small("vgg16", COLOURED, weights=given("vgg16"))
    body = model.get_layer("body")
    assert body.count_params() == 14_714_688  # keras.applications.VGG16(include_top=False)
    assert not body.trainable_weights
    top = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert top == ["dense", "embedding", "positive"]  # seed 002: "3 Dense 'Top' Layers"
    own = make_small("vgg16", COLOURED)
    assert count_trainable(own) - count_trainable(model) == 14_714_688
    assert own.get_layer("own_body").count_params() == 14_714_688


def test_the_joined_network_takes_a_pretrained_body_that_opens_by_stages(given):
    spec = make_spec((48, 48, 3), columns=("area", "width"))
    model = make_small("resnet50-and-columns", spec, weights=given("resnet50"))
    assert set(model.input) == {"image", "columns"}
    assert not model.get_layer("body").trainable_weights
    pretrained.open_stages(model, 1)
    opened = open_layers(model)
    assert opened and all(name.startswith("conv5_") for name in opened)


@pytest.mark.parametrize("name", KERAS)
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_weights_may_come_with_their_top(tmp_path, name, suffix):
    whole = KERAS[name](weights=None, classes=2, input_shape=(32, 32, 3))
    path = tmp_path / f"{name}{suffix}"
    whole.save(path) if suffix == ".h5" else whole.save_weights(path)
    body = make_small(name, COLOURED, weights=str(path)).get_layer("body")
    for layer in (one for one in body.layers if one.weights):
        pairs = zip(layer.get_weights(), whole.get_layer(layer.name).get_weights(), strict=True)
        assert all(np.array_equal(got, expected) for got, expected in pairs)


def test_weights_that_do_not_fit_are_refused_without_a_download(tmp_path, monkeypatch):
    def no_download(*args, **kwargs):
        raise AssertionError("a path must not start a download")

    monkeypatch.setattr("tfpipe.models.pretrained.download_body", no_download)
    with pytest.raises(UserError, match="No .* file of weights at .*missing.h5"):
        make_small("vgg16", COLOURED, weights=str(tmp_path / "missing.h5"))
    (tmp_path / "text.weights.h5").write_text("not weights")
    with pytest.raises(UserError, match="cannot be read as a file of weights"):
        make_small("vgg16", COLOURED, weights=str(tmp_path / "text.weights.h5"))
    make_small("simple-cnn", COLOURED).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UserError, match="does not hold the weights of a VGG16"):
        make_small("vgg16", COLOURED, weights=str(tmp_path / "other.weights.h5"))


def test_without_network_the_error_says_what_else_to_give(monkeypatch):
    def fail(**kwargs):
        raise Exception("URL fetch failure on https://example.org: None -- no network")

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    with pytest.raises(UserError, match="Give weights=<path> .* or weights=none"):
        make_small("vgg16", COLOURED, weights="imagenet")


# Pixels.


@pytest.mark.parametrize("mode", ["caffe", "torch"])
def test_a_given_body_sees_what_it_was_trained_on(given, mode):
    spec = make_spec((40, 48, 3))
    model = make_small("vgg16", spec, weights=given("vgg16"), preprocessing=mode)
    before = model.get_layer("body")._inbound_nodes[-1].input_tensors[0]
    images = make_images(spec)
    resized = np.array(keras.ops.image.resize(images.astype("float32"), (32, 32)))
    expected = keras.applications.imagenet_utils.preprocess_input(resized, mode=mode)
    seen = predict(keras.Model(model.input, before), images)
    np.testing.assert_allclose(seen, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("vgg16", "caffe"),
        ("vgg16", "torch"),
        ("resnet50", "caffe"),
    ],
)
def test_a_grey_picture_is_seen_as_a_coloured_one_without_colour(given, name, mode):
    images = make_images(GREY)
    chosen = {"weights": given(name), "preprocessing": mode}
    grey, coloured = (make_small(name, spec, **chosen) for spec in (GREY, COLOURED))
    expected = last_map(coloured, np.repeat(images, 3, axis=-1))
    assert expected.std() > 0
    difference = last_map(grey, images) - expected
    assert np.abs(difference).max() <= 1e-4 * np.abs(expected).max()
    body, other = grey.get_layer("body"), coloured.get_layer("body")
    assert body.count_params() < other.count_params()


def test_deep_and_uneven_pictures_are_brought_to_8_bits(given):
    spec = make_spec((32, 32, 3), dtype="uint16")
    uneven = dataclasses.replace(COLOURED, per_image_standardization=True)
    for one in (spec, uneven):
        model = make_small("vgg16", one, weights=given("vgg16"))
        shown = keras.Model(model.input, model.get_layer("to_8_bit").output)
        seen = predict(shown, make_images(one, batch=1))
        assert seen.mean() == pytest.approx(127.5, abs=20)
    dark = make_images(uneven, batch=1) // 4
    np.testing.assert_allclose(predict(shown, 4 * dark), predict(shown, dark), atol=3)


def test_pictures_that_a_body_cannot_take(given):
    four = make_spec((32, 32, 4))
    with pytest.raises(UserError, match="1 or 3 channels, but these have 4. Give weights=none"):
        make_small("vgg16", four, weights=given("vgg16"))
    assert predict(make_small("vgg16", four), make_images(four)).shape == (3, 2)
    with pytest.raises(UserError, match="at least 32 px, but it is 16"):
        make_small("resnet50", COLOURED, image_size=16)
    with pytest.raises(UserError, match="No preprocessing called 'tf'"):
        make_small("vgg16", COLOURED, preprocessing="tf")


# Stages.


def test_stages_are_opened_from_the_top(given):
    model = make_small("vgg16", COLOURED, weights=given("vgg16"))
    names = [[layer.name for layer in stage] for stage in pretrained.stages(model)]
    # Simonyan & Zisserman (2014), table 1, column D: 2, 2, 3, 3, 3 convolutions.
    assert [len(stage) for stage in names] == [3, 3, 3, 2, 2]
    assert names[0] == ["block5_conv1", "block5_conv2", "block5_conv3"]
    assert names[4] == ["block1_conv1", "block1_conv2"]
    closed = count_trainable(model)
    for count, opened in ((0, set()), (1, {*names[0]}), (2, {*names[0], *names[1]}), (0, set())):
        for _ in range(2):  # twice is as once
            pretrained.open_stages(model, count)
            assert open_layers(model) == opened
            assert bool(model.get_layer("body").trainable_weights) == bool(opened)
    assert count_trainable(model) == closed
    pretrained.open_stages(model, 9)
    assert count_trainable(model) == closed + 14_714_688


def test_batch_norms_stay_as_they_came(given, tmp_path):
    model = make_small("resnet50", COLOURED, weights=given("resnet50"))
    found = pretrained.stages(model)
    # He et al. (2015), table 1: blocks of 3 convolutions and norms, 2 more in each stage's first.
    assert [len(stage) for stage in found] == [6 * n + 2 for n in (3, 6, 4, 3)] + [2]
    pretrained.open_stages(model, 1)
    assert open_layers(model) == {one.name for one in found[0] if one.name.endswith("_conv")}
    before = {one.name: one.get_weights() for one in model.get_layer("body").layers}
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", run_eagerly=True)
    model.train_on_batch({"image": make_images(COLOURED)}, np.array([0, 1, 0]))
    changed = {
        one.name
        for one in model.get_layer("body").layers
        if any((a != b).any() for a, b in zip(one.get_weights(), before[one.name], strict=True))
    }
    assert changed == open_layers(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert open_layers(loaded) == open_layers(model)


def test_a_loaded_model_is_opened_alike(given, tmp_path):
    model = make_small("vgg16", GREY, weights=given("vgg16"))
    images = make_images(GREY)
    pretrained.open_stages(model, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(predict(loaded, images), predict(model, images), atol=1e-6)
    assert open_layers(loaded) == open_layers(model)
    for count in (2, 0):
        pretrained.open_stages(loaded, count)
        pretrained.open_stages(model, count)
        assert open_layers(loaded) == open_layers(model)
    assert not open_layers(loaded)


@pytest.mark.parametrize("name", ["simple-cnn", "vgg16"])
def test_other_models_have_no_stages(name):
    model = make_small(name, COLOURED)
    before = count_trainable(model)
    assert pretrained.stages(model) == []
    pretrained.open_stages(model, 2)
    assert count_trainable(model) == before
