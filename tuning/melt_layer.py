"""Spaces of the melt-layer models, and what is known of them.

    tfpipe tune melt-layer --model enhanced-cnn

Seed 002 ("IceCore MeltLayer Predictions using a CNN", 2022) tuned its Enhanced CNN with Hyperband
over four values: optimizer, learning rate 1e-4..1e-2, 64..256 filters to start, 2..4 convolutional
layers in sequence. Trained on 932 slices, validated on 492, tested on 500. Its appendix A2:

    place  conv_layers  filters  learning_rate          optimizer
    1      4            157      0.0049406530672152634  sgd        test accuracy 0.976
    2      3            251      0.0001377968661129521  nadam
    3      3            232      0.000228430533572026   nadam

Its other test accuracies: Simple CNN 0.986 (dropout tuned with Optuna, values not given), ResNet-34
0.779, frozen VGG-16 0.527 (always answering "no" gives 264 of 500, 0.528). No spaces are published
for these; those below are ours, around the published architectures.

"sgd" is momentum 0.9 with Nesterov's correction; "nadam" is beta1 0.9, beta2 0.999.
The quick spaces are the same questions asked of models that a laptop trains in seconds.
"""


def sgd_or_nadam(hp) -> dict:
    """The seed's two optimizers and its range of learning rates."""
    return {
        "optimizer": hp.Choice("optimizer", ["sgd", "nadam"]),
        "learning_rate": _learning_rate(hp),
    }


def nadam(hp) -> dict:
    """For a frozen body: only the small top trains, so only the learning rate is searched."""
    return {"optimizer": "nadam", "learning_rate": _learning_rate(hp)}


def enhanced_cnn(hp) -> dict:
    """The seed's space."""
    return {
        "filters": hp.Int("filters", min_value=64, max_value=256),
        "conv_layers": hp.Int("conv_layers", min_value=2, max_value=4),
    }


def enhanced_cnn_quick(hp) -> dict:
    return {
        "filters": hp.Int("filters", min_value=8, max_value=24),
        "conv_layers": hp.Int("conv_layers", min_value=2, max_value=4),
    }


def simple_cnn(hp) -> dict:
    """Half to twice the published widths, and its one tuned value, one dropout for all."""
    return {
        "filters": hp.Int("filters", min_value=16, max_value=64, step=16),
        "dropout": _dropout(hp),
        "dense_dropout": _dropout(hp),
        "dense_units": hp.Choice("dense_units", [64, 128, 256]),
    }


def simple_cnn_quick(hp) -> dict:
    return {
        "filters": hp.Int("filters", min_value=8, max_value=12, step=4),
        "dropout": _dropout(hp),
        "dense_dropout": _dropout(hp),
        "dense_units": hp.Choice("dense_units", [32, 64]),
    }


def resnet34(hp) -> dict:
    """The published width and half of it: 932 slices are few for 21 million parameters."""
    return {"filters": hp.Choice("filters", [32, 64]), "dropout": _dropout(hp)}


def resnet34_quick(hp) -> dict:
    return {"filters": hp.Choice("filters", [8, 16]), "dropout": _dropout(hp)}


def vgg16(hp) -> dict:
    """The top only."""
    return {"dense_units": hp.Choice("dense_units", [128, 256, 512]), "dropout": _dropout(hp)}


def vgg16_quick(hp) -> dict:
    """A smaller top, on pictures of 96 px: a fifth of the body's work at 224."""
    return {
        "dense_units": hp.Choice("dense_units", [32, 64]),
        "dropout": _dropout(hp),
        "image_size": 96,
    }


def _learning_rate(hp) -> float:
    return hp.Float("learning_rate", min_value=1e-4, max_value=1e-2, sampling="log")


def _dropout(hp) -> float:
    return hp.Float("dropout", min_value=0.0, max_value=0.5)
