"""Spaces of networks pretrained on ImageNet, for any task, with a lab note.

    tfpipe tune TASK --model resnet50 [--hp weights=FILE.h5]

Seed document 002 (2022) put three dense layers on a frozen VGG-16 at 224 px. Its test accuracy,
0.527, was that of the majority class. Seed document 004 ("Deep Learning as Fold Geometry
Classification Tool", Abdallah 2021) put one linear layer on the body and trained all layers with a
one-cycle schedule, on 3,913 images of three classes of folds:

    body        pretrained  test   validation
    ResNet-50   yes         0.75   0.70         the best
    ResNet-152  yes         0.662  0.613
    ResNet-101  yes         0.617  0.61
    ResNet-50   no          0.338  0.45
    ResNet-101  no          0.397  0.389
    ResNet-152  no          0.338  0.367

Neither published a space. The spaces here have the image size, the dropout rate, and the number of
stages that are unfrozen from the top. The quick spaces use images of 32 or 64 px, at most a tenth
of the work at 224 px.

While the body is frozen, its outputs for four to eight views of each image are computed once. With
four views in 20 epochs the F1 score of digits fell by 0.014 (docs/performance.md); hence eight.
"""

from dataclasses import replace

from tuning.search import Search
from tuning.training_spaces import by_stages, dropout


def resnet(hp) -> dict:
    """Returns the space of ResNet-50, 101 or 152 with one linear layer."""
    return {"image_size": hp.Choice("image_size", [128, 224], default=224), "dropout": dropout(hp)}


def resnet_quick(hp) -> dict:
    return {"image_size": hp.Choice("image_size", [32, 64]), "dropout": dropout(hp)}


def vgg16(hp) -> dict:
    """Returns the space of VGG-16 with two dense layers and the head."""
    return {"dense_units": hp.Choice("dense_units", [128, 256, 512]), "dropout": dropout(hp)}


def vgg16_quick(hp) -> dict:
    return {
        "dense_units": hp.Choice("dense_units", [32, 64]),
        "dropout": dropout(hp),
        "image_size": 64,
    }


RESNET = Search(
    space=resnet,
    training=by_stages,
    quick_space=resnet_quick,
    max_epochs=20,
    max_trials=20,
    quick_max_trials=4,
    quick_epochs=6,
)
VGG16 = replace(RESNET, space=vgg16, quick_space=vgg16_quick)
