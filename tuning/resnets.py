"""Spaces of residual networks that start at random, whatever the task, and what is known of them.

    tfpipe tune TASK --model resnet18

Seed 000 (FlowCam particles): ResNet-18 with a head of 64 and 40, accuracy 0.95 to 0.96 on a random
split of 147,960 pictures. Seed 002 (melt layers): ResNet-34 0.779. Seed 004 (folds): ResNet-9 by
one-cycle up to 7e-4. None published a space; ours are around these.
"""

from tuning.search import Search
from tuning.training_spaces import dropout, one_cycle


def resnet(hp) -> dict:
    """The published width and half of it: few pictures are learnt by heart by the wider one."""
    return {"filters": hp.Choice("filters", [32, 64]), "dropout": dropout(hp)}


def resnet_quick(hp) -> dict:
    return {"filters": hp.Choice("filters", [8, 16]), "dropout": dropout(hp)}


RESNET = Search(space=resnet, training=one_cycle, quick_space=resnet_quick)
