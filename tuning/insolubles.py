"""Spaces of the models of insoluble particles, with a lab note.

    tfpipe tune insolubles --model resnet18

Seed document 000 ("Insoluble particles", FlowCam) chose its networks by hand: a ResNet-18 for
images, dense layers 34 -> 128 -> 64 -> 32 for columns, both joined at 40, and Adam, "experimenting
with learning rate". Its accuracies on a random split of 147,960 particles of seven classes: 0.86 to
0.87 for boosted trees on columns, 0.95 to 0.96 for images with or without columns. It published no
space for networks. The spaces here have half to twice its widths. For its search of boosted trees
see `tuning.boosted_trees`.
"""

from dataclasses import replace

from tuning import autoencoders, compact_resnet, melt_layer, resnets, transfer
from tuning.search import Search
from tuning.training_spaces import adam, dropout, one_cycle


def columns_mlp(hp) -> dict:
    """Returns half to twice the widths of seed document 000."""
    return {
        "units": hp.Choice("units", [64, 128, 256], default=128),
        "branch_units": hp.Choice("branch_units", [16, 32, 64], default=32),
        "dropout": dropout(hp),
    }


def columns_mlp_quick(hp) -> dict:
    return {
        "units": hp.Choice("units", [64, 128]),
        "branch_units": hp.Choice("branch_units", [16, 32]),
        "dropout": dropout(hp),
    }


def image_and_columns(hp) -> dict:
    """Returns the widths of seed document 000 and half of them."""
    return {
        "filters": hp.Choice("filters", [32, 64], default=64),
        "dense_units": hp.Choice("dense_units", [32, 64, 128], default=64),
        "dropout": dropout(hp),
    }


def image_and_columns_quick(hp) -> dict:
    return {
        "filters": hp.Choice("filters", [8, 16]),
        "dense_units": hp.Choice("dense_units", [32, 64]),
        "dropout": dropout(hp),
    }


def resnet50_and_columns(hp) -> dict:
    """Returns the space of ResNet-50, and widths around the joint layer of seed document 000."""
    return transfer.resnet(hp) | {"dense_units": hp.Choice("dense_units", [32, 64, 128])}


def resnet50_and_columns_quick(hp) -> dict:
    return transfer.resnet_quick(hp) | {"dense_units": hp.Choice("dense_units", [32, 64])}


SEARCHES = {
    "compact-resnet": compact_resnet.COMPACT_RESNET,
    "resnet9": resnets.RESNET,
    "resnet18": resnets.RESNET,
    "resnet34": resnets.RESNET,
    "image-and-columns": Search(
        space=image_and_columns, training=one_cycle, quick_space=image_and_columns_quick
    ),
    "resnet50-and-columns": replace(
        transfer.RESNET, space=resnet50_and_columns, quick_space=resnet50_and_columns_quick
    ),
    "columns-mlp": Search(space=columns_mlp, training=adam, quick_space=columns_mlp_quick),
    "simple-cnn": melt_layer.SEARCHES["simple-cnn"],
    "resnet50": transfer.RESNET,
    "vgg16": transfer.VGG16,
    "conv-autoencoder": autoencoders.CONV_AUTOENCODER,
    "conv-vae": autoencoders.CONV_VAE,
}
