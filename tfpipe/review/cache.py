"""Cache of a version's embeddings and logits of the records, beside it; a killed start goes on."""

import io
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfpipe.base import files, resumable
from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset
from tfpipe.explore import embeddings
from tfpipe.explore.embeddings import CHUNK
from tfpipe.explore.novelty import ModelOutputs
from tfpipe.review.background import Progress

FOLDER = ".review"  # of a model, beside its versions
OUTPUTS = ("embedding", "logits")
HELD_OUT = "held_out"

LOG = logging.getLogger(__name__)
Arrays = dict[str, np.ndarray]


class OutputCache:
    """What a version computes from some records, batch by batch.

    The folder's name is a hash of the model and the records, so that several reviews may use it at
    once: whatever they write is the same. Folders of other records are removed.
    """

    def __init__(self, version: Path, *, sha256: str, data: Dataset, count: int):
        """Reads what there is.

        Args:
          version: folder of the version.
          sha256: of its model.
          data: the records.
          count: images in them.
        """
        plan = {"model": sha256, "records": data.manifest.fingerprint}
        name = f"{version.name}-{resumable.hash_of(plan)[:24]}"
        self._folder = version.parent / FOLDER / name
        for other in self._folder.parent.glob(f"{version.name}-*"):
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)
        self._data, self._is_writable = data, True
        sizes = [min(CHUNK, count - begin) for begin in range(0, count, CHUNK)]
        self._parts = [self._read(f"{i:06d}", rows=size) for i, size in enumerate(sizes)]
        whole = next((part for part in self._parts if part is not None), {})
        widths = {name: array.shape[1] for name, array in whole.items()}
        if whole and widths["logits"] != len(data.manifest.classes):
            widths = {}
        for i, part in enumerate(self._parts):
            if part and {name: array.shape[1] for name, array in part.items()} != widths:
                self._parts[i] = None
        self._held_out = self._read(HELD_OUT)
        shapes = ((0, 0), (count, len(data.manifest.classes)))
        if self._held_out and self._held_out[HELD_OUT].shape not in shapes:
            self._held_out = None
        self._count = count

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to compute."""
        return self._held_out is not None and None not in self._parts

    def outputs(self, model: Callable[[], keras.Model], *, progress: Progress) -> ModelOutputs:
        """Returns the version's outputs for all images, and stores each batch as it comes.

        Args:
          model: gives the version's model; not called if all is stored.
          progress: called with (images done, images in all).
        """
        missing = [i for i, part in enumerate(self._parts) if part is None]
        if missing:
            chosen = np.isin(np.arange(self._count) // CHUNK, missing)
            done = self._count - int(chosen.sum())
            batches = embeddings.compute_batches(
                model(),
                self._data,
                chosen=chosen,
                report=lambda _, info: progress(done + info["done"], self._count),
            )
            for i, batch in zip(missing, batches, strict=True):
                if batch.logits is None:
                    raise UserError("A review needs a classifier, which gives logits.")
                arrays = {"embedding": batch.embedding, "logits": batch.logits}
                self._parts[i] = arrays
                self._write(f"{i:06d}", arrays)
        parts = [part for part in self._parts if part is not None]
        embedding, logits = (np.concatenate([part[name] for part in parts]) for name in OUTPUTS)
        return ModelOutputs(embedding, logits)

    def held_out(self, compute: Callable[[], np.ndarray | None]) -> np.ndarray | None:
        """Returns the probabilities of held-out groups; `compute` gives them if none are stored."""
        if self._held_out is None:
            probabilities = compute()
            array = np.zeros((0, 0)) if probabilities is None else probabilities
            self._held_out = {HELD_OUT: array}
            self._write(HELD_OUT, self._held_out)
        stored = self._held_out[HELD_OUT]
        return stored if stored.size else None

    def _read(self, name: str, *, rows: int | None = None) -> Arrays | None:
        """Returns the arrays of a file; None if it is missing or damaged."""
        try:
            contents = io.BytesIO((self._folder / f"{name}.npz").read_bytes())
            with np.load(contents, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
        except files.ARRAY_ERRORS:
            return None
        expected = {HELD_OUT} if rows is None else {*OUTPUTS}
        is_whole = arrays.keys() == expected and all(
            array.ndim == 2 and array.dtype.kind == "f" and rows in (None, len(array))
            for array in arrays.values()
        )
        return arrays if is_whole else None

    def _write(self, name: str, arrays: Arrays) -> None:
        """Stores arrays; where the folder cannot be written, the review goes on without."""
        if not self._is_writable:
            return
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        try:
            files.replace(self._folder / f"{name}.npz", file.getvalue())
        except UserError as error:
            LOG.warning("%s The next review will compute all images again.", error)
            self._is_writable = False
