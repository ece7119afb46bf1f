"""Near-duplicates across splits: the same image encoded again, moved, turned or mirrored."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft

from tfpipe.data import registration

RULES = 1  # raise when other images would count as copies
SIDE = 32  # images are compared at this size
LOW_FREQUENCIES = 16  # the hash: signs of the lowest 16 x 16 cosine coefficients
NEAR_BITS = 40  # of its 255 that may differ; unrelated images differ in 128 +- 8
FLAT = 1.0  # standard deviation in grey levels, at that size, under which an image is blank
BORDER = 0.1  # of the greatest difference from the border's colour: less is border
# Candidates, which are registered: the most that amplitudes differ, which no turn or shift changes,
# the least correlation of 8 x 8 cells at the best of eight turns and 25 shifts, and the light.
SPECTRUM, CELLS, TURN = 0.02, 0.6, 0.05
STILL_CELLS, NEAR_GAIN, NEAR_OFFSET = 0.95, 1.2, 0.25
MOST_CANDIDATES = 8  # of one image, the likeliest: so that time grows no faster than the search
# Copies.
DETAIL = 0.95  # least correlation of their detail
FINE = 0.75  # of the finest detail
# What is left is at most this share of what is left to the image turned on itself, and rounding.
DISTINCT, EQUAL = 0.25, 3e-4
EXTENT, MOVED_EXTENT = 1.05, 1.12  # times that one may be as long as the other, in its square
GAIN, OFFSET = 1.1, 0.1  # of the light, if moved
STILL = 0.25  # px of `SIDE` that are no move
WHOLE = 65535
BLUR = 2.0  # px of `SIDE`, taken away from the cells
BLOCK, PAIRS = 512, 2048

_ROWS, _COLUMNS = np.divmod(np.arange(SIDE * SIDE), SIDE)
_COARSE = np.flatnonzero((_ROWS < LOW_FREQUENCIES) & (_COLUMNS < LOW_FREQUENCIES))[1:]
_MOVES = (-4, -2, 0, 2, 4)
_N_WAYS = 8


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
    def bits(self) -> np.ndarray:
        """Signs of the low cosine coefficients, the constant one left out, [n, 255] bool.

        A perceptual hash (pHash: Zauner 2010, section 3.2).
        """
        waves = fft.dctn(self.small.astype(np.float32), axes=(1, 2), norm="ortho")
        return waves.reshape(-1, SIDE * SIDE)[:, _COARSE] > 0

    def packed(self) -> np.ndarray:
        """Returns a row of bytes for each image, [n, `PACKED`] uint8."""
        parts = [self.small.reshape(-1, SIDE * SIDE).astype("<f2"), self.light.astype("<f4")]
        parts.append(self.extents.astype("<u2"))
        return np.hstack([np.ascontiguousarray(part).view(np.uint8) for part in parts])

    def select(self, rows: np.ndarray) -> "Prints":
        """Returns the fingerprints of some images, by row numbers or [n] bool."""
        return Prints(self.small[rows], self.light[rows], self.extents[rows])


PACKED = 2 * SIDE * SIDE + 8 + 4  # bytes an image


def unpack(rows: np.ndarray) -> Prints:
    """Returns the fingerprints of the rows [n, `PACKED`] uint8 that `Prints.packed` gave."""
    small, light, extents = (
        np.ascontiguousarray(part).view(kind)
        for part, kind in zip(np.split(rows, [-12, -4], axis=1), ("<f2", "<f4", "<u2"), strict=True)
    )
    return Prints(small.reshape(-1, SIDE, SIDE), light, extents)


def fingerprints(images: np.ndarray) -> tuple[Prints, np.ndarray]:
    """Returns the fingerprints of images, and which of them are not blank, [n] bool.

    Args:
      images: [n, height, width, channels], any real dtype.
    """
    small = np.zeros((len(images), SIDE, SIDE), np.float32)
    extents = np.zeros((len(images), 2), np.uint16)
    for i, image in enumerate(images):
        grey = image.astype(np.float32).mean(axis=-1)
        values = _crop_border_nearly(grey)
        small[i] = _limited(values)
        extents[i] = np.divide(values.shape, grey.shape) * WHOLE
    light = np.stack([small.mean(axis=(1, 2)), small.std(axis=(1, 2))], axis=1)
    small -= light[:, :1, None]
    small /= np.maximum(light[:, 1:, None], 1e-12)
    return Prints(small.astype(np.float16), light, extents), light[:, 1] >= FLAT


def _crop_border_nearly(grey: np.ndarray) -> np.ndarray:
    """Returns an image without its nearly even border, which JPEG makes of an even one."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    difference = np.abs(grey - np.median(border))
    shows = difference > BORDER * difference.max()
    rows, columns = (np.flatnonzero(shows.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return grey
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _limited(grey: np.ndarray) -> np.ndarray:
    """Returns an image at 32 x 32, blurred first: else its detail would change when it moves."""
    double = 2 * SIDE
    ways = cv2.INTER_AREA if min(grey.shape) >= double else cv2.INTER_LINEAR
    scaled = cv2.resize(grey, (double, double), interpolation=ways)
    blurred = cv2.GaussianBlur(scaled, (0, 0), 0.8, borderType=cv2.BORDER_REFLECT)
    return cv2.resize(blurred, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def crop_border(image: np.ndarray) -> np.ndarray:
    """Returns an image without the even border that a reader may have put around it.

    Small particles in the middle of wide even squares would all be alike at 32 x 32.
    """
    differs = (image != image[:1, :1]).reshape(*image.shape[:2], -1).any(axis=-1)
    rows, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def crossings(
    prints: dict[str, Prints],
    groups: dict[str, np.ndarray],
    compared: dict[str, np.ndarray] | None = None,
) -> list[str]:
    """Finds pairs of groups in different splits that share near-copies.

    Args:
      prints: split -> fingerprints of n images.
      groups: split -> [n] str, the group of each.
      compared: split -> [n] bool, images that were compared with each other before in the same
        splits, and are no copies; None for none.

    Returns:
      A sentence for each pair of groups, most near-copies first.
    """
    splits = list(prints)
    pairs: Counter[tuple[str, str, str, str]] = Counter()
    for i, one in enumerate(splits):
        for other in splits[i + 1 :]:
            every = (np.arange(len(groups[one])), np.arange(len(groups[other])))
            if compared is None:
                blocks = [every]
            else:  # new ones with all, then old ones with new ones
                new = [np.flatnonzero(~compared[name]) for name in (one, other)]
                blocks = [(new[0], every[1]), (np.flatnonzero(compared[one]), new[1])]
            found = [
                (left[a], right[b])
                for left, right in blocks
                for a, b in find_pairs(prints[one].select(left), prints[other].select(right))
            ]
            for a, b in sorted(found):
                pairs[(groups[one][a], one, groups[other][b], other)] += 1
    return [
        f"{a} ({one}) and {b} ({other}): {count} near-copies"
        for (a, one, b, other), count in pairs.most_common()
    ]


def find_pairs(one: Prints, other: Prints) -> list[tuple[int, int]]:
    """Returns the pairs (row of one, row of other) of near-copies, moved, turned or mirrored.

    Of the same prints twice it returns each pair once, the lower row first.

    Of a hundred thousand particles of seven kinds many look alike at a glance. Copies are alike in
    fine detail as well, as large, and in the same light if they are moved. An image that is nearly
    its own mirror image, as a disc is, is nearly that of every other disc, too: its copies have to
    be more alike than it is to itself.
    """
    pairs: set[tuple[int, int]] = set()
    for a, b, way in _candidates(one, other):
        for start in range(0, len(a), PAIRS):
            rows = slice(start, start + PAIRS)
            pairs.update(_confirmed(one, other, a[rows], b[rows], way[rows]))
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


def _candidates(one: Prints, other: Prints) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields rows of one, rows of other, and the ways of turning the first onto the second."""
    if not len(one.small) or not len(other.small):
        return
    left, right = _spectra(one), _spectra(other)
    sizes = (right**2).sum(axis=1)
    lengths, other_lengths = (np.sort(part.extents, axis=1) + 1.0 for part in (one, other))
    cells = _cells(other, (0,)).reshape(len(other.small), -1)
    most = np.log(MOVED_EXTENT)
    left_log, right_log = np.log(lengths).astype(np.float32), np.log(other_lengths).astype("f4")
    for start in range(0, len(left), BLOCK):
        block = left[start : start + BLOCK]
        first = start if one is other else 0
        distance = block @ (-2 * right[first:].T)
        distance += (block**2).sum(axis=1)[:, None]
        distance += sizes[first:]
        is_near = distance <= SPECTRUM
        for side in (0, 1):
            ratio = left_log[start : start + BLOCK, side, None] - right_log[first:, side]
            is_near &= np.abs(ratio) <= most
        found: list[np.ndarray] = []
        block_prints = one.select(np.arange(start, min(start + BLOCK, len(left))))
        rows = np.flatnonzero(is_near.any(axis=1))
        moved = _turned_cells(block_prints.select(rows)) if len(rows) else ()
        for i, turned in zip(rows.tolist(), moved, strict=True):
            b = np.flatnonzero(is_near[i]) + first
            b = b[b > start + i] if one is other else b
            if len(b):
                scores = (turned @ cells[b].T).reshape(_N_WAYS, -1, len(b))
                is_lit = _is_lit(block_prints.light[i], other.light[b])
                still = scores[:, len(_MOVES) ** 2 // 2]
                best = np.where(is_lit | (still >= STILL_CELLS), scores.max(axis=1), -1)
                way, column = np.nonzero(best >= np.maximum(CELLS, best.max(axis=0) - TURN))
                order = np.argsort(-best[way, column], kind="stable")[:MOST_CANDIDATES]
                way, column = way[order], column[order]
                found.append(np.stack([np.full(len(way), start + i), b[column], way]))
        if found:
            a, b, way = np.concatenate(found, axis=1)
            yield a, b, way


def _is_lit(light: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns which of some images [n] may be in the same light as one."""
    gain = np.abs(np.log(np.maximum(others[:, 1], 1e-12) / max(light[1], 1e-12)))
    is_near = np.abs(others[:, 0] - light[0]) <= NEAR_OFFSET * light[1]
    return is_near & (gain <= np.log(NEAR_GAIN))


def _spectra(prints: Prints) -> np.ndarray:
    """Returns low frequencies' amplitudes, which turns and small shifts hardly change, [n, 44]."""
    window = np.hanning(SIDE + 2)[1:-1]
    window = np.outer(window, window).astype(np.float32)
    images = prints.small.astype(np.float32)
    images -= (images * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    power = np.abs(fft.fft2(images * window)) ** 2
    power /= np.maximum(power.sum(axis=(1, 2), keepdims=True), 1e-12)
    power = power + power[:, :, -np.arange(SIDE)]
    power = (power + power.transpose(0, 2, 1)) / 4
    rows, columns = np.triu_indices(9)
    amplitudes = np.sqrt(power[:, rows, columns] * np.where(rows == columns, 1, 2))
    return amplitudes[:, 1:].astype(np.float32)


def _cells(prints: Prints, moves: tuple[int, ...]) -> np.ndarray:
    """Returns the 8 x 8 cells of the middle at some shifts, over their norm, [n, shifts, 8, 8]."""
    images = registration.detail_of(prints.small.astype(np.float32), blur=BLUR)
    low, high = SIDE // 8, SIDE - SIDE // 8
    parts = [images[:, low + y : high + y, low + x : high + x] for y in moves for x in moves]
    cells = np.stack(parts, axis=1).reshape(len(images), len(parts), 8, 3, 8, 3).mean(axis=(3, 5))
    cells -= cells.mean(axis=(2, 3), keepdims=True)
    return cells / np.maximum(np.linalg.norm(cells, axis=(2, 3), keepdims=True), 1e-12)


def _turned_cells(prints: Prints) -> np.ndarray:
    """Returns the cells at all shifts, laid on themselves in eight ways, [n, 8 * shifts, 64]."""
    cells = _cells(prints, _MOVES)
    ways = np.stack([_turned(cells, way) for way in range(_N_WAYS)], axis=1)
    return ways.reshape(len(cells), -1, cells.shape[-1] ** 2)


def _turned(images: np.ndarray, way: int) -> np.ndarray:
    """Returns images [..., side, side] laid on themselves in one of eight ways."""
    images = images.swapaxes(-1, -2) if way & 4 else images
    return images[..., :: -1 if way & 2 else 1, :: -1 if way & 1 else 1]


def _registered(
    one: Prints, other: Prints, way: np.ndarray
) -> tuple[registration.Registration, np.ndarray]:
    """Returns how the turned images of pairs fit, and how many times one is as long, [n]."""
    lit = [
        part.small.astype(np.float32) * part.light[:, 1:, None] + part.light[:, :1, None]
        for part in (one, other)
    ]
    for number in range(_N_WAYS):
        rows = way == number
        lit[0][rows] = _turned(lit[0][rows], number)
    extents = np.where((way & 4).astype(bool)[:, None], one.extents[:, ::-1], one.extents) + 1.0
    scales = (extents / (other.extents + 1.0)).astype(np.float32)
    longer = np.maximum(scales, 1 / scales).max(axis=1)
    return registration.align(*lit, scales=np.clip(scales, 1 / 2, 2)), longer


def _confirmed(
    one: Prints, other: Prints, a: np.ndarray, b: np.ndarray, way: np.ndarray
) -> list[tuple[int, int]]:
    """Returns those of the candidate pairs that are copies."""
    fit, longer = _registered(one.select(a), other.select(b), way)
    is_still = (np.abs(fit.shifts).max(axis=1) <= STILL) & (longer <= EXTENT)
    is_lit = (fit.gain <= GAIN) & (fit.offset <= OFFSET) & (longer <= MOVED_EXTENT)
    is_copy = (fit.detail >= DETAIL) & (fit.fine >= FINE) & (is_still | is_lit)
    a, b, rest = a[is_copy], b[is_copy], 1 - fit.detail[is_copy]
    if len(a):
        rows, inverse = np.unique(a, return_inverse=True)
        is_distinct = rest <= DISTINCT * _asymmetry(one.select(rows))[inverse] + EQUAL
        a, b = a[is_distinct], b[is_distinct]
    return list(zip(a.tolist(), b.tolist(), strict=True))


def _asymmetry(prints: Prints) -> np.ndarray:
    """Returns what images lack, at least, of correlating with their turned selves, [n]."""
    fits = [
        _registered(prints, prints, np.full(len(prints.small), way))[0].detail
        for way in range(1, _N_WAYS)
    ]
    return 1 - np.max(fits, axis=0)
