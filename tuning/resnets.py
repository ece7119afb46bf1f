"""Spaces of residual networks without pretrained weights, for any task, with a lab note.

    tfpipe tune TASK --model resnet18

Seed document 000 (FlowCam particles) used a ResNet-18 with a head of 64 and 40; its accuracy was
0.95 to 0.96 on a random split of 147,960 images. Seed document 002 (melt layers, 2022) reached
0.779 with a ResNet-34. Seed document 004 (folds, Abdallah 2021) trained a ResNet-9 with a one-cycle
schedule up to 7e-4. None published a space. The spaces here are around these networks.
"""

from tuning.search import Search
from tuning.training_spaces import dropout, one_cycle


def resnet(hp) -> dict:
    """Returns the published width and half of it; the wider network overfits few images."""
    return {"filters": hp.Choice("filters", [32, 64]), "dropout": dropout(hp)}


def resnet_quick(hp) -> dict:
    return {"filters": hp.Choice("filters", [8, 16]), "dropout": dropout(hp)}


RESNET = Search(space=resnet, training=one_cycle, quick_space=resnet_quick)
