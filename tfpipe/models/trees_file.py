"""Files of boosted trees from untrusted sources: read, checked and written anew for XGBoost.

XGBoost follows the numbers in a file without looking: a wrong child, column or type ends the
process, and a circle never ends. So XGBoost gets only what was understood here, in the form that it
writes itself: Universal Binary JSON (https://ubjson.org, draft 12).
"""

import math
import struct
from typing import Any

import numpy as np

MAX_DEPTH = 20  # of objects and arrays within each other
MAX_TREE_DEPTH = 100  # XGBoost goes down a tree by calls within each other
NUMBERS = {  # marker -> how struct and numpy read it, big-endian
    b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8",
}  # fmt: skip
CONSTANTS = {b"T": True, b"F": False, b"Z": None}
OBJECTIVE = "multi:softprob"
ROOT = 2**31 - 1  # parent of the root of a tree
INTEGERS = ("left_children", "parents", "right_children", "split_indices")  # for each node
FLAGS = ("default_left", "split_type")
FLOATS = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
UNUSED = {  # arrays of trees that split categories; always empty here
    "categories": ">i4",
    "categories_nodes": ">i4",
    "categories_segments": ">i8",
    "categories_sizes": ">i8",
}


def checked(data: bytes) -> bytes:
    """Returns a file of trees written anew, once it is seen that all of them lead to leaves.

    Args:
      data: contents of a file that XGBoost has written as UBJSON.

    Raises:
      ValueError: it holds something else; its text says why.
    """
    try:
        reader = _Reader(data)
        document = reader.read()
        if not reader.is_at_end:
            raise ValueError("more bytes after the model")
        return _encoded(_model(document))
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise ValueError(f"no model of XGBoost: {type(error).__name__}, {error}") from error


def _model(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the parts of a model that XGBoost needs, each of the type that it expects."""
    learner = document["learner"]
    booster, parameters = learner["gradient_booster"], learner["learner_model_param"]
    n_classes, n_columns = int(parameters["num_class"]), int(parameters["num_feature"])
    trees, info = booster["model"]["trees"], booster["model"]["tree_info"]
    if booster["name"] != "gbtree" or learner["objective"]["name"] != OBJECTIVE:
        raise ValueError(f"expected gbtree and {OBJECTIVE}")
    if int(booster["model"]["gbtree_model_param"]["num_parallel_tree"]) != 1:
        raise ValueError("expected one tree of a class in each round")
    if not 0 < n_columns <= 1 << 20 or not 0 < n_classes <= 1 << 16:
        raise ValueError(f"{n_columns} columns and {n_classes} classes")
    if not trees or [*info] != [i % n_classes for i in range(len(trees))]:
        raise ValueError("expected a tree of each class by turns")
    if len(trees) % n_classes:
        raise ValueError("the last round has too few trees")
    rounds = range(0, len(trees) + 1, n_classes)
    model = {
        "cats": {"enc": [], "feature_segments": _empty(">i4"), "sorted_idx": _empty(">i4")},
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
        "iteration_indptr": [*rounds],
        "tree_info": [i % n_classes for i in range(len(trees))],
        "trees": [_tree(tree, i, n_columns=n_columns) for i, tree in enumerate(trees)],
    }
    return {
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {"model": model, "name": "gbtree"},
            "learner_model_param": {
                "base_score": _base_score(parameters["base_score"], n_classes),
                "boost_from_average": "1",
                "num_class": str(n_classes),
                "num_feature": str(n_columns),
                "num_target": "1",
            },
            "objective": {
                "name": OBJECTIVE,
                "softmax_multiclass_param": {"num_class": str(n_classes)},
            },
        },
        "version": _version(document["version"]),
    }


def _base_score(text: str, n_classes: int) -> str:
    """Returns the score before the first tree: one for all classes, or one for each."""
    scores = [float(score) for score in text.strip("[]").split(",")]
    if len(scores) not in (1, n_classes) or not all(map(math.isfinite, scores)):
        raise ValueError(f"a base score of {text[:40]!r}")
    return text


def _version(numbers: Any) -> list[int]:
    version = [int(number) for number in numbers]
    if len(version) != 3 or not all(0 <= number < 1000 for number in version):
        raise ValueError(f"a version of {str(numbers)[:40]}")
    return version


def _tree(tree: dict[str, Any], number: int, *, n_columns: int) -> dict[str, Any]:
    count = int(tree["tree_param"]["num_nodes"])
    values = {name: np.asarray(tree[name]) for name in (*INTEGERS, *FLAGS, *FLOATS)}
    kinds = dict.fromkeys((*INTEGERS, *FLAGS), "iu") | dict.fromkeys(FLOATS, "iuf")
    if count < 1 or any(
        values[name].shape != (count,) or values[name].dtype.kind not in kind
        for name, kind in kinds.items()
    ):
        raise ValueError(f"a tree has other arrays than one number for each of {count} nodes")
    if int(tree["tree_param"]["size_leaf_vector"]) > 1 or values["split_type"].any():
        raise ValueError("a tree has other splits than of numbers")
    if int(tree["tree_param"]["num_deleted"]):
        raise ValueError("a tree has nodes that were deleted")
    for name in FLOATS:
        if not np.isfinite(values[name].astype(np.float32)).all():
            raise ValueError(f"a tree has {name} that are no finite numbers")
    columns = values["split_indices"]
    if columns.min() < 0 or columns.max() >= n_columns:
        raise ValueError(f"a tree splits a column beyond the {n_columns} that there are")
    left, right = values["left_children"], values["right_children"]
    _check_shape(left, right)
    parents = np.full(count, ROOT)
    for children in (left, right):
        parents[children[children >= 0]] = np.flatnonzero(children >= 0)
    return {
        **{name: values[name].astype(">i4") for name in INTEGERS if name != "parents"},
        "parents": parents.astype(">i4"),
        **{name: (values[name] != 0).astype(">u1") for name in FLAGS},
        **{name: values[name].astype(">f4") for name in FLOATS},
        **{name: _empty(kind) for name, kind in UNUSED.items()},
        "id": number,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(n_columns),
            "num_nodes": str(count),
            "size_leaf_vector": "1",
        },
    }


def _check_shape(left: np.ndarray, right: np.ndarray) -> None:
    """Refuses children [nodes] int, -1 for none, that are not those of one tree from node 0 on."""
    count, is_leaf = len(left), left == -1
    children = np.concatenate([left[~is_leaf], right[~is_leaf]])
    if not (right[is_leaf] == -1).all() or ((children < 1) | (children >= count)).any():
        raise ValueError(f"a tree has children that are none of its {count} nodes")
    if len(np.unique(children)) < len(children):
        raise ValueError("a node of a tree is the child of two")
    nodes, n_visited = np.zeros(1, int), 0
    for _ in range(MAX_TREE_DEPTH):
        n_visited += len(nodes)
        nodes = nodes[~is_leaf[nodes]]
        if not len(nodes):
            break
        nodes = np.concatenate([left[nodes], right[nodes]]).astype(int)
    if len(nodes):
        raise ValueError(f"a tree is deeper than {MAX_TREE_DEPTH}")
    if n_visited != count:
        raise ValueError("a tree has nodes that its root does not lead to")


def _empty(kind: str) -> np.ndarray:
    return np.zeros(0, kind)


def _encoded(value: Any) -> bytes:
    """Returns a value as XGBoost writes it: texts, integers, objects, lists and typed arrays."""
    match value:
        case str():
            return b"S" + _encoded_text(value)
        case int():
            return b"l" + struct.pack(">i", value)
        case dict():
            items = (_encoded_text(name) + _encoded(item) for name, item in value.items())
            return b"{" + b"".join(items) + b"}"
        case np.ndarray():
            (marker,) = (
                marker for marker, kind in NUMBERS.items() if np.dtype(kind) == value.dtype
            )
            return b"[$" + marker + b"#" + _encoded_length(len(value)) + value.tobytes()
        case _:
            items = (_encoded(item) for item in value)
            return b"[#" + _encoded_length(len(value)) + b"".join(items)


def _encoded_text(text: str) -> bytes:
    return _encoded_length(len(text.encode())) + text.encode()


def _encoded_length(length: int) -> bytes:
    return b"L" + struct.pack(">q", length)


class _Reader:
    """Reads one value after the other."""

    def __init__(self, data: bytes):
        self._data, self._at, self._depth = data, 0, 0

    @property
    def is_at_end(self) -> bool:
        """Whether all bytes were read."""
        return self._at == len(self._data)

    def read(self) -> Any:
        """Returns the next value."""
        return self._value(self._take(1))

    def _value(self, marker: bytes) -> Any:
        if marker in CONSTANTS:
            return CONSTANTS[marker]
        if marker in NUMBERS:
            return self._numbers(NUMBERS[marker], 1)[0].item()
        if marker == b"S":
            return self._text()
        if marker not in (b"{", b"["):
            raise ValueError(f"an unknown marker, {marker!r}, at byte {self._at}")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        value = self._object() if marker == b"{" else self._array()
        self._depth -= 1
        return value

    def _object(self) -> dict[str, Any]:
        value: dict[str, Any] = {}
        while self._data[self._at : self._at + 1] != b"}":
            name = self._text()
            if name in value:
                raise ValueError(f"the name {name[:40]!r} twice")
            value[name] = self.read()
        self._at += 1
        return value

    def _array(self) -> Any:
        marker = self._take(1)
        kind = self._take(1) if marker == b"$" else None
        if kind is not None:
            marker = self._take(1)
        if marker == b"#":
            count = self._count()
            if kind is not None:
                if kind not in NUMBERS:
                    raise ValueError(f"an array of {kind!r}")
                return self._numbers(NUMBERS[kind], count)
            return [self.read() for _ in range(self._within(count))]
        values = []
        while marker != b"]":
            values.append(self._value(marker))
            marker = self._take(1)
        return values

    def _text(self) -> str:
        return self._take(self._count()).decode("utf-8")

    def _count(self) -> int:
        count = self.read()
        if not isinstance(count, int) or isinstance(count, bool):
            raise ValueError(f"a length that is no number, at byte {self._at}")
        return self._within(count)

    def _within(self, count: int) -> int:
        """Returns a number of things of at least a byte each, if so many bytes are left."""
        if not 0 <= count <= len(self._data) - self._at:
            raise ValueError(f"{count} more bytes than there are, at byte {self._at}")
        return count

    def _numbers(self, kind: str, count: int) -> np.ndarray:
        return np.frombuffer(self._take(count * np.dtype(kind).itemsize), kind)

    def _take(self, count: int) -> bytes:
        start, self._at = self._at, self._at + self._within(count)
        return self._data[start : self._at]
