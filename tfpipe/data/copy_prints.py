"""Fingerprints of images, by which copies are found, in memory or in files beside the shards."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from scipy import fft

from tfpipe.base import files
from tfpipe.base.errors import UserError

SIDE = 32  # images are compared at this size
LOW_FREQUENCIES = 16  # the hash: signs of the lowest 16 x 16 cosine coefficients

_ROWS, _COLUMNS = np.divmod(np.arange(SIDE * SIDE), SIDE)
_COARSE = np.flatnonzero((_ROWS < LOW_FREQUENCIES) & (_COLUMNS < LOW_FREQUENCIES))[1:]
_LAYOUT = np.dtype([("small", "<f2", (SIDE, SIDE)), ("light", "<f4", 2), ("extents", "<u2", 2)])
PACKED = _LAYOUT.itemsize  # bytes an image


def read_rows(path: Path, layout: np.dtype, rows: np.ndarray) -> np.ndarray:
    """Returns some rows [n] int of a file of rows, in their order.

    A file that is mapped would stay in memory page by page, and pages around those that are read.

    Raises:
      UserError: the file cannot be read, or ends before a row does.
    """
    size = layout.itemsize
    values = bytearray(len(rows) * size)
    pieces = memoryview(values)
    name = files.shown(path)
    try:
        with path.open("rb", buffering=0) as file:
            firsts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # of rows that follow another
            for first, end in pairwise([*firsts.tolist(), len(rows)]):
                file.seek(int(rows[first]) * size)
                if file.readinto(pieces[first * size : end * size]) != (end - first) * size:
                    raise UserError(f"{name} is cut short. Check its disk, and pack again.")
    except OSError as error:
        raise UserError(
            f"{name} cannot be read: {error.strerror or error}. Check its disk, and pack again."
        ) from error
    return np.frombuffer(values, layout)


class PrintSource(Protocol):
    """Fingerprints of `n_images` images, of which some are taken into memory at a time."""

    @property
    def n_images(self) -> int: ...

    def select(self, rows: np.ndarray) -> "Prints":
        """Returns the fingerprints of some images, by row numbers."""


class Prints(NamedTuple):
    """Fingerprints of n images, which near-copies share.

    Attributes:
      small: the images at 32 x 32, less their mean, over their standard deviation, [n, 32, 32]
        float16.
      light: that mean and standard deviation, [n, 2] float32.
      extents: height and width without an even border, shares of the whole in 65535ths, [n, 2]
        uint16.
    """

    small: np.ndarray
    light: np.ndarray
    extents: np.ndarray

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.small)

    @property
    def bits(self) -> np.ndarray:
        """Signs of the low cosine coefficients, the constant one left out, [n, 255] bool.

        A perceptual hash (pHash: Zauner 2010, section 3.2).
        """
        waves = fft.dctn(self.small.astype(np.float32), axes=(1, 2), norm="ortho")
        return waves.reshape(-1, SIDE * SIDE)[:, _COARSE] > 0

    def packed(self) -> np.ndarray:
        """Returns a row of bytes for each image, [n, `PACKED`] uint8."""
        rows = np.empty(self.n_images, _LAYOUT)
        for name in Prints._fields:
            rows[name] = getattr(self, name)
        return rows.view(np.uint8).reshape(-1, PACKED)

    def select(self, rows: np.ndarray) -> "Prints":
        """Returns the fingerprints of some images, by row numbers or [n] bool."""
        return Prints(self.small[rows], self.light[rows], self.extents[rows])


def unpack(rows: np.ndarray) -> Prints:
    """Returns the fingerprints of the rows [n, `PACKED`] uint8 that `Prints.packed` gave."""
    fields = np.ascontiguousarray(rows).reshape(-1).view(_LAYOUT)
    return Prints(fields["small"], fields["light"], fields["extents"])


class StoredPrints:
    """Fingerprints in files of `Prints.packed`, one after the other, which stay on disk."""

    def __init__(self, paths: Sequence[Path]):
        self._paths = list(paths)
        sizes = [path.stat().st_size // PACKED for path in self._paths]
        self._firsts = np.cumsum([0, *sizes])

    @property
    def n_images(self) -> int:
        """Number of images."""
        return int(self._firsts[-1])

    def select(self, rows: np.ndarray) -> Prints:
        """Returns the fingerprints of some images, by row numbers."""
        rows = np.asarray(rows, np.intp)
        taken = np.empty(len(rows), _LAYOUT)
        numbers = np.searchsorted(self._firsts, rows, side="right") - 1
        for number in np.unique(numbers):
            inside = numbers == number
            own = rows[inside] - self._firsts[number]
            taken[inside] = read_rows(self._paths[number], _LAYOUT, own)
        return Prints(taken["small"], taken["light"], taken["extents"])


class PrintRows:
    """Some rows [n] int of other fingerprints."""

    def __init__(self, source: PrintSource, rows: np.ndarray):
        self._source, self._rows = source, rows

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self._rows)

    def select(self, rows: np.ndarray) -> Prints:
        """Returns the fingerprints of some images, by row numbers."""
        return self._source.select(self._rows[rows])


class JoinedPrints:
    """Fingerprints of several sources, one after the other."""

    def __init__(self, sources: Sequence[PrintSource]):
        self._sources = list(sources)
        self.firsts = np.cumsum([0, *(source.n_images for source in self._sources)])

    @property
    def n_images(self) -> int:
        """Number of images."""
        return int(self.firsts[-1])

    def select(self, rows: np.ndarray) -> Prints:
        """Returns the fingerprints of some images, by row numbers."""
        rows = np.asarray(rows, np.intp)
        numbers = np.searchsorted(self.firsts, rows, side="right") - 1
        taken = unpack(np.empty((len(rows), PACKED), np.uint8))
        for number in np.unique(numbers):
            inside = numbers == number
            part = self._sources[number].select(rows[inside] - self.firsts[number])
            for to, values in zip(taken, part, strict=True):
                to[inside] = values
        return taken
