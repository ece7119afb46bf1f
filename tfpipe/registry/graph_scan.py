"""Check of a SavedModel's graph before TensorFlow loads it: it may compute, and nothing else.

TensorFlow loads a file with one graph and its objects (`tf.saved_model.load` of TensorFlow 2) as
Python objects, whose functions run when they are called. Any other file goes to the loader of
TensorFlow 1, which runs parts of the graph; so it is refused.
"""

from collections.abc import Iterable, Iterator, Set
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tfpipe.base.errors import UserError
from tfpipe.registry.allowed_ops import ALLOWED, SAVER, TOP_LEVEL

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
OBJECT_KINDS = {  # kind -> what it may be registered as; resources and assets are not among them
    "user_object": "",
    "function": "",
    "bare_concrete_function": "",
    "variable": "",
    "captured_tensor": "",
    "constant": "tf.TrackableConstant",
}
USER_OBJECTS = (
    "_generic_user_object",
    "signature_map",
    "trackable_dict_wrapper",
    "trackable_list_wrapper",
    "trackable_tuple_wrapper",
)


def scan(data: bytes, *, name: str) -> None:
    """Checks that a SavedModel does nothing but compute.

    Every function may contain operations of `ALLOWED` only, and calls functions of the same file
    only. TensorFlow's own two functions that save and restore the weights are stored beside them.
    They may contain those of `SAVER` as well, but nothing may call them: neither an object, nor a
    function, nor an operation other than the two that the file names as its saver.

    Args:
      data: saved_model.pb.
      name: of the version, for the error message.

    Raises:
      UserError: the file is damaged, has another form than an export of Keras, reads another file,
        or has another operation.
    """
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise UserError(f"{name}/saved_model.pb is damaged. Copy the version again.") from error
    graphs = model.meta_graphs
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        count = "one graph without its objects" if len(graphs) == 1 else f"{len(graphs)} graphs"
        raise _refusal(name, f"has {count}, expected exactly one with its objects")
    graph = graphs[0]
    if graph.asset_file_def:
        raise _refusal(name, f"reads a file of its own, {graph.asset_file_def[0].filename}")
    _check_objects(graph.object_graph_def.nodes, name=name)
    functions = graph.graph_def.library.function
    defined = [function.signature.name for function in functions]
    if len({*defined}) < len(defined):
        raise _refusal(name, "defines a function twice")
    saver_nodes, rest = _saver_nodes_and_rest(graph)
    saver = {node.attr["f"].func.name for node in saver_nodes}
    for function in functions:
        allowed = SAVER if function.signature.name in saver else ALLOWED
        _check_operations(function.node_def, allowed, name=name)
    _check_operations(graph.graph_def.node, TOP_LEVEL, name=name)
    called = {*_named_by_objects(graph), *_called(rest)}
    called.update(_called(node for function in functions for node in function.node_def))
    if called & saver:
        raise _refusal(name, "calls the function that saves or restores its weights")
    if unknown := sorted(called - {*defined}):
        raise _refusal(name, f"calls a function that it does not have, {unknown[0][:60]}")


def _check_objects(nodes: Iterable[Any], *, name: str) -> None:
    """Refuses objects that do more than hold functions, weights and constants."""
    for node in nodes:
        kind = node.WhichOneof("kind") or "nothing"
        if kind not in OBJECT_KINDS or node.registered_name not in ("", OBJECT_KINDS[kind]):
            raise _refusal(name, f"contains an object of kind {node.registered_name or kind}")
        if kind == "user_object" and node.user_object.identifier not in USER_OBJECTS:
            raise _refusal(name, f"contains the object {node.user_object.identifier[:60]!r}")
        if node.saveable_objects or node.registered_saver or node.slot_variables:
            raise _refusal(name, "contains an object that restores itself")


def _check_operations(nodes: Iterable[Any], allowed: Set[str], *, name: str) -> None:
    for node in nodes:
        if node.op not in allowed:
            raise UserError(
                f"{name} contains the operation {node.op}, which no model of tfpipe needs and "
                "which may read files or run code. It is not loaded."
            )


def _saver_nodes_and_rest(graph: Any) -> tuple[list[Any], list[Any]]:
    """Returns the operations at the top level that save and restore the weights, and the others."""
    names = {graph.saver_def.save_tensor_name.split(":")[0], graph.saver_def.restore_op_name}
    saver: list[Any] = []
    rest: list[Any] = []
    for node in graph.graph_def.node:
        (saver if node.name in names and node.op in CALLS else rest).append(node)
    return saver, rest


def _named_by_objects(graph: Any) -> Iterator[str]:
    """Gives the functions that a Python object of the model calls, and those of gradients."""
    objects, library = graph.object_graph_def, graph.graph_def.library
    yield from objects.concrete_functions
    for node in objects.nodes:
        kind = node.WhichOneof("kind")
        if kind == "function":
            yield from node.function.concrete_functions
        elif kind == "bare_concrete_function":
            yield node.bare_concrete_function.concrete_function_name
        elif kind == "captured_tensor":
            yield node.captured_tensor.concrete_function
    for gradient in library.gradient:
        yield from (gradient.function_name, gradient.gradient_func)
    for gradient in library.registered_gradients:
        yield gradient.gradient_func


def _called(nodes: Iterable[Any]) -> Iterator[str]:
    """Gives the functions in the attributes of operations, at any depth."""
    values = [value for node in nodes for value in node.attr.values()]
    while values:
        value = values.pop()
        for function in [value.func, *value.list.func]:
            if function.name:
                yield function.name
            values += function.attr.values()


def _refusal(name: str, reason: str) -> UserError:
    return UserError(f"{name} {reason}. It is not loaded; export the version again.")
