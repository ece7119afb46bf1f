"""Spaces of the models of CCD tracks, with a lab note.

    tfpipe tune ccd-tracks --algorithm bayesian

Seed document 001 ("Classification of data from Charge Coupled Devices") tuned a CNN with Optuna, a
Bayesian search like `--algorithm bayesian`. It had some 500 clusters labelled by hand, in eight
rotations each, and its split put rotations of one cluster on both sides. The space and the final
values, from its slide "Hyperparameters CNN":

    conv_layers    1-3        2         dense_layers  1-3         3
    filters        2^3..2^7   64, 16    dense_units   2^3..2^5    16, 8 (two are printed)
    kernels        2-5        2, 5      dropout       0-0.5       0.4981
    learning_rate  1e-7..0.1  3.676e-4  decay         100-10000 steps 3866, rate 0.8-1 0.9122

These values are the defaults here; the width of the third dense layer is a guess. The document
gives no accuracy for a split without copies. A small CNN, split by cluster, reaches 0.92 on x-ray,
electron and muon; a random forest on the four columns reaches 0.84. For the autoencoder, "no
hyperparameter optimization was reached"; its kernels 12 and 6, dense layer of 200 and embedding of
50 are the defaults here.
"""

from tuning import autoencoders, compact_resnet, insolubles, resnets
from tuning.search import Search
from tuning.training_spaces import exponential

DENSE_UNITS = (16, 8, 8)
FILTERS, KERNELS = (64, 16, 16), (2, 5, 3)


def simple_cnn(hp) -> dict:
    """Returns the space of the seed document, layer by layer."""
    return _simple_cnn(hp, filters=(3, 7), units=(3, 5))


def simple_cnn_quick(hp) -> dict:
    """Returns the narrower half of that space."""
    return _simple_cnn(hp, filters=(3, 4), units=(3, 4))


def _simple_cnn(hp, *, filters: tuple[int, int], units: tuple[int, int]) -> dict:
    """Returns the arguments of simple-cnn; `filters` and `units` are ranges of exponents of 2."""
    conv_layers = hp.Int("conv_layers", 1, 3, default=2)
    dense_layers = hp.Int("dense_layers", 1, 3, default=3)
    widths = [_power(hp, f"filters{i}", ends=filters, default=n) for i, n in enumerate(FILTERS)]
    kernels = [hp.Int(f"kernel{i}", 2, 5, default=size) for i, size in enumerate(KERNELS)]
    dense_units = [
        _power(hp, f"units{i}", ends=units, default=n) for i, n in enumerate(DENSE_UNITS)
    ]
    rate = hp.Float("dropout", min_value=0.0, max_value=0.5, default=0.4981)
    return {
        "conv_layers": conv_layers,
        "filters": widths[:conv_layers],
        "kernels": kernels[:conv_layers],
        "dropout": rate,
        "dense_units": dense_units[:dense_layers],
        "dense_dropout": rate,
    }


def _power(hp, name: str, *, ends: tuple[int, int], default: int) -> int:
    values = [2**n for n in range(ends[0], ends[1] + 1)]
    return hp.Choice(name, values, default=min(default, values[-1]))


SEARCHES = {
    "compact-resnet": compact_resnet.COMPACT_RESNET,
    "simple-cnn": Search(
        space=simple_cnn, training=exponential, quick_space=simple_cnn_quick, epochs=60
    ),
    "resnet9": resnets.RESNET,
    "columns-mlp": insolubles.SEARCHES["columns-mlp"],
    "image-and-columns": insolubles.SEARCHES["image-and-columns"],
    "conv-vae": autoencoders.CONV_VAE,
}
