"""Frozen body of a network: the part before all that training changes, and the head behind it."""

from typing import NamedTuple

import keras


class SplitModel(NamedTuple):
    """A network in two parts that share its layers and weights.

    Attributes:
      body: from the network's inputs to {name: array}; training changes nothing in it.
      head: from these arrays to the network's output.
    """

    body: keras.Model
    head: keras.Model


def split(model: keras.Model) -> SplitModel | None:
    """Returns a functional network in two parts, cut as far from its inputs as possible.

    The body has no weights that are trained and nothing random, so that its outputs for an image
    stay the same as long as the weights that are frozen now remain so.

    Returns:
      The parts; None where the body would have no weights, and so nothing worth computing once.
    """
    fixed: dict[int, bool] = {}

    def is_fixed(tensor: keras.KerasTensor) -> bool:
        if id(tensor) not in fixed:
            node = _node(tensor)
            fixed[id(tensor)] = node.is_input or (
                _is_fixed(node.operation) and all(map(is_fixed, node.input_tensors))
            )
        return fixed[id(tensor)]

    cut: dict[str, keras.KerasTensor] = {}
    visited: set[int] = set()
    todo = list(model.outputs)
    while todo:
        tensor = todo.pop()
        if is_fixed(tensor):
            cut[tensor.name] = tensor
        elif id(tensor) not in visited:
            visited.add(id(tensor))
            todo += _node(tensor).input_tensors
    body = keras.Model(model.input, cut)
    if not body.weights:
        return None
    # The class of a network with a further head has the loss of that head.
    return SplitModel(body, type(model)(inputs=cut, outputs=model.output, name=model.name))


def _node(tensor: keras.KerasTensor):
    """Returns the call of a layer or function that a symbolic tensor came from."""
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def _is_fixed(operation: keras.Operation) -> bool:
    """Returns whether training leaves what a layer or function computes as it is."""
    if not isinstance(operation, keras.Layer):
        return True
    return not any(
        layer._seed_generators
        or (layer.trainable and (layer._trainable_variables or layer._non_trainable_variables))
        for layer in operation._flatten_layers()
    )
