"""Weight files from untrusted sources: checked as a whole before any array is read.

An HDF5 file can refer to other files, declare sizes larger than its contents, and contain cycles.
A weight file needs none of these, so such a file is refused.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import numpy as np

from tfpipe.base.errors import UserError

EXPANSION = 4  # arrays may declare so many times the file's size: weights hardly compress
SLACK_BYTES = 1 << 20
DAMAGE = (OSError, EOFError, KeyError, ValueError, TypeError, RuntimeError)  # as h5py reports it
INSIDE_KERAS = "model.weights.h5"  # of a .keras file, which is a zip archive

Weights = dict[str, list[np.ndarray]]


def fill(layers: list[keras.layers.Layer], path: str | Path, *, expected: str) -> None:
    """Sets the weights of layers from a file; other weights in it are ignored.

    Layers are matched by name. Where the file has other names (autoencoders of seed 003 are called
    conv2d_1, ...), its first layers are taken in order.

    Args:
      layers: built layers with weights, in the order of their model.
      path: a .keras, .weights.h5 or .h5 file, of Keras 1 to 3.
      expected: what the file should hold, as "the weights of a VGG16", for the error's sentence.

    Raises:
      UserError: if the file is missing, damaged, unsafe, or holds something else.
    """
    path = Path(path)
    weights = read(path)
    names = [layer.name for layer in layers]
    if not set(names) <= set(weights):
        names = list(weights)[: len(layers)]
    pairs = [(layer, weights[name]) for layer, name in zip(layers, names, strict=False)]
    for layer, arrays in pairs:
        shapes = [array.shape for array in arrays]
        needed = [tuple(weight.shape) for weight in layer.weights]
        if needed != shapes:
            raise _wrong(path, expected, f"for {layer.name} it has {shapes} instead of {needed}")
    if len(pairs) < len(layers):
        raise _wrong(path, expected, f"it has {len(pairs)} layers instead of {len(layers)}")
    for layer, arrays in pairs:
        layer.set_weights(arrays)


def read(path: Path) -> Weights:
    """Returns the weights of each layer that has some, by name, in the order of the file.

    Raises:
      UserError: if the file is missing, damaged or unsafe.
    """
    if path.suffix not in (".h5", ".keras") or not path.is_file():
        raise UserError(
            f"No .keras, .h5 or .weights.h5 file of weights at {str(path)!r}. Give the path of one."
        )
    try:
        with opened(path) as file:
            check(file, size=path.stat().st_size, path=path)
            return dict(_by_keras_3(file["layers"]) if "layers" in file else _by_keras_1(file))
    except (*DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{str(path)!r} cannot be read as a file of weights: it is damaged, cut off, or "
            "something else. Copy it again from where it came."
        ) from error


def opened(path: Path) -> h5py.File:
    """Returns the HDF5 file of a file of weights, .h5 or .keras; see `DAMAGE` for its errors."""
    return h5py.File(_inside_keras(path) if path.suffix == ".keras" else path)


def check(file: h5py.File, *, size: int, path: Path) -> None:
    """Raises a UserError if a file needs more than its arrays to be read."""
    declared, visited, todo = 0, set(), [file]
    while todo:
        group = todo.pop()
        place = h5py.h5o.get_info(group.id).addr
        if place in visited:
            raise _unsafe(path, f"the group {group.name} is in it twice")
        visited.add(place)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _unsafe(path, f"{name} is a link to another place")
            inner = group[name]
            if isinstance(inner, h5py.Group):
                todo.append(inner)
            elif isinstance(inner, h5py.Dataset):
                if inner.is_virtual or inner.external:
                    raise _unsafe(path, f"{name} refers to another file")
                declared += inner.size * inner.dtype.itemsize
    if declared > EXPANSION * size + SLACK_BYTES:
        raise _unsafe(path, f"its arrays declare {declared} bytes, the file has {size}")


def _inside_keras(path: Path) -> io.BytesIO:
    """Returns the HDF5 file within a .keras file, and reads nothing else of it."""
    with zipfile.ZipFile(path) as archive:
        inside = archive.getinfo(INSIDE_KERAS)
        if inside.file_size > EXPANSION * path.stat().st_size + SLACK_BYTES:
            raise _unsafe(path, f"{INSIDE_KERAS} in it declares {inside.file_size} bytes")
        return io.BytesIO(archive.read(inside))


def _by_keras_3(group: h5py.Group) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yields layers as Keras 3 writes them: conv2d, conv2d_1, ... with the name within."""
    for kind in sorted(group, key=_natural_order):
        arrays = group[kind].get("vars", {})
        if len(arrays):
            name = str(arrays.attrs.get("name", kind))
            yield name, [_array(arrays[i]) for i in sorted(arrays, key=_natural_order)]


def _by_keras_1(file: h5py.File) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yields layers as Keras 1 and 2 wrote them, and .h5 files still have them."""
    group = file.get("model_weights", file)
    for name in _texts(group, "layer_names"):
        arrays = [_array(group[name][array]) for array in _texts(group[name], "weight_names")]
        if arrays:
            yield name, arrays


def _texts(group: h5py.Group, attribute: str) -> list[str]:
    """Returns an attribute's texts; of long ones Keras makes attribute0, attribute1, ..."""
    parts = [name for name in group.attrs if re.fullmatch(rf"{attribute}\d*", name)]
    if not parts:
        raise KeyError(attribute)
    texts = [text for name in sorted(parts, key=_natural_order) for text in group.attrs[name]]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]


def _array(dataset: h5py.Dataset) -> np.ndarray:
    if dataset.dtype.kind != "f":
        raise TypeError(f"{dataset.name} holds {dataset.dtype}, expected floats")
    return dataset[()]


def _natural_order(name: str) -> tuple:
    """Returns a sorting key that puts conv2d_2 before conv2d_10."""
    return tuple((int(n or 0), text) for n, text in re.findall(r"(\d*)(\D*)", name))


def _unsafe(path: Path, reason: str) -> UserError:
    return UserError(
        f"{str(path)!r} is refused as a file of weights: {reason}. Give a file from a source that "
        "you trust."
    )


def _wrong(path: Path, expected: str, reason: str) -> UserError:
    return UserError(
        f"{str(path)!r} does not hold {expected}: {reason}. Give a file of the same architecture."
    )
