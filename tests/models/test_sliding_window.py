"""Windows along a long picture: together they get the answers that each gets by itself."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers
from made_card import made_card
from small_models import make_small, make_spec

from tfpipe.base.errors import UserError
from tfpipe.models import sliding_window
from tfpipe.models.outputs import with_all_outputs
from tfpipe.registry import load

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 34, 12


def network(padding: str, *, exposure: bool = False) -> keras.Model:
    """Returns a window network of three pools, untrained."""
    keras.utils.set_random_seed(2)
    image = keras.Input((HEIGHT, WIDTH, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 60, offset=-2.0, dtype="float32")(image)
    if exposure:
        x = layers.LayerNormalization(axis=[1, 2, 3], epsilon=1e-3, center=False, scale=False)(x)
    for i, pool in enumerate((2, 2, 3)):
        x = layers.Conv2D(4 + i, 3, padding=padding, activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D((pool, 1))(x)
        x = layers.Dropout(0.3)(x)
    x = layers.Dense(5, activation="relu", name="embedding")(layers.Flatten()(x))
    said = layers.Dense(2, activation="softmax", name="probabilities")(x)
    return keras.Model({"image": image}, said)


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


@pytest.mark.parametrize("windows", [64, 9])
def test_a_network_that_does_not_pad_says_the_same_of_every_window(monkeypatch, windows):
    monkeypatch.setattr(sliding_window, "WINDOWS", windows)
    model = network("valid")
    pictures, tops = long_pictures()
    network_parts = sliding_window.split_network(model, {"probabilities": model.output})
    said = sliding_window.scan(network_parts, pictures, tops)["probabilities"]
    assert said.shape == (2, tops.shape[1], 2)
    np.testing.assert_allclose(said, one_by_one(model, pictures, tops), atol=1e-4)
    assert said[..., 1].std() > 0.01  # there is something to tell


def test_a_strip_of_one_window_is_exposed_as_the_window_is():
    model = network("same", exposure=True)
    picture = long_pictures()[0][:1, :HEIGHT]
    network_parts = sliding_window.split_network(model, {"probabilities": model.output})
    said = sliding_window.scan(network_parts, picture, np.zeros((1, 1), int))["probabilities"]
    np.testing.assert_allclose(said[0], model.predict_on_batch({"image": picture}), atol=1e-4)


def test_each_row_of_a_strip_is_exposed_by_the_rows_around_it():
    layer = layers.LayerNormalization(axis=[1, 2, 3], epsilon=1e-3, center=False, scale=False)
    layer(keras.Input((10, 4, 1)))
    strip = np.random.default_rng(0).normal(0, 1, (1, 60, 4, 1)).astype(np.float32)
    strip[:, 30:] += 50  # the light changes half-way
    said = sliding_window.standardize_rows(layer, strip).numpy()
    for row in (0, 3, 20, 27, 30, 33, 59):
        first = min(max(row - 5, 0), 50)
        around = strip[0, first : first + 10]
        expected = (strip[0, row] - around.mean()) / np.sqrt(around.var() + 1e-3)
        np.testing.assert_allclose(said[0, row], expected, atol=1e-3)


def test_a_dilated_or_strided_network_is_looked_through_window_by_window():
    for more in ({"dilation_rate": 2}, {"strides": 2}):
        image = keras.Input((HEIGHT, WIDTH, 1), dtype="uint8", name="image")
        x = layers.Conv2D(2, 3, **more)(layers.Rescaling(1 / 60)(image))
        said = layers.Dense(2, activation="softmax")(layers.Flatten()(x))
        model = keras.Model({"image": image}, said)
        assert sliding_window.split_network(model, {"probabilities": said}) is None


def test_a_version_looks_in_the_way_of_its_card_unless_told():
    modes = sliding_window.by_inference_mode(network("valid"))

    def loaded(**card):
        return SimpleNamespace(
            card=made_card(model="m", **card), inference_modes=modes, predict_proba="one by one"
        )

    assert (
        load.with_inference_mode(loaded(inference_mode="scan"), None).mode
        is sliding_window.INFERENCE_MODES["scan"]
    )
    for version, name in (
        (loaded(inference_mode="scan"), "windows"),
        (loaded(inference_mode="windows"), None),
    ):
        assert load.with_inference_mode(version, name) == "one by one"
    assert load.with_inference_mode(loaded(), None) == "one by one"
    with pytest.raises(
        UserError, match="m does not support the inference mode 'intervals', only scan, windows"
    ):
        load.with_inference_mode(loaded(), "intervals")


def test_windows_that_may_show_something_are_seen_one_by_one(monkeypatch):
    monkeypatch.setattr(sliding_window, "WINDOWS", 16)
    monkeypatch.setattr(sliding_window, "WINDOWS_AT_ONCE", 16)  # so there are several parts
    model = network("same", exposure=True)
    pictures, tops = long_pictures()
    exact = one_by_one(model, pictures, tops)
    network_parts = sliding_window.split_network(model, {"probabilities": model.output})
    together = sliding_window.scan(network_parts, pictures, tops)["probabilities"]
    monkeypatch.setattr(
        sliding_window, "POSITIVE_FROM", float(np.median(together[..., 1].max(axis=0)))
    )
    said = sliding_window.by_inference_mode(model)["scan"].along(pictures, tops)["probabilities"]
    possible = together[..., 1].max(axis=0) >= sliding_window.POSITIVE_FROM
    assert 0.3 < possible.mean() < 0.7
    np.testing.assert_allclose(said[:, possible], exact[:, possible], atol=1e-5)
    np.testing.assert_array_equal(said[:, ~possible], together[:, ~possible])
    assert np.abs(together - exact).max() > 1e-3  # which is why
    whole = sliding_window.by_inference_mode(model)["windows"].along(pictures, tops)[
        "probabilities"
    ]
    np.testing.assert_allclose(whole, exact, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("simple-cnn", {"scan", "windows"}),
        ("simple-cnn-2", {"scan", "windows"}),
        ("enhanced-cnn", {"scan", "windows"}),
        ("simple-cnn-interval", {"scan", "scan-intervals", "windows", "intervals"}),
        ("core-unet", {"rows"}),
        ("resnet9", {"windows"}),
    ],
)
def test_models_are_looked_through_in_every_way_that_they_can(name, found):
    model = make_small(name, make_spec((50, 40, 3)))
    assert set(sliding_window.by_inference_mode(model)) == found
    network_parts = sliding_window.split_network(model, with_all_outputs(model).output)
    assert (network_parts is None) == ("scan" not in found)


def test_the_share_of_windows_that_a_scan_computes_again_is_counted(monkeypatch):
    model = network("same", exposure=True)
    pictures, tops = long_pictures()
    for least, share in ((2.0, 0.0), (0.0, 1.0)):
        monkeypatch.setattr(sliding_window, "POSITIVE_FROM", least)
        mode = sliding_window.by_inference_mode(model)["scan"]
        assert mode.recomputed_share == 0.0, "nothing was predicted"
        mode.along(pictures, tops)
        assert mode.recomputed_share == share
