"""Spaces of the CCD track models, and what is known of them.

    tfpipe tune ccd-tracks --algorithm bayesian

Seed 001 ("Classification of data from Charge Coupled Devices") tuned a CNN by Optuna, Bayesian as
`--algorithm bayesian` is here, on some 500 clusters labelled by hand, each in eight rotations that
its split then parted. Its slide "Hyperparameters CNN", space and final value:

    conv_layers    1-3        2         dense_layers  1-3         3
    filters        2^3..2^7   64, 16    dense_units   2^3..2^5    16, 8 (two are printed)
    kernels        2-5        2, 5      dropout       0-0.5       0.4981
    learning_rate  1e-7..0.1  3.676e-4  decay         100-10000 steps 3866, rate 0.8-1 0.9122

These values are the defaults here, the third dense layer's our guess. It gives no accuracy that a
split without copies would confirm; a plain small CNN, split by cluster, reaches 0.92 on x-ray,
electron and muon, a forest on the four columns 0.84. "No hyperparameter optimization was reached"
for its autoencoder; kernels 12 and 6, dense 200, embedding 50 are the defaults of ours.
"""

from tuning import autoencoders, insolubles, resnets
from tuning.search import Search
from tuning.training_spaces import exponential

DENSE_UNITS = (16, 8, 8)
FILTERS, KERNELS = (64, 16, 16), (2, 5, 3)


def simple_cnn(hp) -> dict:
    """The seed's space, layer by layer."""
    return _simple_cnn(hp, filters=(3, 7), units=(3, 5))


def simple_cnn_quick(hp) -> dict:
    """Its narrower half."""
    return _simple_cnn(hp, filters=(3, 4), units=(3, 4))


def _simple_cnn(hp, *, filters: tuple[int, int], units: tuple[int, int]) -> dict:
    """Returns the arguments of simple-cnn; `filters` and `units` are ends of powers of two."""
    conv_layers = hp.Int("conv_layers", 1, 3, default=2)
    dense_layers = hp.Int("dense_layers", 1, 3, default=3)
    widths = [_power(hp, f"filters{i}", ends=filters, default=n) for i, n in enumerate(FILTERS)]
    kernels = [hp.Int(f"kernel{i}", 2, 5, default=size) for i, size in enumerate(KERNELS)]
    lengths = [_power(hp, f"units{i}", ends=units, default=n) for i, n in enumerate(DENSE_UNITS)]
    rate = hp.Float("dropout", min_value=0.0, max_value=0.5, default=0.4981)
    return {
        "conv_layers": conv_layers,
        "filters": widths[:conv_layers],
        "kernels": kernels[:conv_layers],
        "dropout": rate,
        "dense_units": lengths[:dense_layers],
        "dense_dropout": rate,
    }


def _power(hp, name: str, *, ends: tuple[int, int], default: int) -> int:
    values = [2**n for n in range(ends[0], ends[1] + 1)]
    return hp.Choice(name, values, default=min(default, values[-1]))


SEARCHES = {
    "simple-cnn": Search(
        space=simple_cnn, training=exponential, quick_space=simple_cnn_quick, epochs=60
    ),
    "resnet9": resnets.RESNET,
    "columns-mlp": insolubles.SEARCHES["columns-mlp"],
    "image-and-columns": insolubles.SEARCHES["image-and-columns"],
    "conv-vae": autoencoders.CONV_VAE,
}
