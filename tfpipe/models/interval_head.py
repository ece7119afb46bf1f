"""Interval head: a second output of a classifier, where in an image the object begins and ends."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="tfpipe")
class Interval(layers.Layer):
    """Passes an embedding on as it is, and predicts where the object begins and ends.

    The layer is between the embedding and the classes, so that it is part of a model whose output
    is classes only. Its loss does not change them.

    Args:
      weight: of its loss, relative to that of the classes.
    """

    def __init__(self, weight: float, **rest):
        super().__init__(**rest)
        self.weight = weight
        self.ends = layers.Dense(2, activation="sigmoid", dtype="float32", name="ends")
        self.last_interval = None

    def build(self, shape):
        self.ends.build(shape)
        self.built = True

    def call(self, embedding):
        """Returns the embedding [batch, n], and both ends [batch, 2] in shares of the height."""
        self.last_interval = ops.sort(self.ends(embedding), axis=-1)
        return embedding, self.last_interval

    def loss(self, true):
        """Returns the mean absolute error of its latest intervals, over images that have one.

        The absolute error is robust to the few labels that are moved by many rows.

        Args:
          true: [batch, 2] float32, in shares of the height; -1 without an interval.
        """
        has_interval = ops.cast(true[:, 0] >= 0, "float32")
        off = ops.mean(ops.abs(true - self.last_interval), axis=-1)
        return self.weight * ops.sum(off * has_interval) / ops.maximum(ops.sum(has_interval), 1.0)

    def get_config(self) -> dict:
        return super().get_config() | {"weight": self.weight}


@keras.saving.register_keras_serializable(package="tfpipe")
class Locating(keras.Model):
    """A classifier with an `Interval`, with targets {"label", "interval"} or labels only."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of a step, from the layer's latest predictions."""
        interval = self.get_layer("interval")
        label, ends = (y["label"], y["interval"]) if isinstance(y, dict) else (y, None)
        if ends is None:
            ends = -ops.ones_like(interval.last_interval)  # no interval anywhere
        return super().compute_loss(x, label, y_pred, sample_weight, training) + interval.loss(ends)


def locates(model: keras.Model) -> bool:
    """Returns whether a model predicts an interval, by the name of a layer."""
    return any(layer.name == "interval" for layer in model.layers)
