"""Near-duplicates across splits: the same image re-encoded, brightened, turned or mirrored."""

from collections import Counter
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft

SIDE = 32  # images are compared at this size
LOW_FREQUENCIES = 16  # by the signs of their lowest 16 x 16 cosine coefficients
NEAR_BITS = 40  # of 255 that may differ; unrelated images differ in 128 +- 8
FLAT = 1.0  # standard deviation in grey levels, at that size, under which an image is blank
LIKE = 0.8  # least correlation of the other coefficients, those of fine detail
EXTENT = 1.05  # times that one may be as long as the other, in its square
WHOLE = 65535
BLOCK = 4096

_ROWS, _COLUMNS = np.divmod(np.arange(SIDE * SIDE), SIDE)
_LOW = (_ROWS < LOW_FREQUENCIES) & (_COLUMNS < LOW_FREQUENCIES)
_COARSE, _FINE = np.flatnonzero(_LOW)[1:], np.flatnonzero(~_LOW)  # without the constant one
# Where each coefficient is in a transposed image.
_TRANSPOSED = _COLUMNS * SIDE + _ROWS
_COARSE_TRANSPOSED = np.searchsorted(_COARSE, _TRANSPOSED[_COARSE])
_FINE_TRANSPOSED = np.searchsorted(_FINE, _TRANSPOSED[_FINE])


class Prints(NamedTuple):
    """Fingerprints of n images, which near-copies share.

    Attributes:
      bits: signs of the low cosine coefficients, the constant one left out, [n, 255] bool: a
        perceptual hash (pHash: Zauner 2010, section 3.2).
      fine: the higher coefficients, over their root mean square, [n, 768] int8 in 32nds.
      extents: height and width without an even border, shares of the whole in 65535ths, [n, 2]
        uint16.
    """

    bits: np.ndarray
    fine: np.ndarray
    extents: np.ndarray

    def packed(self) -> np.ndarray:
        """Returns a row of bytes for each image, [n, 804] uint8."""
        extents = np.ascontiguousarray(self.extents.astype("<u2")).view(np.uint8)
        return np.hstack([np.packbits(self.bits, axis=1), self.fine.view(np.uint8), extents])

    def select(self, rows: np.ndarray) -> "Prints":
        """Returns the fingerprints of some images, by row numbers or [n] bool."""
        return Prints(self.bits[rows], self.fine[rows], self.extents[rows])

    def transposed(self) -> "Prints":
        """Returns the fingerprints of the images with rows and columns exchanged."""
        return Prints(
            self.bits[:, _COARSE_TRANSPOSED],
            self.fine[:, _FINE_TRANSPOSED],
            self.extents[:, ::-1],
        )


PACKED = (len(_COARSE) + 7) // 8 + len(_FINE) + 4  # bytes an image


def unpack(rows: np.ndarray) -> Prints:
    """Returns the fingerprints of the rows [n, 804] uint8 that `Prints.packed` gave."""
    coarse = (len(_COARSE) + 7) // 8
    bits = np.unpackbits(rows[:, :coarse], axis=1)[:, : len(_COARSE)].astype(bool)
    fine = np.ascontiguousarray(rows[:, coarse:-4]).view(np.int8)
    return Prints(bits, fine, np.ascontiguousarray(rows[:, -4:]).view("<u2"))


def fingerprints(images: np.ndarray) -> tuple[Prints, np.ndarray]:
    """Returns the fingerprints of images, and which of them are not blank, [n] bool.

    Args:
      images: [n, height, width, channels], any real dtype.
    """
    small = np.zeros((len(images), SIDE, SIDE), np.float32)
    extents = np.zeros((len(images), 2), np.uint16)
    for i, image in enumerate(images):
        values = crop_border(image)
        scaled = cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        small[i] = scaled if scaled.ndim == 2 else scaled.mean(axis=-1)
        extents[i] = np.divide(values.shape[:2], image.shape[:2]) * WHOLE
    waves = fft.dctn(small, axes=(1, 2), norm="ortho").reshape(len(images), -1)
    fine = waves[:, _FINE]
    size = np.sqrt((fine**2).mean(axis=1, keepdims=True))
    fine = np.clip(np.rint(32 * fine / np.maximum(size, 1e-12)), -127, 127).astype(np.int8)
    prints = Prints(waves[:, _COARSE] > 0, fine, extents)
    return prints, small.std(axis=(1, 2)) >= FLAT


def crop_border(image: np.ndarray) -> np.ndarray:
    """Returns an image without the even border that a reader may have put around it.

    Small particles in the middle of wide even squares would all be alike at 32 x 32.
    """
    differs = (image != image[:1, :1]).reshape(*image.shape[:2], -1).any(axis=-1)
    rows, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def crossings(prints: dict[str, Prints], groups: dict[str, np.ndarray]) -> list[str]:
    """Finds pairs of groups in different splits that share near-copies.

    Args:
      prints: split -> fingerprints of n images.
      groups: split -> [n] str, the group of each.

    Returns:
      A sentence for each pair of groups, most near-copies first.
    """
    splits = list(prints)
    pairs: Counter[tuple[str, str, str, str]] = Counter()
    for i, one in enumerate(splits):
        for other in splits[i + 1 :]:
            for a, b in find_pairs(prints[one], prints[other]):
                pairs[(groups[one][a], one, groups[other][b], other)] += 1
    return [
        f"{a} ({one}) and {b} ({other}): {count} near-copies"
        for (a, one, b, other), count in pairs.most_common()
    ]


def find_pairs(one: Prints, other: Prints) -> list[tuple[int, int]]:
    """Returns the pairs (row of one, row of other) of near-copies, turned or mirrored or not.

    The eight ways to lay a square on itself are four changes of sign, each of the image as it is
    and with rows and columns exchanged.

    Of a hundred thousand particles of seven kinds many look alike at a glance, to the hash as to
    us. Copies are alike in fine detail as well, and as large.
    """
    pairs: set[tuple[int, int]] = set()
    right = np.where(other.bits, 1, -1).astype(np.float32)
    for upright in (one, one.transposed()):
        for odd in (np.zeros_like(_ROWS), _ROWS, _COLUMNS, _ROWS + _COLUMNS):
            # Turning an image over changes the signs of the coefficients odd along that side.
            signs = np.where(odd % 2, -1, 1).astype(np.float32)
            coarse = signs[_COARSE]
            left = np.where(upright.bits, coarse, -coarse)
            for start in range(0, len(left), BLOCK):
                agreement = left[start : start + BLOCK] @ right.T
                a, b = np.nonzero(agreement >= left.shape[1] - 2 * NEAR_BITS)
                a = a + start
                is_copy = _confirmed(upright.select(a), other.select(b), signs[_FINE])
                pairs.update(zip(a[is_copy].tolist(), b[is_copy].tolist(), strict=True))
    return sorted(pairs)


def same_rows(tables: dict[str, np.ndarray], lines: dict[str, np.ndarray]) -> list[str]:
    """Names rows of feature tables that are the same in every number, empty cells included.

    Args:
      tables: split -> [rows, features] float, nan where a cell is empty.
      lines: split -> [rows] int, the line of each in its file.

    Returns:
      A sentence for each split with rows that are there twice, and for each two that share some.
    """
    sentences, splits = [], list(tables)
    reference = {split: [row.tobytes() for row in tables[split] + 0.0] for split in splits}
    for i, one in enumerate(splits):
        places: dict[bytes, int] = {}
        for row, line in zip(reference[one], lines[one], strict=True):
            places.setdefault(row, line)
        again = [
            f"{line} = {places[row]}"
            for row, line in zip(reference[one], lines[one], strict=True)
            if places[row] != line
        ]
        if again:
            sentences.append(
                f"{len(again)} {one} rows stand in {one} before: lines {_first(again)}."
            )
        for other in splits[i + 1 :]:
            pairs = zip(reference[other], lines[other], strict=True)
            shared = [f"{line} = {places[row]}" for row, line in pairs if row in places]
            whole = ~np.isnan(tables[other]).any(axis=1)
            full = sum(row in places for row in np.array(reference[other], object)[whole])
            if shared:
                sentences.append(
                    f"{len(shared)} of {len(reference[other])} {other} rows stand in {one} too, "
                    f"{full} of them without an empty cell: lines {_first(shared)}."
                )
    return sentences


def _first(pairs: list[str]) -> str:
    more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
    return ", ".join(pairs[:5]) + more


def _confirmed(one: Prints, other: Prints, signs: np.ndarray) -> np.ndarray:
    """Returns which pairs [n] bool are as large, and alike in fine detail under these signs."""
    left, right = one.fine * signs, other.fine.astype(np.float32)
    sizes = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    alike = (left * right).sum(axis=1) >= LIKE * np.maximum(sizes, 1e-12)
    lengths = one.extents / np.maximum(other.extents, 1)
    return alike & (np.maximum(lengths, 1 / np.maximum(lengths, 1e-6)) <= EXTENT).all(axis=1)
