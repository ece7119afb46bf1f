"""How trials learn: functions of `hp`, shared by tasks and models.

"sgd" is momentum 0.9 with Nesterov's correction; "adam" and "nadam" are beta1 0.9, beta2 0.999.
"""


def sgd_or_nadam(hp) -> dict:
    """The two optimizers of seed 002, and its range of learning rates."""
    return {
        "optimizer": hp.Choice("optimizer", ["sgd", "nadam"]),
        "learning_rate": learning_rate(hp),
    }


def one_cycle(hp) -> dict:
    """Seed 004's for residual networks, which are the defaults here; it searched by hand.

    80 epochs of Adam up to 7e-4 and down again, weight decay 1e-4, gradients clipped at 0.1.
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
    """For comparisons, which end after a fixed number of epochs and have no score to choose by."""
    return {
        "schedule": "cosine",
        "learning_rate": hp.Float(
            "learning_rate", min_value=1e-4, max_value=1e-2, sampling="log", default=1e-3
        ),
    }


def by_stages(hp) -> dict:
    """For a body with given weights: stages that are opened once the head has learnt."""
    return {
        "optimizer": "nadam",
        "learning_rate": learning_rate(hp),
        "unfreeze": hp.Int("unfreeze", min_value=0, max_value=2, default=1),
    }


def adam(hp) -> dict:
    """Seeds 000, 001 and 003 trained their autoencoders by Adam, 001 at 1e-3."""
    return {
        "optimizer": "adam",
        "learning_rate": hp.Float(
            "learning_rate", min_value=1e-4, max_value=1e-2, sampling="log", default=1e-3
        ),
    }


def exponential(hp) -> dict:
    """Adam with a rate that decays, as seed 001 searched its CNN; its winner is the default."""
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
    """Seed 002's range."""
    return hp.Float("learning_rate", min_value=1e-4, max_value=1e-2, sampling="log")


def dropout(hp) -> float:
    return hp.Float("dropout", min_value=0.0, max_value=0.5)
