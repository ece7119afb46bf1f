"""Spaces of the models of melt layers, with a lab note.

    tfpipe tune melt-layer --model enhanced-cnn

Seed document 002 ("IceCore MeltLayer Predictions using a CNN", 2022) tuned its Enhanced CNN with
Hyperband over four values: the optimizer, the learning rate (1e-4 to 1e-2), the filters of the
first layer (64 to 256), and the number of convolutional layers in sequence (2 to 4). It had 932
training, 492 validation and 500 test slices. Its appendix A2:

    place  conv_layers  filters  learning_rate          optimizer
    1      4            157      0.0049406530672152634  sgd        test accuracy 0.976
    2      3            251      0.0001377968661129521  nadam
    3      3            232      0.000228430533572026   nadam

Its other test accuracies: Simple CNN 0.986 (dropout tuned with Optuna, values not published),
Simple CNN 2.00 0.980 ("overfitting"), ResNet-34 0.779, frozen VGG-16 0.527. The majority class
alone gives 0.528 (264 of 500). No spaces are published for these networks. The spaces here are
around the published architectures.

The quick spaces have the same hyperparameters, for models that a laptop trains in seconds. Spaces
that do not depend on the task are in `tuning.resnets`, `tuning.transfer` and `tuning.autoencoders`.
"""

from tuning import autoencoders, compact_resnet, resnets, transfer
from tuning.search import Search
from tuning.training_spaces import dropout, sgd_or_nadam


def simple_cnn_interval(hp) -> dict:
    """Returns the space of the Simple CNN, and the weight of start and stop in the loss."""
    return simple_cnn(hp) | {"interval_weight": hp.Choice("interval_weight", [0.3, 1.0, 3.0])}


def simple_cnn_interval_quick(hp) -> dict:
    return simple_cnn_quick(hp) | {"interval_weight": hp.Choice("interval_weight", [1.0, 3.0])}


def enhanced_cnn(hp) -> dict:
    """Returns the space of seed document 002 (2022)."""
    return {
        "filters": hp.Int("filters", min_value=64, max_value=256),
        "conv_layers": hp.Int("conv_layers", min_value=2, max_value=4),
    }


def enhanced_cnn_quick(hp) -> dict:
    return {
        "filters": hp.Int("filters", min_value=8, max_value=24),
        "conv_layers": hp.Int("conv_layers", min_value=2, max_value=4),
    }


def core_unet(hp) -> dict:
    """Returns half to twice the default widths, and what the loss of rows weighs.

    Not from the seed: it has no such network.
    """
    return {
        "filters": hp.Choice("filters", [6, 8, 12, 16], default=8),
        "units": hp.Choice("units", [32, 48, 64, 96], default=48),
        "levels": hp.Int("levels", min_value=3, max_value=5, default=4),
        "dropout": dropout(hp),
        "event_weight": hp.Choice("event_weight", [1.0, 3.0, 6.0], default=3.0),
    }


def core_unet_quick(hp) -> dict:
    return {
        "filters": hp.Choice("filters", [4, 6], default=4),
        "units": hp.Choice("units", [16, 24], default=16),
        "levels": hp.Int("levels", min_value=2, max_value=4, default=3),
        "dropout": dropout(hp),
        "event_weight": hp.Choice("event_weight", [1.0, 3.0, 6.0], default=3.0),
    }


def simple_cnn(hp) -> dict:
    """Returns half to twice the published widths, and the dropout rates."""
    return {
        "filters": hp.Int("filters", min_value=16, max_value=64, step=16),
        "dropout": dropout(hp),
        "dense_dropout": dropout(hp),
        "dense_units": hp.Choice("dense_units", [64, 128, 256]),
    }


def simple_cnn_quick(hp) -> dict:
    return {
        "filters": hp.Int("filters", min_value=8, max_value=12, step=4),
        "dropout": dropout(hp),
        "dense_dropout": dropout(hp),
        "dense_units": hp.Choice("dense_units", [32, 64]),
    }


def simple_cnn_2(hp) -> dict:
    """Returns full and half widths; each further block doubles the receptive field."""
    return {
        "filters": hp.Choice("filters", [16, 32]),
        "conv_layers": hp.Int("conv_layers", min_value=3, max_value=6, default=5),
        "dropout": dropout(hp),
        "dense_dropout": dropout(hp),
    }


def simple_cnn_2_quick(hp) -> dict:
    return {
        "filters": hp.Choice("filters", [4, 8]),
        "conv_layers": hp.Int("conv_layers", min_value=3, max_value=4),
        "dropout": dropout(hp),
        "dense_dropout": dropout(hp),
    }


SEARCHES = {
    "simple-cnn": Search(space=simple_cnn, training=sgd_or_nadam, quick_space=simple_cnn_quick),
    "simple-cnn-interval": Search(
        space=simple_cnn_interval,
        training=sgd_or_nadam,
        quick_space=simple_cnn_interval_quick,
    ),
    "simple-cnn-2": Search(
        space=simple_cnn_2, training=sgd_or_nadam, quick_space=simple_cnn_2_quick
    ),
    "enhanced-cnn": Search(
        space=enhanced_cnn, training=sgd_or_nadam, quick_space=enhanced_cnn_quick
    ),
    "core-unet": Search(space=core_unet, training=sgd_or_nadam, quick_space=core_unet_quick),
    "compact-resnet": compact_resnet.COMPACT_RESNET,
    "resnet9": resnets.RESNET,
    "resnet18": resnets.RESNET,
    "resnet34": resnets.RESNET,
    "resnet50": transfer.RESNET,
    "resnet101": transfer.RESNET,
    "resnet152": transfer.RESNET,
    "vgg16": transfer.VGG16,
    "code-cnn": autoencoders.CODE_CNN,
    "dense-baseline": autoencoders.DENSE_BASELINE,
    "conv-autoencoder": autoencoders.CONV_AUTOENCODER,
    "conv-vae": autoencoders.CONV_VAE,
}
