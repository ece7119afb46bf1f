"""Checks of a version before TensorFlow loads it: its files, and the operations of its graph."""

from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tfpipe.base.errors import UserError
from tfpipe.registry import store
from tfpipe.registry.card import VersionCard
from tfpipe.serving.model.allowed_ops import ALLOWED, SAVER

SERVED_KINDS = ("classifier", "autoencoder")  # the kinds of versions that are SavedModels
LOADED_FILES = (  # that TensorFlow reads
    "saved_model.pb",
    "fingerprint.pb",
    "variables/*",
    "assets/*",
    "assets.extra/*_requests",
)


def check_version(version: Path) -> VersionCard:
    """Returns a version's card, once everything that TensorFlow would read is harmless.

    Raises:
      UserError: a file is missing in the card or differs from it, a file is a link, or an operation
        of the graph may do more than compute.
    """
    card = store.read_card(version)
    name = f"{version.parent.parent.name}/{version.parent.name}/{version.name}"
    if card.kind not in SERVED_KINDS:
        raise UserError(
            f"{name} is a version of kind {card.kind!r}; only networks "
            f"({' and '.join(SERVED_KINDS)}) are served."
        )
    links = [path for path in version.rglob("*") if path.is_symlink()]
    if version.is_symlink() or links:
        link = links[0].relative_to(version) if links else version.name
        raise UserError(f"{name} contains a link, {link}. Copy the file itself.")
    loaded = {
        path.relative_to(version).as_posix()
        for pattern in LOADED_FILES
        for path in version.glob(pattern)
    }
    unknown = sorted(loaded - card.sha256.keys())
    if unknown:
        raise UserError(f"{name} contains {unknown[0]}, which its card lacks. Export it again.")
    store.check(version, card.sha256, card)
    scan((version / "saved_model.pb").read_bytes(), name=name)
    return card


def scan(data: bytes, *, name: str) -> None:
    """Checks that a SavedModel does nothing but compute.

    Every function that a caller can reach may contain operations of `ALLOWED` only. TensorFlow's
    own functions that save and restore the weights are stored beside them and are never called
    here; they may contain those of `SAVER` as well.

    Args:
      data: saved_model.pb.
      name: of the version, for the error message.

    Raises:
      UserError: the file is damaged, reads another file, or has another operation.
    """
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise UserError(f"{name}/saved_model.pb is damaged. Copy the version again.") from error
    for graph in model.meta_graphs:
        if graph.asset_file_def:
            file = graph.asset_file_def[0].filename
            raise UserError(f"{name} reads a file of its own, {file}. It is not loaded.")
        library = {f.signature.name: f.node_def for f in graph.graph_def.library.function}
        reachable = _reachable(graph.object_graph_def.concrete_functions, library)
        for function, nodes in library.items():
            allowed = ALLOWED if function in reachable else ALLOWED | SAVER
            _check_nodes(nodes, allowed | library.keys(), name=name)
        _check_nodes(graph.graph_def.node, ALLOWED | SAVER | library.keys(), name=name)


def _check_nodes(nodes: Iterable[Any], allowed: Set[str], *, name: str) -> None:
    for node in nodes:
        if node.op not in allowed:
            raise UserError(
                f"{name} contains the operation {node.op}, which no model of tfpipe needs and "
                "which may read files or run code. It is not loaded."
            )


def _reachable(roots: Iterable[str], library: dict[str, Iterable[Any]]) -> set[str]:
    """Returns the functions of a library that can be called, directly or not."""
    to_visit, visited = list(roots), set()
    while to_visit:
        function = to_visit.pop()
        if function in library and function not in visited:
            visited.add(function)
            to_visit += _called_functions(library[function])
    return visited


def _called_functions(nodes: Iterable[Any]) -> Iterator[str]:
    for node in nodes:
        yield node.op
        for value in node.attr.values():
            yield value.func.name
            yield from (function.name for function in value.list.func)
