"""Every model small enough to build and run in a test, and data of any Spec for it."""

import keras
import numpy as np

from tfpipe.models import MODELS
from tfpipe.models.spec import Spec

SMALL = {
    "simple-cnn": {"filters": 4, "dense_units": 8},
    "simple-cnn-2": {"filters": 4, "conv_layers": 3, "dense_units": 8},
    "simple-cnn-interval": {"filters": 4, "dense_units": 8},
    "enhanced-cnn": {"filters": 6},
    "core-unet": {"filters": 4, "units": 8, "levels": 2},
    "compact-resnet": {"filters": 4},
    "resnet9": {"filters": 4},
    "resnet18": {"filters": 4},
    "resnet34": {"filters": 4},
    "resnet50": {"weights": "none", "image_size": 32},
    "resnet101": {"weights": "none", "image_size": 32},
    "resnet152": {"weights": "none", "image_size": 32},
    "vgg16": {"weights": "none", "dense_units": 8, "image_size": 32},
    "columns-mlp": {"units": 8, "branch_units": 4},
    "image-and-columns": {"filters": 4, "dense_units": 8},
    "resnet50-and-columns": {"weights": "none", "image_size": 32, "dense_units": 8},
    "conv-autoencoder": {},
    "conv-vae": {"filters": 4, "latent": 8, "dense_units": 16},
    "code-cnn": {},
    "dense-baseline": {"dense_units": 8},
}
NEED_COLUMNS = ("columns-mlp", "image-and-columns", "resnet50-and-columns")
TAKE_COLUMNS = (*NEED_COLUMNS, "conv-vae", "compact-resnet")
COLUMNS = ("area", "length", "width")


def make_spec(shape=(33, 40, 3), *, classes=2, dtype="uint8", columns=()) -> Spec:
    channels = shape[-1]
    names = tuple(f"class{i}" for i in range(classes))
    scales = {"column_mean": (5.0,) * len(columns), "column_std": (2.0,) * len(columns)}
    means, stds = (120.0,) * channels, (60.0,) * channels
    rows = ("none", "layer", "lens")
    return Spec(
        shape, names, means, stds, columns=columns, image_dtype=dtype, row_classes=rows, **scales
    )


def spec_for(name: str, **rest) -> Spec:
    """Returns a spec with columns if a model needs them."""
    return make_spec(**{"columns": COLUMNS if name in NEED_COLUMNS else (), **rest})


def make_small(name: str, spec: Spec, **overrides) -> keras.Model:
    return MODELS[name](spec, **{**SMALL[name], **overrides})


def make_images(spec: Spec, *, batch: int = 3) -> np.ndarray:
    """Returns raw pixels [batch, height, width, channels] 0..255 in the spec's dtype."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *spec.image_shape))
    return pixels.astype(spec.image_dtype)


def make_features(model: keras.Model, spec: Spec, *, batch: int = 3) -> dict[str, np.ndarray]:
    """Returns the inputs of a model: raw pixels, and columns around their mean."""
    columns = np.random.default_rng(1).normal(5, 2, (batch, len(spec.columns)))
    features = {"image": make_images(spec, batch=batch), "columns": columns.astype("float32")}
    return {name: features[name] for name in model.input}


def settle(model: keras.Model, spec: Spec) -> keras.Model:
    """Returns the model with batch norms that have seen 32 examples, as after some training.

    Fresh ones let activations grow from layer to layer, until all probabilities are 0 or 1.
    """
    norms = [layer for layer in model._flatten_layers() if hasattr(layer, "moving_mean")]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        model(make_features(model, spec, batch=32), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


def embed(model: keras.Model, features: dict[str, np.ndarray]) -> np.ndarray:
    embedder = keras.Model(model.input, model.get_layer("embedding").output)
    return np.asarray(embedder(features, training=False), "float32")


def predict(model: keras.Model, features) -> np.ndarray:
    """Returns the outputs for a dictionary of features, or for images."""
    features = features if isinstance(features, dict) else {"image": features}
    return np.asarray(model(features, training=False))


def count_trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def layer_counts(model: keras.Model) -> list[int]:
    """Returns the number of parameters of each layer that has some."""
    return [n for n in (layer.count_params() for layer in model.layers) if n]
