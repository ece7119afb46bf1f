"""Spaces of autoencoders and of what reads their code, whatever the task, and what is known.

    tfpipe tune TASK --model conv-vae

Seed 000 ("Insoluble particles", FlowCam pictures) chose its autoencoder by hand: three convolutions
of kernel 3, dense 250, and an embedding of 64, as 32 lost a tenth more. Seed 001 (CCD tracks): "no
hyperparameter optimization was reached"; kernels 12 and 6, dense 200, embedding 50, Adam at 1e-3.
Seed 003 (ionization maps) published its code of 25x25x8, a classifier on it, and as baseline one
hidden layer of 350 (validation accuracy 0.48 after 250 epochs). None published a space; ours are
around these.

The lengths of embeddings are no part of the spaces: a longer one always loses less. Give
`--hp latent=32`, or `--hp latent=0` for seed 003's code. Lambda of the variational one is: what
decides is the true bound, whatever lambda a trial learnt with.
"""

from tuning.search import Search
from tuning.training_spaces import adam, dropout


def conv_autoencoder(hp) -> dict:
    """Seed 000's, with half to four times its widths."""
    return {
        "latent": 64,
        "filters": hp.Choice("filters", [4, 8, 16, 32], default=8),
        "dense_units": hp.Choice("dense_units", [125, 250, 500], default=250),
        "dropout": dropout(hp),
    }


def conv_autoencoder_quick(hp) -> dict:
    return {
        "latent": 16,
        "filters": hp.Choice("filters", [2, 4]),
        "dense_units": hp.Choice("dense_units", [32, 64]),
        "dropout": dropout(hp),
    }


def conv_vae(hp) -> dict:
    """Seed 001's lambda, a tenth to ten times the true bound's 1, and widths up to its own."""
    return {
        "kl_weight": _kl_weight(hp),
        "filters": hp.Choice("filters", [16, 32, 64], default=64),
        "dense_units": hp.Choice("dense_units", [100, 200, 400], default=200),
    }


def conv_vae_quick(hp) -> dict:
    return {
        "kl_weight": _kl_weight(hp),
        "filters": hp.Choice("filters", [2, 4]),
        "dense_units": hp.Choice("dense_units", [16, 32]),
        "latent": 8,
    }


def code_cnn(hp) -> dict:
    """Seed 003's classifier, with half to four times its width."""
    return {"filters": hp.Choice("filters", [8, 16, 32, 64], default=16), "dropout": dropout(hp)}


def code_cnn_quick(hp) -> dict:
    return {"filters": hp.Choice("filters", [8, 16]), "dropout": dropout(hp)}


def dense_baseline(hp) -> dict:
    """Seed 003's hidden layer, half to twice as wide."""
    return {
        "dense_units": hp.Choice("dense_units", [175, 350, 700], default=350),
        "dropout": dropout(hp),
    }


def dense_baseline_quick(hp) -> dict:
    return {"dense_units": hp.Choice("dense_units", [16, 32]), "dropout": dropout(hp)}


def _kl_weight(hp) -> float:
    return hp.Float("kl_weight", min_value=0.1, max_value=10.0, sampling="log", default=1.0)


CONV_AUTOENCODER = Search(space=conv_autoencoder, training=adam, quick_space=conv_autoencoder_quick)
CONV_VAE = Search(space=conv_vae, training=adam, quick_space=conv_vae_quick)
CODE_CNN = Search(space=code_cnn, training=adam, quick_space=code_cnn_quick)
DENSE_BASELINE = Search(space=dense_baseline, training=adam, quick_space=dense_baseline_quick)
