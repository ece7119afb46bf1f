"""A search space as users write one: the simple CNN, small enough for the tiny task."""


def space(hp):
    return {
        "filters": hp.Choice("filters", [1, 2, 3, 4]),
        "conv_layers": 1,
        "dropout": 0.0,
        "dense_units": 8,
        "dense_dropout": 0.0,
    }


def training(hp):
    return {
        "optimizer": hp.Choice("optimizer", ["sgd", "nadam"]),
        "learning_rate": hp.Float("learning_rate", 1e-4, 1e-2, sampling="log"),
    }
