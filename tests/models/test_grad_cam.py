"""Where a network looked, where that is known by how it was built."""

import keras
import numpy as np
import pytest
from keras import layers

from tfpipe.models import build
from tfpipe.models import grad_cam as models_grad_cam
from tfpipe.models.spec import Spec
from tfpipe.report import grad_cam as report_grad_cam

pytestmark = pytest.mark.slow

SIDE = 16


def bright_spots(count=2, *, nested=False, pools=True):
    """Returns a network whose classes are: bright in red, bright in green (, in blue)."""
    image = keras.Input((SIDE, SIDE, 3), name="image")
    inner = keras.Input((SIDE, SIDE, 3))
    conv = layers.Conv2D(3, 1, use_bias=False, name="conv")
    bodies = keras.Model(inner, layers.ReLU(name="relu")(conv(inner)), name="body")
    x = bodies(image) if nested else layers.ReLU(name="relu")(conv(image))
    x = layers.MaxPooling2D(2)(x) if pools else x
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    if count == 2:
        positive = layers.Dense(1, activation="sigmoid", name="positive")(x)
        negative = layers.Rescaling(-1.0, offset=1.0)(positive)
        out = layers.Concatenate(name="probabilities")([negative, positive])
    else:
        out = layers.Dense(count, activation="softmax", name="probabilities")(x)
    model = keras.Model({"image": image}, out)
    conv.set_weights([np.eye(3).reshape(1, 1, 3, 3)])
    head = model.get_layer("positive" if count == 2 else "probabilities")
    kernel = [[-1.0], [1.0], [0.0]] if count == 2 else 2 * np.eye(3)
    head.set_weights([np.array(kernel), np.zeros(1 if count == 2 else count)])
    return model


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("nested", [False, True])
def test_the_spot_that_decides_is_warm_and_nothing_else(count, nested):
    images = np.zeros((2, SIDE, SIDE, 3), np.float32)
    images[0, 2:4, 2:4, 0] = images[0, 10:12, 12:14, 1] = 1  # red above, green below
    images[1, 6:8, 6:8, 1] = 1
    model = bright_spots(count, nested=nested)
    found = models_grad_cam.heat(model, {"image": images}, np.array([0, 1]))
    assert found.shape == (2, SIDE, SIDE) and found.min() == 0
    for heat, (rows, columns) in zip(found, ((2, 2), (6, 6)), strict=True):
        warm = np.argwhere(heat > 0)
        assert warm.min(axis=0).tolist() == [rows, columns] and len(warm) == 4
        assert heat.max() == 1
    other = models_grad_cam.heat(model, {"image": images[:1]}, np.array([1]))[0]
    assert np.argwhere(other > 0).min(axis=0).tolist() == [10, 12]


def test_a_picture_without_anything_for_a_class_is_cold():
    model, images = bright_spots(3), np.zeros((1, SIDE, SIDE, 3), np.float32)
    images[0, 2, 2, 0] = 1
    assert models_grad_cam.heat(model, {"image": images}, np.array([2])).max() == 0


def test_a_model_answers_as_before_afterwards():
    model = bright_spots(3)
    images = np.random.default_rng(0).random((2, SIDE, SIDE, 3)).astype(np.float32)
    before = model({"image": images}).numpy()
    models_grad_cam.heat(model, {"image": images}, np.array([0, 1]))
    assert "call" not in vars(models_grad_cam.last_map(model))
    np.testing.assert_array_equal(model({"image": images}).numpy(), before)


SPEC = Spec((32, 32, 3), tuple("abc"), (120.0,) * 3, (50.0,) * 3)
LAST = {
    "simple-cnn": ({"filters": 2, "dense_units": 4}, "block3_conv", 8),
    "resnet9": ({"filters": 2}, None, 4),
    "resnet18": ({"filters": 2}, None, 1),
    "vgg16": ({"weights": "none", "image_size": 32, "dense_units": 4}, "block5_conv3", 2),
}


@pytest.mark.parametrize("name", LAST)
def test_the_last_map_before_pooling_is_found_in_every_kind_of_body(name):
    arguments, layer, side = LAST[name]
    model = build(name, SPEC, arguments)
    found = models_grad_cam.last_map(model)
    assert found.output.shape[1:3] == (side, side)
    assert layer in (None, found.name)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    heat = models_grad_cam.heat(model, {"image": images}, np.array([0, 2]))
    assert heat.shape == (2, 32, 32) and np.isfinite(heat).all() and heat.max() <= 1


def test_a_model_without_convolutions_has_no_map():
    image = keras.Input((4, 4, 1), name="image")
    out = layers.Dense(2, activation="softmax", name="probabilities")(layers.Flatten()(image))
    assert models_grad_cam.heat(keras.Model({"image": image}, out), {}, np.zeros(0, int)) is None


@pytest.mark.parametrize("shape", [(12, 40, 3), (16, 16, 1)])
def test_heat_is_laid_over_pictures_of_any_kind(shape):
    image = np.full(shape, 100, np.uint8)
    heat = np.zeros(shape[:2], np.float32)
    heat[:4] = 1
    over = report_grad_cam.overlaid(image, heat)
    assert over.shape == (*shape[:2], 3) and over.dtype == np.uint8
    assert over[:4].mean() > over[4:].mean()
