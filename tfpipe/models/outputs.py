"""All outputs of a classifier: probabilities, and what its further heads predict."""

import keras

from tfpipe.models.interval_head import locates
from tfpipe.models.row_head import labels_rows


def with_all_outputs(model: keras.Model) -> keras.Model:
    """Returns a model with the outputs "probabilities" and, if it has such heads, others.

    These are "interval" [batch, 2] and "rows" [batch, rows, row classes].
    """
    outputs = {"probabilities": model.output}
    if locates(model):
        outputs["interval"] = model.get_layer("interval").output[1]
    if labels_rows(model):
        outputs["rows"] = model.get_layer("rows").output[1]
    return keras.Model(model.input, outputs)
