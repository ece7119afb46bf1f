"""Training spaces: functions of `hp` that return fields of a training config, for all models.

"sgd" has Nesterov momentum 0.9; "adam" and "nadam" have beta1 0.9 and beta2 0.999.
"""


def sgd_or_nadam(hp) -> dict:
    """Returns SGD or Nadam, with the range of learning rates of seed document 002 (2022)."""
    return {
        "optimizer": hp.Choice("optimizer", ["sgd", "nadam"]),
        "learning_rate": learning_rate(hp),
    }


def one_cycle(hp) -> dict:
    """Returns Adam with a one-cycle schedule, around the values of Abdallah (2021).

    Seed document 004 chose them by hand for residual networks; they are the defaults here: 80
    epochs, at most 7e-4, weight decay 1e-4, gradients clipped at 0.1.
    """
    return {
        "optimizer": "adam",
        "schedule": "one-cycle",
        "learning_rate": hp.Float(
            "learning_rate", min_value=1e-4, max_value=5e-3, sampling="log", default=7e-4
        ),
        "weight_decay": hp.Choice("weight_decay", [1e-5, 1e-4, 1e-3], default=1e-4),
        "clip": hp.Choice("clip", [0.1, 1.0], default=0.1),
    }


def cosine(hp) -> dict:
    """Returns a cosine schedule, for comparisons, which run for a fixed number of epochs."""
    return {
        "schedule": "cosine",
        "learning_rate": hp.Float(
            "learning_rate", min_value=1e-4, max_value=1e-2, sampling="log", default=1e-3
        ),
    }


def by_stages(hp) -> dict:
    """Returns Nadam for a pretrained body: stages are unfrozen after the head is trained."""
    return {
        "optimizer": "nadam",
        "learning_rate": learning_rate(hp),
        "unfreeze": hp.Int("unfreeze", min_value=0, max_value=2, default=1),
    }


def adam(hp) -> dict:
    """Returns Adam, which seed documents 000, 001 and 003 used for their autoencoders.

    Document 001 used 1e-3, the default here.
    """
    return {
        "optimizer": "adam",
        "learning_rate": hp.Float(
            "learning_rate", min_value=1e-4, max_value=1e-2, sampling="log", default=1e-3
        ),
    }


def exponential(hp) -> dict:
    """Returns Adam with exponential decay, the space of seed document 001 for its CNN.

    Its best values are the defaults.
    """
    return {
        "optimizer": "adam",
        "schedule": "exponential",
        "learning_rate": hp.Float(
            "learning_rate", min_value=1e-7, max_value=1e-1, sampling="log", default=3.676e-4
        ),
        "decay_steps": hp.Int("decay_steps", 100, 10_000, sampling="log", default=3866),
        "decay_rate": hp.Float("decay_rate", min_value=0.8, max_value=1.0, default=0.9122),
    }


def learning_rate(hp) -> float:
    """Returns a learning rate in the range of seed document 002 (2022)."""
    return hp.Float("learning_rate", min_value=1e-4, max_value=1e-2, sampling="log")


def dropout(hp) -> float:
    """Returns a dropout rate between 0 and 0.5."""
    return hp.Float("dropout", min_value=0.0, max_value=0.5)
