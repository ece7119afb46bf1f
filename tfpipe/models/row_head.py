"""Row head: a second output of a classifier, the class of each row of an image."""

import keras
from keras import layers, ops

SILENT = 255  # in "row_labels": a row without a target


@keras.saving.register_keras_serializable(package="tfpipe")
class RowClasses(layers.Layer):
    """Passes features of rows on as they are, and predicts the class of each row.

    The layer is between the features and the embedding, so that it is part of a model whose output
    is classes of whole images only.

    Args:
      count: of classes.
      weight: of its loss, relative to that of the image's class.
      shift_rows: rows by which the targets of an image may lie too high or too low.
      event_weight: weight of a row of another class than the first, relative to one of the first.
    """

    def __init__(self, count: int, weight: float, shift_rows: int, event_weight: float, **rest):
        super().__init__(**rest)
        self.count, self.weight = count, weight
        self.shift_rows, self.event_weight = shift_rows, event_weight
        self.classes = layers.Dense(count, dtype="float32", name="classes")
        self.last_logits = None

    def build(self, shape):
        self.classes.build(shape)
        self.built = True

    def call(self, features):
        """Returns the features [batch, rows, n], and probabilities [batch, rows, count] float32."""
        self.last_logits = self.classes(ops.cast(features, "float32"))
        return features, ops.softmax(self.last_logits)

    def loss(self, true):
        """Returns the cross-entropy of its latest rows, at each image's best shift of its targets.

        Targets come from a table of depths, which fits a photo to within some millimetres. An
        image's targets are moved together; rows that move in are silent, and targets that move out
        cost what they cost unmoved.

        Args:
          true: [batch, rows], class of each row, or `SILENT`.
        """
        return self.weight * ops.mean(
            best_shift_loss(
                self.last_logits,
                true,
                shift_rows=self.shift_rows,
                event_weight=self.event_weight,
            )
        )

    def get_config(self) -> dict:
        return super().get_config() | {
            "count": self.count,
            "weight": self.weight,
            "shift_rows": self.shift_rows,
            "event_weight": self.event_weight,
        }


def best_shift_loss(logits, true, *, shift_rows: int, event_weight: float):
    """Returns the loss [batch] of rows: the lowest mean cross-entropy of all shifts of the targets.

    Args:
      logits: [batch, rows, classes] float32.
      true: [batch, rows], class of each row, or `SILENT`.
      shift_rows: the largest shift tried, up and down.
      event_weight: weight of a row of another class than the first.
    """
    true = ops.cast(true, "int32")
    rows = true.shape[1]
    wide = ops.pad(true, [[0, 0], [shift_rows, shift_rows]], constant_values=SILENT)
    moved = ops.stack([wide[:, at : at + rows] for at in range(2 * shift_rows + 1)], axis=1)
    is_spoken = moved != SILENT
    log_probs = ops.log_softmax(logits)[:, None]
    chosen = ops.one_hot(ops.where(is_spoken, moved, 0), logits.shape[-1], dtype="float32")
    losses = -ops.sum(chosen * log_probs, axis=-1)
    weights = ops.where(moved > 0, event_weight, 1.0) * ops.cast(is_spoken, "float32")
    # What is moved out costs what it costs unmoved: else a layer at the edge would be free.
    costs = weights * losses
    places = ops.arange(rows)[None] - ops.arange(-shift_rows, shift_rows + 1)[:, None]
    is_out = ops.cast((places < 0) | (places >= rows), "float32")
    costs += is_out * costs[:, shift_rows : shift_rows + 1]
    total = ops.sum(ops.cast(true != SILENT, "float32"), axis=1)
    return ops.min(ops.sum(costs, axis=2), axis=1) / ops.maximum(total, 1.0)


@keras.saving.register_keras_serializable(package="tfpipe")
class RowLabelling(keras.Model):
    """A classifier with `RowClasses`, with targets {"label", "row_labels"} or labels only."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of a step, from the layer's latest predictions."""
        head = self.get_layer("rows")
        label, rows = (y["label"], y["row_labels"]) if isinstance(y, dict) else (y, None)
        loss = super().compute_loss(x, label, y_pred, sample_weight, training)
        return loss if rows is None else loss + head.loss(rows)


def labels_rows(model: keras.Model) -> bool:
    """Returns whether a model predicts the class of each row, by the name of a layer."""
    return any(layer.name == "rows" for layer in model.layers)
