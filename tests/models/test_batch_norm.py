"""Statistics of batch normalizations are those of the images that they are estimated on."""

import keras
import numpy as np
import pytest

from tfpipe.base.errors import UserError
from tfpipe.models import batch_norm


def build(*, with_norm: bool = True) -> keras.Model:
    image = keras.Input((4, 4, 1), name="image")
    x = keras.layers.Flatten()(image)
    if with_norm:
        x = keras.layers.BatchNormalization(momentum=0.9, name="norm")(x)
    return keras.Model({"image": image}, keras.layers.Dense(2)(x), name="small")


def test_means_and_variances_are_those_of_all_batches_alike():
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, (40, 32, 4, 4, 1)).astype(np.float32)
    images[:, ::2] += 5  # half of each batch is of another place
    model = build()
    batch_norm.estimate_again(model, ({"image": part, "columns": None} for part in images))
    norm = model.get_layer("norm")
    flat = images.reshape(40, 32, 16)
    np.testing.assert_allclose(norm.moving_mean, flat.mean(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, flat.var(axis=1).mean(axis=0), rtol=1e-3)
    assert np.mean(norm.moving_mean) == pytest.approx(2.5, abs=0.05)
    assert np.mean(norm.moving_variance) == pytest.approx(7.25, abs=0.1), "with what lies between"
    assert norm.momentum == 0.9


def test_a_network_without_them_is_refused():
    with pytest.raises(UserError, match="no batch normalization"):
        batch_norm.estimate_again(build(with_norm=False), [])
