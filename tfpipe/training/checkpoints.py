"""A training's whole state in a file: weights, optimizer, random numbers, and where it stands.

A file is a NumPy archive: the zip format checks every array's CRC when it is read. The newest two
are kept, so that a damaged one costs the minutes since the one before.
"""

import io
import json
import logging
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from tfpipe.base import files
from tfpipe.base.errors import UserError

LOG = logging.getLogger("tfpipe")
KEPT = 2
DAMAGED = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile)


def save(
    path: Path,
    model: keras.Model,
    *,
    where: dict[str, Any] | None = None,
    arrays: dict[str, np.ndarray] | None = None,
) -> None:
    """Writes the state of a compiled model.

    Args:
      path: the file, replaced at once.
      model: compiled.
      where: what else there is to remember, as JSON has it.
      arrays: likewise, arrays by name.
    """
    told = np.frombuffer(json.dumps(where or {}).encode(), np.uint8)
    state = {f"variable{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_variables(model))}
    kept = {f"own_{name}": array for name, array in (arrays or {}).items()}
    whole = io.BytesIO()
    np.savez(whole, allow_pickle=False, where=told, **state, **kept)
    files.replace(path, whole.getvalue())


class State(NamedTuple):
    """A kept state.

    Attributes:
      path: its file.
      where: what was remembered with it.
      arrays: likewise.
      variables: the model's and its optimizer's.
    """

    path: Path
    where: dict[str, Any]
    arrays: dict[str, np.ndarray]
    variables: list[np.ndarray]


def put(state: State, model: keras.Model) -> None:
    """Puts a kept state into a model built and compiled in the same way.

    Raises:
      UserError: it is another model's; this one is then as it was.
    """
    variables = _variables(model)
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in state.variables]:
        raise UserError(f"{files.shown(state.path)} is the state of another model.")
    for variable, value in zip(variables, state.variables, strict=True):
        variable.assign(value)


def add(folder: Path, model: keras.Model, *, number: int, **state) -> None:
    """Writes state `number` of a training to its folder, and removes all but the newest two."""
    save(folder / f"state-{number:09d}.npz", model, **state)
    for old in _newest(folder)[KEPT:]:
        old.unlink()


def newest(folder: Path) -> State | None:
    """Returns the newest state that can be read; None where there never was one.

    Raises:
      UserError: there are some, and all are damaged: beginning again unasked would lose days.
    """
    found = _newest(folder)
    for path in found:
        try:
            return read(path)
        except DAMAGED as error:
            LOG.warning("%s is damaged (%s); the state before it is taken.", path, error)
    if found:
        raise UserError(
            f"Every kept state in {files.shown(folder)} is damaged, so the training cannot go on. "
            "Remove that folder to train from the beginning."
        )
    return None


def read(path: Path) -> State:
    """Reads a kept state, all of it; raises one of `DAMAGED`."""
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    where = json.loads(arrays.pop("where").tobytes())
    own = {name.removeprefix("own_"): a for name, a in arrays.items() if name.startswith("own_")}
    variables = [arrays[f"variable{i}"] for i in range(len(arrays) - len(own))]
    return State(path, where, own, variables)


def _newest(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.npz"), reverse=True)


def _variables(model: keras.Model) -> list:
    """Returns all that changes in training: weights, random seeds, optimizer, running means."""
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]
