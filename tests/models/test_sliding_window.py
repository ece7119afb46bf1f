"""Windows along a long image: the views and inference modes that each is computed in."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers
from made_card import made_card
from small_models import make_small, make_spec

from tfpipe.base.errors import UserError
from tfpipe.models import sliding_window
from tfpipe.registry import load

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 34, 12


def network() -> keras.Model:
    """Returns a window network, untrained."""
    keras.utils.set_random_seed(2)
    image = keras.Input((HEIGHT, WIDTH, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 60, offset=-2.0, dtype="float32")(image)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D((2, 1))(x)
    x = layers.Dense(5, activation="relu", name="embedding")(layers.Flatten()(x))
    outputs = layers.Dense(2, activation="softmax", name="probabilities")(x)
    return keras.Model({"image": image}, outputs)


def long_pictures(rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture and its rows turned over, and the same windows' first rows in both."""
    drawn = np.random.default_rng(0).integers(0, 256, (rows, WIDTH, 1), dtype=np.uint8)
    tops = np.append(np.arange(0, rows - HEIGHT, 7), rows - HEIGHT)
    return np.stack([drawn, drawn[::-1]]), np.stack([tops, rows - HEIGHT - tops])


def one_by_one(model, pictures, tops) -> np.ndarray:
    each = [
        np.stack([picture[top : top + HEIGHT] for top in own])
        for picture, own in zip(pictures, tops, strict=True)
    ]
    return np.stack([model.predict_on_batch({"image": windows}) for windows in each])


def version(*, model=None, **card) -> SimpleNamespace:
    """Returns a stand-in for a version."""
    spec = make_spec((HEIGHT, WIDTH, 1))
    return SimpleNamespace(
        card=made_card(model="m", spec=spec, **card),
        inference_modes=sliding_window.by_inference_mode(model or network()),
        predict_proba=lambda images: np.tile(np.float32([0, 1]), (len(images), 1)),
    )


def test_a_version_is_predicted_in_the_mode_of_its_card_or_in_another():
    located = make_small("simple-cnn-interval", make_spec((HEIGHT, 40, 3)))
    for card, name, mode in (
        ({"inference_mode": "intervals"}, None, "intervals"),
        ({"inference_mode": "intervals"}, "windows", "windows"),
        ({"inference_mode": "windows"}, "intervals", "intervals"),
        ({}, None, "windows"),
    ):
        model = load.with_inference_mode(version(model=located, **card), name)
        assert model.mode is sliding_window.INFERENCE_MODES[mode]
    with pytest.raises(
        UserError, match="m does not support the inference mode 'intervals', only windows"
    ):
        load.with_inference_mode(version(), "intervals")


def test_windows_of_a_saved_version_are_computed_by_the_saved_model():
    pictures, tops = long_pictures()
    model = load.with_inference_mode(version(thresholds={"decision": 0.9}), None)
    outputs = model.along(pictures, tops)["probabilities"]
    np.testing.assert_array_equal(outputs[..., 1], 1.0)
    spec = version().card.spec
    first_release = version()
    first_release.card = made_card(model="m", spec=None)
    assert spec and load.with_inference_mode(first_release, None) is first_release.predict_proba


@pytest.mark.parametrize(
    ("name", "decision"),
    [(None, 0.9), ("intervals", 0.4)],  # those of another mode are in the card, too
)
def test_a_version_is_predicted_by_the_threshold_of_its_mode(monkeypatch, name, decision):
    given = []
    monkeypatch.setattr(
        sliding_window, "at_threshold", lambda classify, threshold: given.append(threshold)
    )
    located = make_small("simple-cnn-interval", make_spec((HEIGHT, 40, 3)))
    intervals = {"thresholds": {"decision": 0.4}, "metrics": {}}
    card = {"inference_mode": "intervals", "inference_modes": {"intervals": intervals}}
    given_version = version(model=located, thresholds={"decision": 0.9}, **card)
    load.with_inference_mode(given_version, name)
    assert given == [decision]


def test_windows_far_below_the_threshold_are_computed_in_the_first_view_only(monkeypatch):
    model = network()
    pictures, tops = long_pictures()
    exact = one_by_one(model, pictures, tops)
    windows = sliding_window.by_inference_mode(model)["windows"]
    whole = windows.along(pictures, tops)["probabilities"]
    np.testing.assert_allclose(whole, exact, atol=1e-5)
    limit = float(np.median(exact[0, :, 1]))
    near = exact[0, :, 1] >= limit
    assert 0.3 < near.mean() < 0.7
    sparing = windows.at_threshold(limit / sliding_window.FAR_BELOW)
    monkeypatch.setattr(sliding_window, "WINDOWS_AT_ONCE", 16)  # so there are several parts
    outputs = sparing.along(pictures, tops)["probabilities"]
    np.testing.assert_allclose(outputs[:, near], exact[:, near], atol=1e-5)
    first = np.broadcast_to(exact[:1, ~near], exact[:, ~near].shape)
    np.testing.assert_allclose(outputs[:, ~near], first, atol=1e-5)
    again = windows.along(pictures, tops)["probabilities"]
    np.testing.assert_allclose(again, exact, atol=1e-5, err_msg="it is another one")


def test_windows_far_below_are_not_shown_to_the_model_again():
    counts = []

    def classify(images: np.ndarray) -> np.ndarray:
        counts.append(len(images))
        light = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - light, light], axis=1)

    pictures, tops = long_pictures()
    pictures[:, : HEIGHT * 3] = 0  # in the first view; four windows show some of what is beside
    model = sliding_window.of_classifier(classify, height_px=HEIGHT)
    model.along(pictures, tops)
    assert counts == [tops.shape[1]] * 2
    counts.clear()
    model.at_threshold(0.4).along(pictures, tops)
    light = np.stack([pictures[0, top : top + HEIGHT].mean() for top in tops[0]]) / 255
    assert counts == [tops.shape[1], (light >= 0.1).sum()] and counts[1] < counts[0] - 5


@pytest.mark.parametrize(
    ("name", "modes"),
    [
        ("simple-cnn", {"windows"}),
        ("simple-cnn-interval", {"windows", "intervals"}),
        ("core-unet", {"rows"}),
        ("resnet9", {"windows"}),
    ],
)
def test_models_have_the_inference_modes_of_their_outputs(name, modes):
    model = make_small(name, make_spec((50, 40, 3)))
    assert set(sliding_window.by_inference_mode(model)) == modes
