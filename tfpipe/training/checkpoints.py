"""Training checkpoints: weights, optimizer, random numbers and progress in one file.

A file is a NumPy archive: the zip format checks every array's CRC when it is read. A folder holds
the newest two, so a damaged one costs only the minutes since the one before.
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

LOG = logging.getLogger(__name__)
N_CHECKPOINTS = 2
DAMAGED = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile)


def save(
    path: Path,
    model: keras.Model,
    *,
    progress: dict[str, Any] | None = None,
    arrays: dict[str, np.ndarray] | None = None,
) -> None:
    """Writes a checkpoint of a compiled model.

    Args:
      path: the file, replaced atomically.
      model: compiled.
      progress: further state, as JSON types.
      arrays: further state, arrays by name.
    """
    progress_json = np.frombuffer(json.dumps(progress or {}).encode(), np.uint8)
    variables = {
        f"variable{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_variables(model))
    }
    further = {f"array_{name}": array for name, array in (arrays or {}).items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, progress=progress_json, **variables, **further)
    files.replace(path, buffer.getvalue())


class Checkpoint(NamedTuple):
    """A checkpoint that was read.

    Attributes:
      path: its file.
      progress: further state, as JSON types.
      arrays: further state, arrays by name.
      variables: values of the model's and the optimizer's variables.
    """

    path: Path
    progress: dict[str, Any]
    arrays: dict[str, np.ndarray]
    variables: list[np.ndarray]


def restore(checkpoint: Checkpoint, model: keras.Model) -> None:
    """Restores a checkpoint into a model that was built and compiled in the same way.

    Raises:
      UserError: the checkpoint is of another model. The given model is then unchanged.
    """
    variables = _variables(model)
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in checkpoint.variables]:
        raise UserError(f"{files.shown(checkpoint.path)} is a checkpoint of another model.")
    for variable, value in zip(variables, checkpoint.variables, strict=True):
        variable.assign(value)


def add(folder: Path, model: keras.Model, *, number: int, **state) -> None:
    """Writes checkpoint `number` of a training, and removes all but the newest two."""
    save(folder / f"state-{number:09d}.npz", model, **state)
    for old in _newest(folder)[N_CHECKPOINTS:]:
        old.unlink()


def newest(folder: Path) -> Checkpoint | None:
    """Returns the newest checkpoint that can be read; None where the folder has none.

    Raises:
      UserError: all checkpoints are damaged. Starting again by itself might lose days of training.
    """
    paths = _newest(folder)
    for path in paths:
        try:
            return read(path)
        except DAMAGED as error:
            LOG.warning("%s is damaged (%s). The checkpoint before it is used.", path, error)
    if paths:
        raise UserError(
            f"Every checkpoint in {files.shown(folder)} is damaged, so the training cannot go on. "
            "Remove that folder to train from the beginning."
        )
    return None


def read(path: Path) -> Checkpoint:
    """Reads a checkpoint, all of it; raises one of `DAMAGED`."""
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    progress = json.loads(arrays.pop("progress").tobytes())
    further = {
        name.removeprefix("array_"): array
        for name, array in arrays.items()
        if name.startswith("array_")
    }
    variables = [arrays[f"variable{i}"] for i in range(len(arrays) - len(further))]
    return Checkpoint(path, progress, further, variables)


def _newest(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.npz"), reverse=True)


def _variables(model: keras.Model) -> list:
    """Returns all training state: weights, random seeds, optimizer, running means."""
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]
