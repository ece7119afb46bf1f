"""Spaces of autoencoders and of classifiers on their code, for any task, with a lab note.

    tfpipe tune TASK --model conv-vae

Seed document 000 ("Insoluble particles", FlowCam images) chose its autoencoder by hand: three
convolutions of kernel 3, a dense layer of 250, and an embedding of 64. With 32 the loss was a tenth
higher. Seed document 001 (CCD tracks) used kernels 12 and 6, a dense layer of 200, an embedding of
50, and Adam at 1e-3; "no hyperparameter optimization was reached". Seed document 003 (ionization
maps) published its code of 25x25x8, a classifier on it, and a baseline with one hidden layer of 350
(validation accuracy 0.48 after 250 epochs). None published a space. The spaces here are around
these values.

The length of the embedding is not searched, as a longer one always has a lower loss. Set it with
`--hp latent=32`, or with `--hp latent=0` for the code of document 003. Lambda of the variational
autoencoder is searched. Trials are compared by the true bound, with lambda 1.
"""

from tuning.search import Search
from tuning.training_spaces import adam, dropout


def conv_autoencoder(hp) -> dict:
    """Returns the autoencoder of seed document 000, with half to four times its widths."""
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
    """Returns lambda from 0.1 to 10 (1 is the true bound), and widths up to seed document 001's."""
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
    """Returns the classifier of seed document 003, with half to four times its width."""
    return {"filters": hp.Choice("filters", [8, 16, 32, 64], default=16), "dropout": dropout(hp)}


def code_cnn_quick(hp) -> dict:
    return {"filters": hp.Choice("filters", [8, 16]), "dropout": dropout(hp)}


def dense_baseline(hp) -> dict:
    """Returns the hidden layer of seed document 003, half to twice as wide."""
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
