"""Images too large to be held: stitched scans, reduced by a whole number as they are read.

TIFF and BigTIFF are read band by band by tifffile, JPEG at an eighth to a half of its size by
libjpeg. Each takes the memory of the reduced image, and of one band.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from PIL import Image

from tfpipe.base import files, images
from tfpipe.base.errors import UserError

if TYPE_CHECKING:
    import tifffile

LARGE_PIXELS = 200_000_000  # from here on images are reduced: 600 MB as RGB
HELD_PIXELS = 300_000_000  # of formats that are not read in parts
MAX_PIXELS = 4_000_000_000  # a core of 100 m at 186 px/cm and 2,000 px across
BAND_BYTES = 256_000_000  # at most, of one strip or one row of tiles
READ_BYTES = 32_000_000  # of compressed strips that are read together
DEFLATE, MAX_DEFLATE = (8, 32946), 1032  # TIFF's codes; times that deflate makes data smaller
PARTLY_READ = ("JPEG", "TIFF")
JPEG_REDUCTIONS = (8, 4, 2)  # that libjpeg decodes directly to


class NotInPartsError(Exception):
    """An image that is read whole or not at all; its text says why, and what to do."""


class ReducedImage(NamedTuple):
    """An image at a whole fraction of its size.

    Attributes:
      pixels: [height, width] or [height, width, 3] RGB, uint8 or uint16, upright.
      reduction: pixels of the file, in each direction, for one of these.
      info: header of the file, with its own size.
    """

    pixels: np.ndarray
    reduction: int
    info: images.ImageInfo


def read(path: Path, *, least_px: int, whole_pixels: int = LARGE_PIXELS) -> ReducedImage:
    """Returns an image, reduced where it is large; each pixel is the mean of those it stands for.

    Args:
      path: the image.
      least_px: its shorter side is not reduced below this.
      whole_pixels: most pixels (height * width) of a TIFF or JPEG that is read whole.

    Raises:
      UserError: as `images.read`, and where a large image is no TIFF or JPEG that can be read in
        parts.
    """
    info = images.probe(path, max_pixels=MAX_PIXELS)
    n_pixels, shorter = info.height * info.width, min(info.height, info.width)
    if n_pixels <= whole_pixels:
        return ReducedImage(images.read(path, max_pixels=whole_pixels), 1, info)
    reduction = shorter // least_px
    if info.format == "JPEG":
        reduction = next((one for one in JPEG_REDUCTIONS if one <= reduction), 1)
    is_held = n_pixels <= HELD_PIXELS
    if info.format in PARTLY_READ and reduction >= 2 and n_pixels <= whole_pixels * reduction**2:
        read_parts = _read_jpeg if info.format == "JPEG" else _read_tiff
        try:
            return ReducedImage(read_parts(path, reduction), reduction, info)
        except NotInPartsError as error:
            if not is_held:
                raise UserError(str(error)) from error
    if is_held:
        return ReducedImage(images.read(path, max_pixels=HELD_PIXELS), 1, info)
    if info.format not in PARTLY_READ:
        raise UserError(
            f"{files.shown(path.name)} is a {info.format} of {n_pixels / 1e6:.0f} megapixels. Only "
            f"TIFF and JPEG are read beyond {HELD_PIXELS / 1e6:g}. Save it as TIFF."
        )
    raise UserError(
        f"{files.shown(path.name)} has {info.width} x {info.height} pixels, too many for "
        f"{shorter} px across: reduced to {least_px} px across it may have "
        f"{whole_pixels / 1e6:g} megapixels. Cut it into parts."
    )


def _read_jpeg(path: Path, reduction: int) -> np.ndarray:
    try:
        with Image.open(path, formats=("JPEG", "MPO")) as image:
            if image.info.get("progressive"):  # libjpeg holds all of it, whatever the size
                raise NotInPartsError(
                    f"{files.shown(path.name)} is a progressive JPEG, which is not read in parts. "
                    "Save it as a baseline JPEG or as TIFF."
                )
            turn = images.UPRIGHT.get(images.orientation(image))
            image.draft(None, (image.width // reduction, image.height // reduction))
            image.load()
            pixels = np.asarray(image.convert("L" if image.mode == "L" else "RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path) from error
    return np.ascontiguousarray(turn(pixels) if turn else pixels)


def _read_tiff(path: Path, reduction: int) -> np.ndarray:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            _check_page(page, path)
            if page.compression in DEFLATE and not _has_whole_strips(page):
                raise _damaged(path)
            pixels, largest = _reduced(_bands(page, path), page, reduction)
            turn = images.UPRIGHT.get(int(page.tags.valueof(274, default=1)))
    except (UserError, NotInPartsError):
        raise
    except Exception as error:  # a damaged file makes tifffile and its decoders raise almost any
        raise _damaged(path) from error
    if pixels.dtype == np.uint16:
        pixels = images.to_uint8(pixels, bits=images.bits_of(largest))
    return np.ascontiguousarray(turn(pixels) if turn else pixels)


def _check_page(page: tifffile.TiffPage, path: Path) -> None:
    """Raises a NotInPartsError if a page cannot be read in parts."""
    import tifffile

    name = files.shown(path.name)
    kinds = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK)
    if page.photometric not in kinds or page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
        raise NotInPartsError(
            f"{name} has colours of another kind than RGB or grey, pixel by pixel, which is not "
            "read in parts. Save it as RGB."
        )
    rows = page.tilelength if page.is_tiled else page.rowsperstrip
    is_plain = page.compression == tifffile.COMPRESSION.NONE
    n_bytes = min(rows, page.imagelength) * page.imagewidth * page.samplesperpixel
    n_bytes *= _dtype(page).itemsize
    if n_bytes > BAND_BYTES and not (is_plain and page.is_contiguous):
        raise NotInPartsError(
            f"{name} has strips or tiles of {rows} rows, {n_bytes / 1e6:.0f} MB, expected at most "
            f"{BAND_BYTES / 1e6:.0f}. Save it with strips of fewer rows."
        )
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        kind = tifffile.COMPRESSION(page.compression).name
        raise NotInPartsError(
            f"{name} is compressed by {kind}, which is read in parts only where imagecodecs is "
            "installed: `pip install imagecodecs`. Install it, or save the image uncompressed."
        )


def _has_whole_strips(page: tifffile.TiffPage) -> bool:
    """Returns whether no deflated strip or tile holds more than its rows.

    tifffile inflates one without a limit. Only those are looked at that could exceed a band.
    """
    rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    columns = page.tilewidth if page.is_tiled else page.imagewidth
    declared = rows * columns * page.samplesperpixel * _dtype(page).itemsize
    file = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if count * MAX_DEFLATE > BAND_BYTES:
            file.seek(offset)
            if len(zlib.decompressobj().decompress(file.read(count), declared + 1)) > declared:
                return False
    return True


def _bands(page: tifffile.TiffPage, path: Path) -> Iterator[np.ndarray]:
    """Yields the image from top to bottom, [rows, width, samples] at a time."""
    import tifffile

    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    if page.is_contiguous and page.compression == tifffile.COMPRESSION.NONE:
        offset = page.dataoffsets[0]
        dtype = _dtype(page).newbyteorder(page.parent.byteorder)
        rows = max(1, BAND_BYTES // (4 * width * samples * dtype.itemsize))
        with path.open("rb") as file:
            file.seek(offset)
            for top in range(0, height, rows):
                count = min(rows, height - top)
                stored = np.fromfile(file, dtype, count * width * samples)
                yield stored.reshape(count, width, samples).astype(_dtype(page), copy=False)
        return
    band, first = None, 0
    # With more workers tifffile decodes ahead, on many cores the whole image.
    for pixels, place, shape in page.segments(maxworkers=1, buffersize=READ_BYTES):
        _, _, top, left, _ = place
        rows, columns = min(shape[1], height - top), min(shape[2], width - left)
        if band is not None and top != first:
            yield band
            band = None
        if band is None:
            first = top
            band = np.zeros((rows, width, samples), _dtype(page))
        if pixels is not None:  # a strip that is not stored is black
            band[:rows, left : left + columns] = pixels[0, :rows, :columns]
    if band is not None:
        yield band


def _reduced(
    bands: Iterator[np.ndarray], page: tifffile.TiffPage, reduction: int
) -> tuple[np.ndarray, int]:
    """Returns the reduced image, and the largest value of the whole one."""
    channels = 3 if page.samplesperpixel >= 3 else 1
    rows, columns = -(-page.imagelength // reduction), -(-page.imagewidth // reduction)
    pixels = np.zeros((rows, columns, channels), _dtype(page))
    rest = np.zeros((0, page.imagewidth, channels), _dtype(page))
    done, largest = 0, 0
    for band in bands:
        band = band[..., :channels]
        largest = max(largest, int(band.max()))
        band = np.concatenate([rest, band]) if len(rest) else band
        whole = len(band) // reduction * reduction
        if whole:
            pixels[done : done + whole // reduction] = _means(band[:whole], reduction)
            done += whole // reduction
        rest = band[whole:].copy()
    if len(rest):
        pixels[done:] = _means(rest, reduction)
    return (pixels if channels == 3 else pixels[..., 0]), largest


def _means(band: np.ndarray, reduction: int) -> np.ndarray:
    """Returns the means of squares; those at the right and at the bottom edge may be smaller."""
    rows, columns = band.shape[:2]
    whole = columns // reduction * reduction
    height = -(-rows // reduction)
    parts = [
        cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
        for part, width in (
            (np.ascontiguousarray(band[:, :whole]), whole // reduction),
            (np.ascontiguousarray(band[:, whole:]), 1),
        )
        if part.shape[1]
    ]
    return np.concatenate([part.reshape(height, -1, band.shape[2]) for part in parts], axis=1)


def _dtype(page: tifffile.TiffPage) -> np.dtype:
    """Returns the dtype of an image of 8 or 16 bits, which its header has been checked for."""
    return np.dtype(page.dtype)


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{files.shown(path.name)} is cut short or damaged. Copy it again from where it came from."
    )
