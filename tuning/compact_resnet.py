"""Recipe and space of the compact residual network, for any task, with a lab note.

    tfpipe train ./photos        tfpipe tune ./photos

LAB NOTE
"""

from tuning.search import Search
from tuning.training_spaces import dropout


def compact_resnet(hp) -> dict:
    """Returns up to twice the width and depth of the recipe."""
    return {
        "filters": hp.Choice("filters", [12, 16, 24, 32], default=16),
        "blocks": hp.Choice("blocks", [1, 2], default=1),
        "dropout": hp.Float("dropout", min_value=0.0, max_value=0.5, default=0.2),
    }


def compact_resnet_quick(hp) -> dict:
    return {
        "filters": hp.Choice("filters", [4, 8], default=8),
        "blocks": hp.Choice("blocks", [1, 2], default=1),
        "dropout": dropout(hp),
    }


def recipe(hp) -> dict:
    """Returns Adam with decoupled weight decay and a one-cycle schedule, around the recipe."""
    return {
        "optimizer": "adam",
        "schedule": "one-cycle",
        "batch_size": 64,
        "learning_rate": hp.Float(
            "learning_rate", min_value=5e-4, max_value=1e-2, sampling="log", default=3e-3
        ),
        "weight_decay": hp.Choice("weight_decay", [0.005, 0.05, 0.2], default=0.05),
    }


COMPACT_RESNET = Search(
    space=compact_resnet,
    training=recipe,
    quick_space=compact_resnet_quick,
    has_recipe=True,
    steps=1600,
)
