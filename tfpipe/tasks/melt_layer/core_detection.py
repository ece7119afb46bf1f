"""Core detection: finds the ice core in a line-scan photo, turns and scales it."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.base import images, large_images
from tfpipe.base.errors import UserError
from tfpipe.tasks.melt_layer.tables import Crop

WIDTH_PX = 200  # seed 002, "Simple CNN": 200x50 images
# A section of 1.65 m at 186 px/cm is 30,700 px long and 1,500 to 4,000 wide: 46 to 123 MP. Photos
# of more, such as ten metres that were stitched, are reduced to at least so many px across.
WHOLE_PIXELS = large_images.LARGE_PIXELS
REDUCED_PX = 3 * WIDTH_PX
SEARCH_PX = 300  # width of the copy in which the core's edges are searched
MAX_TILT_DEG = 3.0
SAME_TILT_DEG = 0.2  # the two sides of a core differ by less
IN_LINE_PX = 1.0  # of the small copy: an edge this near a side's line is on it
# Ice has no colour; the patches of a colour card have, whose HSV saturation is above this.
SATURATED, LEAST_VALUE = 110, 60  # of 255
COLOURED_SHARE = 0.2  # of a row of the core's strip, from which on it shows a colour card
# Share of a core over half its brightness: 0.97 in drawn photos, up to 0.58 in noise.
GROUND_SHARE = 0.4  # of the ice's brightness, that the ground beyond its ends has at most
LEAST_BRIGHT = 0.7


class Box(NamedTuple):
    """Where the core is: edges in px of the photo turned by `tilt_deg` about its centre."""

    top: int
    bottom: int
    left: int
    right: int
    tilt_deg: float = 0.0


class Core(NamedTuple):
    """A core ready to be cut.

    Attributes:
      image: [height, 200, 3] uint8 RGB, depth downwards.
      box: where it was in the photo.
      scale: px of `image` per px of the photo.
    """

    image: np.ndarray
    box: Box
    scale: float


def read(path: Path, *, top_is: str, crop_px: Crop | None, name: str) -> Core:
    """Reads a photo and cuts its core out; of a large photo no more is held than is needed.

    Args:
      path: the photo.
      top_is: side of the photo where the core's top is, see `upright`.
      crop_px: as `cut` takes it, in px of the photo, upright.
      name: of the photo, for errors.

    Returns:
      The core; its box and scale are in px of the photo.

    Raises:
      UserError: if the photo cannot be decoded, or as `cut`.
    """
    photo = large_images.read(path, least_px=REDUCED_PX, whole_pixels=WHOLE_PIXELS)
    pixels, factor = upright(photo.pixels, top_is=top_is), photo.reduction
    if factor == 1:
        return cut(pixels, crop_px=crop_px, name=name)
    height, width = photo.info.height, photo.info.width
    if pixels.shape[:2] != photo.pixels.shape[:2]:
        height, width = width, height
    crop_px = crop_px or (None, None, None, None)
    _box((height, width), crop_px, name=name)  # says what is outside, in px of the photo
    top, bottom, left, right = (None if px is None else round(px / factor) for px in crop_px)
    core = cut(pixels, crop_px=(top, bottom, left, right), name=name)
    edges = [edge * factor for edge in core.box[:4]]
    box = Box(edges[0], min(edges[1], height), edges[2], min(edges[3], width), core.box.tilt_deg)
    return Core(core.image, box, core.scale / factor)


def upright(photo: np.ndarray, *, top_is: str) -> np.ndarray:
    """Turns a photo [height, width, ...] so that the core's top is up.

    A photo over three times as wide as tall cannot stand upright, so its top is taken to be left
    where `top_is` is "up".
    """
    if top_is == "up" and photo.shape[1] > 3 * photo.shape[0]:
        top_is = "left"
    turns = {"up": 0, "right": 1, "down": 2, "left": 3}
    return np.ascontiguousarray(np.rot90(photo, turns[top_is]))


def cut(photo: np.ndarray, *, crop_px: Crop | None, name: str) -> Core:
    """Cuts the core out of an upright photo and scales it to 200 px across.

    Args:
      photo: [height, width] or [height, width, 3], uint8 or uint16.
      crop_px: (top, bottom, left, right), None for a side that is to be found; or None for all.
      name: of the photo, for errors.

    Returns:
      The core.

    Raises:
      UserError: if no core is found, or the crop reaches outside the photo.
    """
    photo = images.to_rgb(images.to_uint8(photo))
    crop_px = crop_px or (None, None, None, None)
    if any(side is None for side in crop_px):
        photo, box = _complete(photo, crop_px, name=name)
    else:
        box = _box(photo.shape[:2], crop_px, name=name)
    inside = photo[box.top : box.bottom, box.left : box.right]
    scale = WIDTH_PX / inside.shape[1]
    height = max(1, round(inside.shape[0] * scale))
    smaller = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(inside, (WIDTH_PX, height), interpolation=smaller)
    return Core(image, box, height / inside.shape[0])


def _complete(photo: np.ndarray, crop_px: Crop, *, name: str) -> tuple[np.ndarray, Box]:
    """Returns a photo, turned upright, and the box of its core, of which some sides are given."""
    top, bottom, left, right = _box(photo.shape[:2], crop_px, name=name)[:4]
    inside = photo[top:bottom, left:right]
    box = find(inside, name=name)
    turned = _turned(inside, tilt_deg=box.tilt_deg)
    if inside.shape != photo.shape:
        photo = photo.copy()
        photo[top:bottom, left:right] = turned
    else:
        photo = turned
    edges = (box.top + top, box.bottom + top, box.left + left, box.right + left)
    top, bottom, left, right = (
        edge if given is None else given for edge, given in zip(edges, crop_px, strict=True)
    )
    return photo, Box(top, bottom, left, right, box.tilt_deg)


def _box(size: tuple[int, int], crop_px: Crop, *, name: str) -> Box:
    """Returns the box of a crop; sides that are not given are the photo's.

    Args:
      size: height and width of the photo.
      crop_px: as `cut` takes it.
      name: of the photo.

    Raises:
      UserError: the crop reaches outside the photo, or nothing is inside.
    """
    height, width = size
    top, bottom, left, right = (
        edge if side is None else side
        for side, edge in zip(crop_px, (0, height, 0, width), strict=True)
    )
    box = Box(top, bottom, left, right)
    is_inside = 0 <= box.top < box.bottom <= height and 0 <= box.left < box.right <= width
    if not is_inside:
        raise UserError(
            f"{name}: the crop (top {box.top}, bottom {box.bottom}, left {box.left}, right "
            f"{box.right} px) reaches outside the photo of {height} x {width} px. Correct the crop "
            "columns of the table of photos."
        )
    return box


def find(photo: np.ndarray, *, name: str) -> Box:
    """Finds the core's edges: the widest bright strip, with rulers and tray rails left out.

    Args:
      photo: [height, width, 3] uint8 RGB, upright.
      name: of the photo, for errors.

    Returns:
      Its edges and tilt.

    Raises:
      UserError: if there is no bright strip longer than it is wide.
    """
    grey = images.to_grey(photo)
    factor = max(1.0, grey.shape[1] / SEARCH_PX)
    size = [max(1, round(n / factor)) for n in (grey.shape[1], grey.shape[0])]
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    small = _without_colour_card(small, cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
    first = _edges(small)
    if first is None:
        raise UserError(
            f"{name}: no core was found (expected a bright strip, longer than wide, on a darker "
            "ground). Add its edges to the table of photos, in columns crop_top_px, "
            "crop_bottom_px, crop_left_px and crop_right_px: their places in the photo, from its "
            "upper left corner."
        )
    tilt_deg = _tilt(small, box=first)
    box = _edges(_turned(small, tilt_deg=tilt_deg)) or first
    top, bottom, left, right = (round(edge * factor) for edge in box[:4])
    height, width = grey.shape
    return Box(max(top, 0), min(bottom, height), max(left, 0), min(right, width), tilt_deg)


def _without_colour_card(small: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Returns a small photo in which the rows of a colour card at the core's end are black.

    The card is the rows with saturated patches, and the rows around them as far as the next dark
    gap, in which its white and grey patches lie. The longest part without a card is left.

    Args:
      small: [height, width] uint8, grey.
      colours: [height, width, 3] uint8 RGB, the same.
    """
    hsv = cv2.cvtColor(colours, cv2.COLOR_RGB2HSV)
    is_coloured = (hsv[..., 1] > SATURATED) & (hsv[..., 2] > LEAST_VALUE)
    blurred = cv2.GaussianBlur(small, (0, 0), 1.5)
    level, _ = cv2.threshold(blurred, 0, 255, cv2.THRESH_OTSU)
    left, right = _longest_run((blurred > level).mean(axis=0) > 0.5)
    if right - left < 8:
        return small
    with_card = is_coloured[:, left:right].mean(axis=1) > COLOURED_SHARE
    if not with_card.any():
        return small
    top, bottom = _longest_run(~with_card)
    gaps = top + np.flatnonzero((blurred[top:bottom, left:right] > level).mean(axis=1) < 0.5)
    reach = right - left  # a card is not longer than the core is wide, beyond its last patch
    if top > 0 and len(above := gaps[gaps < top + reach]):
        top = int(above[-1]) + 1
    if bottom < len(small) and len(below := gaps[gaps >= bottom - reach]):
        bottom = int(below[0])
    cut = np.zeros_like(small)
    cut[top:bottom] = small[top:bottom]
    return cut


def _edges(small: np.ndarray) -> Box | None:
    """Returns the box around the widest bright strip of a small grey photo, or None.

    Otsu's level parts ice from ground. Where the core fills nearly all of the photo it parts bright
    ice from dim ice. Then half of the median brightness is the level, and beyond the core's ends
    there must be dark ground.
    """
    blurred = cv2.GaussianBlur(small, (0, 0), 1.5)
    otsu, _ = cv2.threshold(blurred, 0, 255, cv2.THRESH_OTSU)
    if box := _edges_at(otsu, blurred):
        return box
    median = float(np.median(blurred))
    box = _edges_at(median / 2, blurred)
    if box is None:
        return None
    ground = np.concatenate([blurred[: box.top], blurred[box.bottom :]])
    return box if len(ground) and ground.mean() < GROUND_SHARE * median else None


def _edges_at(level: float, blurred: np.ndarray) -> Box | None:
    """Returns the box around the widest strip of a blurred photo that is brighter than a level."""
    bright = blurred > level
    left, right = _longest_run(bright.mean(axis=0) > 0.5)
    if right - left < 8 or bright.all():
        return None
    middle = slice(left + (right - left) // 5, right - (right - left) // 5)
    inside = np.median(blurred[:, middle][bright[:, middle]])
    outside = np.median(blurred[~bright])
    half = (inside + outside) / 2
    columns = np.median(blurred, axis=0) > half
    columns[:left] &= _reaches(columns[:left][::-1])[::-1]
    columns[right:] &= _reaches(columns[right:])
    left, right = _longest_run(columns)
    rows = np.flatnonzero((blurred[:, middle] > half).mean(axis=1) > 0.5)
    if right - left < 8 or len(rows) < 2:
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    if bottom - top < right - left:
        return None
    if (blurred[top:bottom, left:right] > half).mean() < LEAST_BRIGHT:
        return None
    return Box(top, bottom, left, right)


def _reaches(run: np.ndarray) -> np.ndarray:
    """Returns the part of a boolean row that hangs together from its start."""
    return np.logical_and.accumulate(run)


def _longest_run(flags: np.ndarray) -> tuple[int, int]:
    """Returns start and end of the longest run of True in [n] bool; (0, 0) if there is none."""
    steps = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    if len(starts) == 0:
        return 0, 0
    longest = np.argmax(ends - starts)
    return int(starts[longest]), int(ends[longest])


def _tilt(small: np.ndarray, *, box: Box) -> float:
    """Returns the tilt of the core's sides in degrees, by a robust line through each.

    Where the sides disagree, one follows something beside the core, such as a ruler: then the side
    with more rows in line counts alone.
    """
    blurred = cv2.GaussianBlur(small, (0, 0), 1.5).astype(np.float32)
    width = box.right - box.left
    margin = max(3, width // 5)
    rows = np.arange(box.top, box.bottom)
    lines: list[tuple[int, float]] = []  # rows in line, tilt
    for side, inward in ((box.left, 1), (box.right - 1, -1)):
        from_column, to_column = max(side - margin, 0), min(side + margin, small.shape[1])
        strip = blurred[box.top : box.bottom, from_column:to_column]
        outward = strip[:, ::-1] if inward == 1 else strip
        if outward.shape[1] < margin + 2:
            continue  # the core reaches the photo's edge
        inside = np.median(outward[:, : margin // 2])
        outside = np.quantile(outward[:, margin:], 0.1)
        # The first fall from the inside: what is brighter beyond it, such as a ruler, is not core.
        is_dark = outward < (inside + outside) / 2
        is_edge = is_dark.any(axis=1) & ~is_dark[:, 0]
        if is_edge.sum() < 20:
            continue
        place = is_dark.argmax(axis=1)
        if inward == 1:
            place = strip.shape[1] - 1 - place
        x, y = rows[is_edge], place[is_edge]
        for _ in range(3):
            line = np.polyfit(x, y, 1)
            residual = np.abs(y - np.polyval(line, x))
            near = residual <= max(2.0, 2 * np.median(residual))
            x, y = x[near], y[near]
        in_line = np.abs(place[is_edge] - np.polyval(line, rows[is_edge])) <= IN_LINE_PX
        lines.append((int(in_line.sum()), float(np.degrees(np.arctan(line[0])))))
    if not lines:
        return 0.0
    tilts = [tilt for _, tilt in lines]
    tilt_deg = float(np.mean(tilts))
    if max(tilts) - min(tilts) > SAME_TILT_DEG:
        tilt_deg = max(lines)[1]
    return tilt_deg if abs(tilt_deg) <= MAX_TILT_DEG else 0.0


def _turned(photo: np.ndarray, *, tilt_deg: float) -> np.ndarray:
    """Turns a photo about its centre so that sides that lean by `tilt_deg` stand upright."""
    if abs(tilt_deg) < 0.02:
        return photo
    height, width = photo.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -tilt_deg, 1.0)
    return cv2.warpAffine(photo, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
