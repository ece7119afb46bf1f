"""Near-duplicates across splits: the same image encoded again, moved, turned or mirrored."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from tfpipe.base.resources import cores
from tfpipe.data import copy_candidates, registration
from tfpipe.data.copy_candidates import Candidates
from tfpipe.data.copy_features import N_WAYS, turned
from tfpipe.data.copy_index import MOVED_EXTENT
from tfpipe.data.copy_prints import SIDE, JoinedPrints, PrintRows, Prints, PrintSource

RULES = 1  # raise when other images would count as copies
NEAR_BITS = 40  # of its 255 that may differ; unrelated images differ in 128 +- 8
FLAT = 1.0  # standard deviation in grey levels, at that size, under which an image is blank
BORDER = 0.1  # of the greatest difference from the border's colour: less is border
# Copies.
DETAIL = 0.95  # least correlation of their detail
FINE = 0.75  # of the finest detail
# What is left is at most this share of what is left to the image turned on itself, and rounding.
DISTINCT, EQUAL = 0.25, 3e-4
EXTENT = 1.05  # times that one may be as long as the other, in its square, if it is not moved
GAIN, OFFSET = 1.1, 0.1  # of the light, if moved
STILL = 0.25  # px of `SIDE` that are no move
WHOLE = 65535
PAIRS = 512  # of candidates that a thread takes at once, 40 KB each
WAITING = 16  # such blocks that may wait for a thread
EXHAUSTIVE = 5_000**2  # pairs that are all compared; of more, those that an index gives

Progress = Callable[[int, int], None]  # receives steps done, and in all


def _silent(done: int, total: int) -> None:
    """Shows nothing."""


def fingerprints(images: np.ndarray) -> tuple[Prints, np.ndarray]:
    """Returns the fingerprints of images, and which of them are not blank, [n] bool.

    Args:
      images: [n, height, width, channels], any real dtype.
    """
    small = np.zeros((len(images), SIDE, SIDE), np.float32)
    extents = np.zeros((len(images), 2), np.uint16)
    for i, image in enumerate(images):
        grey = _grey(image)
        values = _crop_border_nearly(grey)
        small[i] = _limited(values)
        extents[i] = np.divide(values.shape, grey.shape) * WHOLE
    light = np.stack([small.mean(axis=(1, 2)), small.std(axis=(1, 2))], axis=1)
    small -= light[:, :1, None]
    small /= np.maximum(light[:, 1:, None], 1e-12)
    return Prints(small.astype(np.float16), light, extents), light[:, 1] >= FLAT


def _grey(image: np.ndarray) -> np.ndarray:
    """Returns the mean of the channels, [height, width] float32."""
    values = image.astype(np.float32)
    if image.dtype.kind != "u" or image.shape[-1] != 3:
        return values.mean(axis=-1)
    # The same, as sums of whole numbers are exact; `mean` over three takes ten times as long.
    return cv2.transform(values, np.ones((1, 3), np.float32)) / np.float32(3)


def _crop_border_nearly(grey: np.ndarray) -> np.ndarray:
    """Returns an image without its nearly even border, which JPEG makes of an even one."""
    border = np.sort(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    half = len(border) // 2
    median = border[half - 1 : half + 1].mean()  # of an even number; `np.median` takes 50 us more
    difference = np.abs(grey - median)
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
    differs = (image != image[:1, :1]).reshape(len(image), -1)
    rows = np.flatnonzero(differs.any(axis=1))
    # Of three channels, `any` over the last axis of all pixels takes ten times as long.
    in_column = differs.any(axis=0).reshape(image.shape[1], -1)
    columns = np.flatnonzero(in_column.any(axis=1))
    if not len(rows):
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


class Crossing(NamedTuple):
    """Two groups of different splits that share near-copies.

    Attributes:
      group: the one.
      split: of the one.
      other: the other.
      other_split: of the other.
      n_copies: pairs of near-copies.
    """

    group: str
    split: str
    other: str
    other_split: str
    n_copies: int

    def __str__(self) -> str:
        return (
            f"{self.group} ({self.split}) and {self.other} ({self.other_split}): "
            f"{self.n_copies} near-copies"
        )


def crossings(
    prints: Mapping[str, PrintSource],
    groups: Mapping[str, Sequence[str] | np.ndarray],
    compared: dict[str, np.ndarray] | None = None,
    *,
    scratch: Path | None = None,
    progress: Progress = _silent,
) -> list[Crossing]:
    """Finds pairs of groups in different splits that share near-copies.

    Args:
      prints: split -> fingerprints of n images.
      groups: split -> [n] str, the group of each.
      compared: split -> [n] bool, images that were compared with each other before in the same
        splits, and are no copies; None for none.
      scratch: as of `find_pairs`.
      progress: as of `find_pairs`.

    Returns:
      The pairs of groups, most near-copies first.
    """
    splits = list(prints)
    joined = JoinedPrints([prints[split] for split in splits])
    starts = dict(zip(splits, joined.firsts, strict=False))
    is_new = {
        split: np.ones(prints[split].n_images, bool) if compared is None else ~compared[split]
        for split in splits
    }
    pairs: list[tuple[int, int]] = []
    if _number_of_pairs(prints, is_new) > EXHAUSTIVE:
        sizes = [prints[split].n_images for split in splits]
        parts = np.repeat(np.arange(len(splits), dtype=np.int8), sizes)
        is_query = np.concatenate([is_new[split] for split in splits])
        if is_query.all():  # a pair has one image outside the largest split
            is_query = parts != np.argmax(sizes)
        pairs = _indexed_pairs(
            joined, parts=parts, is_query=is_query, scratch=scratch, progress=progress
        )
    else:
        for one, other in combinations(splits, 2):
            every = [np.arange(prints[split].n_images) for split in (one, other)]
            new = [np.flatnonzero(is_new[split]) for split in (one, other)]
            # New ones with all, then old ones with new ones.
            for left, right in ((new[0], every[1]), (np.flatnonzero(~is_new[one]), new[1])):
                left_prints, right_prints = (
                    PrintRows(joined, rows + starts[split])
                    for split, rows in ((one, left), (other, right))
                )
                pairs += [
                    (left[a] + starts[one], right[b] + starts[other])
                    for a, b in find_pairs(left_prints, right_prints)
                ]
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for pair in sorted(pairs):
        ends = [int(np.searchsorted(joined.firsts, row, side="right")) - 1 for row in pair]
        (a, one), (b, other) = (
            (groups[splits[i]][row - joined.firsts[i]], splits[i])
            for i, row in zip(ends, pair, strict=True)
        )
        counts[(a, one, b, other)] += 1
    return [Crossing(*pair, count) for pair, count in counts.most_common()]


def _number_of_pairs(prints: Mapping[str, PrintSource], is_new: dict[str, np.ndarray]) -> int:
    """Returns how many pairs of images in different splits have not been compared before."""
    total = 0
    for one, other in combinations(prints, 2):
        n_old = [int((~is_new[split]).sum()) for split in (one, other)]
        total += prints[one].n_images * prints[other].n_images - n_old[0] * n_old[1]
    return total


def find_pairs(
    one: PrintSource,
    other: PrintSource,
    *,
    scratch: Path | None = None,
    progress: Progress = _silent,
) -> list[tuple[int, int]]:
    """Returns the pairs (row of one, row of other) of near-copies, moved, turned or mirrored.

    Of the same prints twice it returns each pair once, the lower row first. More than `EXHAUSTIVE`
    pairs are not all compared: an index gives each image the likeliest ones.

    Of a hundred thousand particles of seven kinds many look alike at a glance. Copies are alike in
    fine detail as well, as large, and in the same light if they are moved. An image that is nearly
    its own mirror image, as a disc is, is nearly that of every other disc, too: its copies have to
    be more alike than it is to itself.

    Args:
      one: some images.
      other: the same, or others.
      scratch: folder for the index while it is needed; None for the system's temporary one.
      progress: receives how many images are indexed and compared, where an index is needed.
    """
    if one.n_images * other.n_images <= EXHAUSTIVE:
        candidates = copy_candidates.compare_all(one, other)
        return sorted(set(_confirmed_pairs(one, other, candidates)))
    if one is other:
        every = np.ones(one.n_images, bool)
        parts = np.full(len(every), -1, np.int8)
        return _indexed_pairs(one, parts=parts, is_query=every, scratch=scratch, progress=progress)
    parts = np.repeat(np.arange(2, dtype=np.int8), [one.n_images, other.n_images])
    is_query = parts == (one.n_images > other.n_images)
    pairs = _indexed_pairs(
        JoinedPrints([one, other]),
        parts=parts,
        is_query=is_query,
        scratch=scratch,
        progress=progress,
    )
    return [(a, b - one.n_images) for a, b in pairs]


def new_pairs(
    prints: PrintSource,
    is_new: np.ndarray,
    *,
    scratch: Path | None = None,
    progress: Progress = _silent,
) -> list[tuple[int, int]]:
    """Returns the pairs of near-copies of which one at least is new, the lower row first.

    Args:
      prints: of all images.
      is_new: which of them have not been compared with each other before, [n] bool.
      scratch: as of `find_pairs`.
      progress: as of `find_pairs`.
    """
    if is_new.all():
        return find_pairs(prints, prints, scratch=scratch, progress=progress)
    new, old = np.flatnonzero(is_new), np.flatnonzero(~is_new)
    one, other = PrintRows(prints, new), PrintRows(prints, old)
    pairs = [(new[a], new[b]) for a, b in find_pairs(one, one, scratch=scratch)]
    pairs += [
        (new[a], old[b]) for a, b in find_pairs(one, other, scratch=scratch, progress=progress)
    ]
    return sorted({(int(min(pair)), int(max(pair))) for pair in pairs})


def _indexed_pairs(
    prints: PrintSource,
    *,
    parts: np.ndarray,
    is_query: np.ndarray,
    scratch: Path | None,
    progress: Progress,
) -> list[tuple[int, int]]:
    """Returns the pairs of near-copies among some images, the lower row first."""
    done, total = 0, prints.n_images + int(is_query.sum())

    def count(n_images: int) -> None:
        nonlocal done
        done += n_images
        progress(done, total)

    candidates = copy_candidates.compare_by_index(
        prints, parts=parts, is_query=is_query, scratch=scratch, count=count
    )
    pairs = _confirmed_pairs(prints, prints, candidates)
    return sorted({(min(pair), max(pair)) for pair in pairs})


def _confirmed_pairs(
    one: PrintSource, other: PrintSource, candidates: Candidates
) -> Iterator[tuple[int, int]]:
    """Yields those of the candidates that are copies."""
    # Products of small matrices: on busy cores, threads that wait for each other take 20 times as
    # long as one. Blocks of pairs do not wait, and their candidates are looked for meanwhile.
    with threadpool_limits(1), ThreadPoolExecutor(cores()) as pool:
        waiting: deque[Future[list[tuple[int, int]]]] = deque()
        for a, b, way in candidates:
            for start in range(0, len(a), PAIRS):
                rows = slice(start, start + PAIRS)
                waiting.append(pool.submit(_confirmed, one, other, a[rows], b[rows], way[rows]))
                if len(waiting) > WAITING:
                    yield from waiting.popleft().result()
        for block in waiting:
            yield from block.result()


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


def _registered(
    one: Prints, other: Prints, way: np.ndarray
) -> tuple[registration.Registration, np.ndarray]:
    """Returns how the turned images of pairs fit, and how many times one is as long, [n]."""
    lit = [
        part.small.astype(np.float32) * part.light[:, 1:, None] + part.light[:, :1, None]
        for part in (one, other)
    ]
    for number in range(N_WAYS):
        rows = way == number
        lit[0][rows] = turned(lit[0][rows], number)
    extents = np.where((way & 4).astype(bool)[:, None], one.extents[:, ::-1], one.extents) + 1.0
    scales = (extents / (other.extents + 1.0)).astype(np.float32)
    longer = np.maximum(scales, 1 / scales).max(axis=1)
    return registration.align(*lit, scales=np.clip(scales, 1 / 2, 2)), longer


def _confirmed(
    one: PrintSource, other: PrintSource, a: np.ndarray, b: np.ndarray, way: np.ndarray
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
        for way in range(1, N_WAYS)
    ]
    return 1 - np.max(fits, axis=0)
