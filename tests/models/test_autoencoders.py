"""Pictures given back: seeds 000, 001 and 003, and the classifier on a code."""

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from small_models import (
    COLUMNS,
    count_trainable,
    embed,
    layer_counts,
    make_features,
    make_small,
    make_spec,
    predict,
)

from tfpipe.base.errors import UserError
from tfpipe.models import MODELS, weights_file
from tfpipe.models.layers_unit_range import pad_to, reconstruction
from tfpipe.models.spec import Spec
from tfpipe.models.zoo.vae import Sample
from tfpipe.tasks.catalog import TASKS

pytestmark = pytest.mark.slow

REALDATA = os.environ.get("TFPIPE_REALDATA")


def output_of(model: keras.Model, layer: str, features) -> np.ndarray:
    inner = keras.Model(model.input, model.get_layer(layer).output)
    return np.asarray(inner(features, training=False))


# What the picture is brought to, and given back as.


@pytest.mark.parametrize(
    ("dtype", "white", "expected"),
    [
        ("uint8", None, [0, 100 / 255, 200 / 255]),
        ("uint16", None, [0, 100 / 65535, 200 / 65535]),
        ("float32", None, [0, 100 / 300, 200 / 300]),  # mean 60, deviation 60
        ("float32", 150, [0, 100 / 150, 1]),
    ],
)
@pytest.mark.parametrize("name", ["conv-autoencoder", "conv-vae", "code-cnn"])
def test_pictures_become_0_to_1(name, dtype, white, expected):
    spec = Spec((1, 3, 1), ("a", "b"), (60.0,), (60.0,), image_dtype=dtype)
    model = make_small(name, spec, white=white)
    images = np.array([0, 100, 200], dtype).reshape(1, 1, 3, 1)
    target = output_of(model, "unit_scale", {"image": images})
    assert target.dtype == np.float32
    np.testing.assert_allclose(target.ravel(), expected, rtol=1e-6)
    # Training takes the layer by itself, to make targets of raw pictures.
    np.testing.assert_array_equal(np.asarray(model.get_layer("unit_scale")(images)), target)


def test_each_channel_has_a_white_of_its_own():
    spec = Spec((1, 1, 2), ("a", "b"), (0.0, 2.0), (1.0, 2.0), image_dtype="float32")
    model = make_small("conv-autoencoder", spec)
    images = np.array([-1, 5], "float32").reshape(1, 1, 1, 2)
    np.testing.assert_allclose(
        output_of(model, "unit_scale", {"image": images}).ravel(), [0, 5 / 10]
    )


def test_white_must_be_a_pixel_value():
    with pytest.raises(UserError, match="white must be a pixel value above 0, but it is -70"):
        make_small("conv-autoencoder", make_spec(), white=-70)
    below = Spec((8, 8, 1), ("a", "b"), (-9.0,), (2.0,), image_dtype="float32")
    with pytest.raises(UserError, match="mostly below 0.* Give white"):
        make_small("conv-autoencoder", below)
    make_small("conv-autoencoder", below, white=1)


def test_what_is_padded_is_cut_off_again():
    spec = make_spec((9, 17, 1))
    x = keras.Input((9, 17, 1))
    padded = pad_to(x, multiple=8, minimum=16)
    images = np.random.default_rng(0).random((2, 9, 17, 1)).astype("float32")
    seen, back = (
        np.asarray(one) for one in keras.Model(x, [padded, reconstruction(padded, spec)])(images)
    )
    assert seen.shape == (2, 16, 24, 1)
    np.testing.assert_array_equal(seen[:, :9, :17], images)
    assert seen.sum() == pytest.approx(images.sum(), rel=1e-6)
    np.testing.assert_array_equal(back, images)


# Seed 003's.


def test_the_autoencoder_has_the_layers_of_seed_003():
    model = MODELS["conv-autoencoder"](make_spec((200, 200, 1), dtype="float32"), white=70)
    assert layer_counts(model) == [160, 1160, 584, 584, 584, 1168, 145]  # its table
    assert model.count_params() == 4_385
    assert model.get_layer("embedding").output.shape == (None, 25 * 25 * 8)


def test_the_code_cnn_has_the_parameters_of_seed_003():
    model = MODELS["code-cnn"](make_spec((200, 200, 1), classes=17))
    encoder, classifier = layer_counts(model)[:3], layer_counts(model)[3:]
    assert encoder == [160, 1160, 584]
    assert classifier == [1168, 1160, 2193]
    assert sum(classifier) == 4_521


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_a_trained_encoder_is_taken_and_frozen(tmp_path, suffix):
    spec = make_spec((88, 80, 1), classes=3)
    autoencoder, path = make_small("conv-autoencoder", spec), tmp_path / f"trained{suffix}"
    autoencoder.save_weights(path) if suffix == ".weights.h5" else autoencoder.save(path)
    model = make_small("code-cnn", spec, encoder=str(path))
    features = make_features(model, spec)
    code = output_of(model, "encoder3_pool", features)
    np.testing.assert_allclose(code.reshape(3, -1), embed(autoencoder, features), rtol=1e-5)
    free = make_small("code-cnn", spec)
    assert count_trainable(free) - count_trainable(model) == 160 + 1160 + 584
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert count_trainable(loaded) == count_trainable(model)


def test_other_encoders_are_refused(tmp_path):
    spec = make_spec((88, 80, 1), classes=3)
    make_small("conv-autoencoder", spec, latent=4).save(tmp_path / "latent.keras")
    with pytest.raises(UserError, match="not hold the encoder of a conv-autoencoder with latent=0"):
        make_small("code-cnn", spec, encoder=str(tmp_path / "latent.keras"))
    with pytest.raises(UserError, match="No .keras, .h5 or .weights.h5 file of weights at"):
        make_small("code-cnn", spec, encoder="nowhere.keras")


@pytest.mark.skipif(not REALDATA, reason="TFPIPE_REALDATA names no folder")
def test_the_weights_of_the_author_give_back_the_cube():
    folder = Path(REALDATA, "ionization")
    task = TASKS["ionization-redshift"]
    options = dataclasses.replace(task.options, every=1)
    path = folder / "delta_T_z006.50_fesc0.070_200_300Mpc.npz"
    survey = task.survey_new([path], None, options)
    cube = np.stack([one.image for one in task.read(survey.sources[0], survey.options).examples])
    # The numbers that come with the cube, of all its cells.
    assert cube.shape == (200, 200, 200, 1)
    assert cube.mean() == pytest.approx(5.594, abs=5e-4)
    assert cube.std() == pytest.approx(6.627, abs=5e-4)
    assert (cube == 0).mean() == pytest.approx(0.556, abs=5e-4)
    spec = make_spec((200, 200, 1), dtype="float32")
    model = MODELS["conv-autoencoder"](spec, **task.model_arguments["conv-autoencoder"])
    wanted = [layer for layer in model.layers if layer.weights]
    path = folder / "autoencoder_adam_95.model.h5"
    weights_file.fill(wanted, path, expected="seed 003's autoencoder")
    slices = {"image": cube}
    target, given = output_of(model, "unit_scale", slices), predict(model, slices)
    assert target.var() == pytest.approx(0.0090, abs=5e-5)
    assert np.square(given - target).mean() == pytest.approx(0.0047, abs=5e-5)
    classifier = MODELS["code-cnn"](spec, encoder=str(path), white=70)
    code = output_of(classifier, "encoder3_pool", {"image": slices["image"][:1]})
    np.testing.assert_allclose(
        code.reshape(1, -1), embed(model, {"image": slices["image"][:1]}), rtol=1e-4
    )


# Seed 000's.


def test_the_symmetric_autoencoder_has_the_layers_of_seed_000():
    model = MODELS["conv-autoencoder"](make_spec((128, 128, 3)), latent=64)
    convolutions = [3 * 8 * 9 + 8, 8 * 16 * 9 + 16, 16 * 4, 16 * 32 * 9 + 32]
    # fc1 takes 15 * 15 * 32 = 7200, as last_linear gives; batch norms count four numbers each.
    dense = [7200 * 250 + 250, 250 * 4, 250 * 64 + 64, 64 * 250 + 250, 250 * 4, 250 * 7200 + 7200]
    transposed = [32 * 16 * 9 + 16, 16 * 4, 16 * 8 * 9 + 8, 8 * 4, 8 * 3 * 9 + 3]
    assert layer_counts(model) == convolutions + dense + transposed
    assert model.output.shape == (None, 128, 128, 3)
    assert model.get_layer("embedding").output.shape == (None, 64)


@pytest.mark.parametrize("shape", [(1, 1, 1), (33, 50, 3)])
def test_the_symmetric_autoencoder_takes_any_size(shape):
    spec = make_spec(shape)
    model = make_small("conv-autoencoder", spec, latent=4, dense_units=8)
    given = predict(model, make_features(model, spec))
    assert given.shape == (3, *shape)
    assert given.min() >= 0
    assert given.max() <= 1


# Seed 001's.


def test_the_vae_has_the_layers_of_seed_001():
    columns = ("width", "height", "pixels", "energy")
    model = MODELS["conv-vae"](make_spec((64, 64, 1), columns=columns))
    # Its hyperparameters: 43264x200 and 204x50, then 50x200 and 200x43264; 50 means, 50 variances.
    kernels = [tuple(one.kernel.shape) for one in model.layers if hasattr(one, "units")]
    latent = [(50, 50), (50, 50)]
    assert kernels == [(43264, 200), (204, 50), *latent, (50, 200), (200, 43264)]
    sizes = [layer.kernel_size for layer in model.layers if hasattr(layer, "kernel_size")]
    assert sizes == [(12, 12), (6, 6), (6, 6), (12, 12)]


@pytest.mark.parametrize(
    ("mean", "deviation", "expected"),
    # Kingma & Welling (2014), appendix B, by hand: (m**2 + s**2 - 1) / 2 - log(s).
    [(0, 1, 0.0), (1, 1, 0.5), (0, 2, 1.5 - np.log(2)), (3, 0.5, 4.125 + np.log(2))],
)
def test_the_divergence_from_a_standard_normal(mean, deviation, expected):
    layer = Sample(1.0, 4)
    layer([np.full((5, 2), float(mean)), np.full((5, 2), 2 * np.log(deviation))])
    (loss,) = layer.losses
    assert float(loss) == pytest.approx(0.25 * 2 * expected, abs=1e-6)


def test_the_loss_is_the_bound_of_the_paper_a_pixel():
    spec, pixels = make_spec((16, 15, 2), columns=COLUMNS), 16 * 15 * 2
    model = make_small("conv-vae", spec, kl_weight=3.0)
    features = make_features(model, spec, batch=4)
    target, given = output_of(model, "unit_scale", features), predict(model, features)
    mean, log_variance = (output_of(model, one, features) for one in ("embedding", "log_variance"))
    entropy = -(target * np.log(given) + (1 - target) * np.log(1 - given)).sum(axis=(1, 2, 3))
    divergence = (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1) / 2
    assert divergence.mean() > 0.01
    model.compile(optimizer="sgd", loss="binary_crossentropy", run_eagerly=True)
    loss = float(model.evaluate(features, target, verbose=0))
    assert loss * pixels == pytest.approx((entropy + divergence).mean(), rel=1e-4)
    model(features, training=True)  # where lambda counts
    assert float(model.losses[0]) * pixels == pytest.approx(3 * divergence.mean(), rel=1e-4)


def test_only_training_draws():
    spec = make_spec((16, 16, 1))
    model = make_small("conv-vae", spec)
    features = make_features(model, spec)
    np.testing.assert_array_equal(predict(model, features), predict(model, features))
    first, second = (np.asarray(model(features, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-6


def test_draws_have_the_mean_and_deviation_asked_for():
    keras.utils.set_random_seed(0)
    parts = [np.full((100_000, 1), 2.0), np.full((100_000, 1), 2 * np.log(3.0))]
    layer = Sample(1.0, 1)
    drawn = np.asarray(layer(parts, training=True))
    assert drawn.mean() == pytest.approx(2, abs=0.06)  # six standard errors
    assert drawn.std() == pytest.approx(3, abs=0.05)
    np.testing.assert_array_equal(np.asarray(layer(parts)), parts[0])


def test_columns_reach_the_embedding_of_the_vae():
    spec = make_spec((16, 16, 1), columns=COLUMNS)
    model = make_small("conv-vae", spec, latent=16)
    features = make_features(model, spec)
    other = features | {"columns": features["columns"] + 5}
    assert np.abs(embed(model, other) - embed(model, features)).max() > 1e-3
