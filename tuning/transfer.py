"""Spaces of bodies trained on ImageNet, whatever the task, and what is known of them.

    tfpipe tune TASK --model resnet50 [--hp weights=FILE.h5]

Seed 002 (2022) put three dense layers on a frozen VGG-16 at 224 px; it learnt nothing (test
accuracy 0.527). Seed 004 ("Deep Learning as Fold Geometry Classification Tool", 2021), 3,913
pictures of three kinds of folds, one linear layer on the body, all of it trained by one-cycle:

    body        pretrained  test   validation
    ResNet-50   yes         0.75   0.70         its winner
    ResNet-152  yes         0.662  0.613
    ResNet-101  yes         0.617  0.61
    ResNet-50   no          0.338  0.45
    ResNet-101  no          0.397  0.389
    ResNet-152  no          0.338  0.367

Neither published a space. Ours: the size of the pictures, the dropout, and how far the body is
opened from its top. The quick spaces look at pictures of 32 or 64 px: a tenth of the body's work at
224.
"""

from tuning.search import Search
from tuning.training_spaces import by_stages, dropout


def resnet(hp) -> dict:
    """ResNet-50, 101 or 152 under one linear layer."""
    return {"image_size": hp.Choice("image_size", [128, 224], default=224), "dropout": dropout(hp)}


def resnet_quick(hp) -> dict:
    return {"image_size": hp.Choice("image_size", [32, 64]), "dropout": dropout(hp)}


def vgg16(hp) -> dict:
    """VGG-16 under two dense layers and the head."""
    return {"dense_units": hp.Choice("dense_units", [128, 256, 512]), "dropout": dropout(hp)}


def vgg16_quick(hp) -> dict:
    return {
        "dense_units": hp.Choice("dense_units", [32, 64]),
        "dropout": dropout(hp),
        "image_size": 64,
    }


BUDGET = {"max_epochs": 20, "max_trials": 20, "quick_max_trials": 4, "quick_epochs": 6}
RESNET = Search(space=resnet, training=by_stages, quick_space=resnet_quick, **BUDGET)
VGG16 = Search(space=vgg16, training=by_stages, quick_space=vgg16_quick, **BUDGET)
