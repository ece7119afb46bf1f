"""What a version makes of the records, kept beside it: a start that was killed is gone on with."""

import hashlib
import io
import logging
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset
from tfpipe.explore import embeddings
from tfpipe.explore.embeddings import CHUNK, Progress
from tfpipe.explore.novelty import Seen

FOLDER = ".review"  # of a model, beside its versions
HELD_OUT = "held_out"

LOG = logging.getLogger("tfpipe")


class Kept:
    """What was computed of some records by a version; of other records nothing is left."""

    def __init__(self, version: Path, *, sha256: str, data: Dataset, count: int):
        """Opens what is there.

        Args:
          version: folder of the version.
          sha256: of its model.
          data: the records.
          count: pictures in them.
        """
        of = hashlib.sha256(f"{sha256} {data.manifest.fingerprint}".encode()).hexdigest()
        self._folder = version.parent / FOLDER / f"{version.name}-{of[:24]}"
        for other in self._folder.parent.glob(f"{version.name}-*"):
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)
        self._data, self._is_kept = data, True
        sizes = [min(CHUNK, count - begin) for begin in range(0, count, CHUNK)]
        self._parts = [self._read(f"{i:06d}", rows=size) for i, size in enumerate(sizes)]
        self._held_out = self._read(HELD_OUT)
        self._count = count

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to compute."""
        return self._held_out is not None and None not in self._parts

    def seen(self, model: Callable[[], keras.Model], *, progress: Progress) -> Seen:
        """Returns what the version makes of all pictures, and keeps each batch as it comes.

        Args:
          model: gives the version's; not asked where all is kept.
          progress: told (pictures looked at, pictures in all).
        """
        lacking = [i for i, part in enumerate(self._parts) if part is None]
        if lacking:
            chosen = np.isin(np.arange(self._count) // CHUNK, lacking)
            done = self._count - int(chosen.sum())
            batches = embeddings.batches_seen(
                model(),
                self._data,
                chosen=chosen,
                progress=lambda now, _: progress(done + now, self._count),
            )
            for i, seen in zip(lacking, batches, strict=True):
                self._parts[i] = {"embedding": seen.embedding, "logits": seen.logits}
                self._keep(f"{i:06d}", self._parts[i])
        names = ("embedding", "logits")
        return Seen(*(np.concatenate([part[name] for part in self._parts]) for name in names))

    def held_out(self, make: Callable[[], np.ndarray | None]) -> np.ndarray | None:
        """Returns the probabilities of held-out groups, which `make` gives where none are kept."""
        if self._held_out is None:
            made = make()
            self._held_out = {HELD_OUT: np.zeros((0, 0)) if made is None else made}
            self._keep(HELD_OUT, self._held_out)
        found = self._held_out[HELD_OUT]
        return found if found.size else None

    def _read(self, name: str, *, rows: int | None = None) -> dict[str, np.ndarray] | None:
        """Returns the arrays of a file; None where it is not there or not whole."""
        try:
            whole = io.BytesIO((self._folder / f"{name}.npz").read_bytes())
            with np.load(whole, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None
        wanted = {HELD_OUT} if rows is None else {"embedding", "logits"}
        is_right = arrays.keys() == wanted and all(rows in (None, len(a)) for a in arrays.values())
        return arrays if is_right else None

    def _keep(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Keeps arrays, where the folder can be written; a review goes on without, too."""
        if not self._is_kept:
            return
        file = io.BytesIO()
        np.savez(file, **arrays)
        try:
            files.replace(self._folder / f"{name}.npz", file.getvalue())
        except UserError as error:
            LOG.warning("%s The next review will look at all pictures again.", error)
            self._is_kept = False
