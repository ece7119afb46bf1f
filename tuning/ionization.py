"""Spaces of the models of ionization maps, with a lab note.

    tfpipe tune ionization-redshift --model simple-cnn -o test_seeds=13

Seed document 003 (21cmFAST, 17 redshifts, 12 escape fractions) chose its networks by hand. Its
baseline, one hidden layer of 350 on 50 x 50 px, reached a validation accuracy of 0.48 after 250
epochs. A classifier on the code of its autoencoder converged "much quicker". Slices of one cube
were on both sides of its splits. It published no spaces. The spaces here are around its networks
and those of seed document 002 (2022).

Autoencoders scale 70 mK to white, like the document. That is an argument of the task
(`Task.arguments`) and not of the space.
"""

from dataclasses import replace

from tuning import autoencoders, compact_resnet, insolubles, melt_layer, resnets


def conv_autoencoder(hp) -> dict:
    """Returns the code of seed document 003, with half to twice its channels."""
    return {"latent": 0, "filters": hp.Choice("filters", [4, 8, 16], default=8)}


def conv_autoencoder_quick(hp) -> dict:
    return {"latent": 0, "filters": hp.Choice("filters", [4, 8], default=8)}


SEARCHES = {
    "compact-resnet": compact_resnet.COMPACT_RESNET,
    "simple-cnn": melt_layer.SEARCHES["simple-cnn"],
    "simple-cnn-2": melt_layer.SEARCHES["simple-cnn-2"],
    "resnet9": resnets.RESNET,
    "image-and-columns": insolubles.SEARCHES["image-and-columns"],
    "columns-mlp": insolubles.SEARCHES["columns-mlp"],
    "code-cnn": autoencoders.CODE_CNN,
    "dense-baseline": autoencoders.DENSE_BASELINE,
    "conv-autoencoder": replace(
        autoencoders.CONV_AUTOENCODER, space=conv_autoencoder, quick_space=conv_autoencoder_quick
    ),
}
