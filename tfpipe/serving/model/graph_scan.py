"""What is checked of a version before TensorFlow loads it: its files, and what they would run."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tfpipe.base.errors import UserError
from tfpipe.registry import store
from tfpipe.serving.model.allowed_ops import ALLOWED, SAVER

KINDS = ("classifier", "autoencoder")  # which are SavedModels
READ = ("saved_model.pb", "fingerprint.pb", "variables/*", "assets/*", "assets.extra/*_requests")


def checked(version: Path) -> dict[str, Any]:
    """Returns a version's card, once all that TensorFlow would read is known to be harmless.

    Raises:
      UserError: a file is not the one that the card vouches for, or is none of the card's; a link;
        an operation that reads, writes, or runs what it should not.
    """
    card = store.read_card(version)
    name = f"{version.parent.parent.name}/{version.parent.name}/{version.name}"
    if card["kind"] not in KINDS:
        raise UserError(f"{name} is of {card['kind']}; only networks are served.")
    links = [path for path in version.rglob("*") if path.is_symlink()]
    if version.is_symlink() or links:
        link = links[0].relative_to(version) if links else version.name
        raise UserError(f"{name} holds a link, {link}. Copy the file itself.")
    read = {path.relative_to(version).as_posix() for glob in READ for path in version.glob(glob)}
    unknown = sorted(read - card["sha256"].keys())
    if unknown:
        raise UserError(
            f"{name} holds {unknown[0]}, which its card does not know. Export it again."
        )
    store.check(version, card["sha256"], card)
    scan((version / "saved_model.pb").read_bytes(), name=name)
    return card


def scan(data: bytes, *, name: str) -> None:
    """Raises a UserError if a SavedModel would do more than compute.

    Every function that a caller can reach may hold operations of `ALLOWED` only. TensorFlow's own
    functions that save and restore the weights, which lie beside them and are never called here,
    may hold those of `SAVER` besides.

    Args:
      data: saved_model.pb.
      name: of the version, for the sentence.
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
        callable_ = _reached(graph.object_graph_def.concrete_functions, library)
        for function, nodes in library.items():
            allowed = ALLOWED if function in callable_ else ALLOWED | SAVER
            _check(nodes, allowed | library.keys(), name=name)
        _check(graph.graph_def.node, ALLOWED | SAVER | library.keys(), name=name)


def _check(nodes: Iterable, allowed: set[str], *, name: str) -> None:
    for node in nodes:
        if node.op not in allowed:
            raise UserError(
                f"{name} holds the operation {node.op}, which no model of tfpipe needs and may "
                "read files or run code. It is not loaded."
            )


def _reached(roots: Iterable[str], library: dict[str, Iterable]) -> set[str]:
    """Returns the functions that can be called, directly or not."""
    todo, found = [*roots], set()
    while todo:
        function = todo.pop()
        if function in library and function not in found:
            found.add(function)
            todo += _called(library[function])
    return found


def _called(nodes: Iterable) -> Iterator[str]:
    for node in nodes:
        yield node.op
        for value in node.attr.values():
            yield value.func.name
            yield from (one.name for one in value.list.func)
