"""Reader of exposures: FITS of any kind that astropy reads, or a NumPy array (.npy, .npz)."""

import gzip
import itertools
import logging
import threading
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfpipe.base import files, images
from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks.options import CcdTracksOptions, section_of

if TYPE_CHECKING:
    from astropy.io import fits

FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fits.fz")
SUFFIXES = (*FITS, ".npy", ".npz")
LOG = logging.getLogger(__name__)
# Names of HDUs that go with an image and are none: errors, flags and weights of each pixel.
_NO_IMAGES = {"ERR", "DQ", "VAR", "MASK", "WEIGHT", "WHT", "UNCERT", "BPM", "IVAR"}
# A damaged header makes astropy read an attribute that an HDU lacks, or an empty list.
_FITS_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    zlib.error,
)
_ASTROPY = threading.Lock()  # warning filters are shared by all threads


def read(path: Path, options: CcdTracksOptions) -> np.ndarray:
    """Returns the pixels of an exposure's section.

    BSCALE and BZERO are applied, tiles and whole files decompressed. Pixels that are no finite
    numbers become NaN, which is above no threshold.

    Axes of length 1, as in 1 x height x width, do not count. Where a file has images in several
    HDUs, the first is read and the others are named in a warning.

    Args:
      path: the file; an .npz has one array.
      options: the user's; only `hdu` and `section` matter here.

    Returns:
      [height, width] float32 in ADU.

    Raises:
      UserError: the file is damaged, or has no two-dimensional image there, or the section is
        empty.
    """
    name = files.shown(path.name)
    readers = {".npy": _read_npy, ".npz": _read_npz}
    reader = readers.get(path.suffix.lower())
    pixels = reader(path) if reader else _read_fits(path, options)
    cut = pixels[section_of(options)]
    if not cut.size:
        raise UserError(
            f"{name} has {pixels.shape[0]} x {pixels.shape[1]} px, and none of them in section "
            f"{options.section}. Correct --option section=rows,columns."
        )
    cut = np.require(cut, np.float32, ["C", "W", "E"])
    if pixels.dtype.kind == "f" and not (is_finite := np.isfinite(cut)).all():
        if not is_finite.any():
            raise UserError(f"{name} has no pixel that is a finite number. Export it again.")
        cut[~is_finite] = np.nan
    return cut


def is_exposure(path: Path) -> bool:
    """Returns whether a file has the name of an exposure."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def _read_npy(path: Path) -> np.ndarray:
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except files.ARRAY_ERRORS as error:
        raise UserError(
            f"{files.shown(path.name)} cannot be read as a NumPy array ({error}). Save it again "
            "by numpy.save."
        ) from error
    return _checked(pixels, where=files.shown(path.name))


def _read_npz(path: Path) -> np.ndarray:
    name = files.shown(path.name)
    try:
        with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as arrays:
            # The size in the archive's directory is checked before anything is decompressed.
            size = max((info.file_size for info in archive.infolist()), default=0)
            if size > images.MAX_PIXELS * np.dtype(np.float64).itemsize:
                raise UserError(
                    f"{name} has an array of {size:,} bytes, expected at most "
                    f"{images.MAX_PIXELS:,} pixels. Cut it."
                )
            if len(arrays.files) != 1:
                raise UserError(
                    f"{name} has the arrays {', '.join(arrays.files) or 'none'}, expected one "
                    "exposure. Save each exposure to a file of its own."
                )
            pixels = arrays[arrays.files[0]]
    except files.ARRAY_ERRORS as error:
        raise UserError(
            f"{name} cannot be read as a NumPy archive ({error}). Save it again by numpy.savez."
        ) from error
    return _checked(pixels, where=name)


def _read_fits(path: Path, options: CcdTracksOptions) -> np.ndarray:
    from astropy.io import fits  # half a second, which other tasks need not wait for
    from astropy.utils.exceptions import AstropyWarning

    name = files.shown(path.name)
    with _ASTROPY, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        # Without this, a truncated file is read as zeros, or not at all.
        warnings.filterwarnings("error", message=".*truncated.*")
        try:
            with fits.open(path, memmap=False) as hdus:
                number = _image_hdu(hdus, options.hdu, name=name)
                where = f"{name} HDU {number}"
                _check(_sides(hdus[number].shape), kind="", where=where)
                pixels = hdus[number].data
        except (*_FITS_ERRORS, AstropyWarning, gzip.BadGzipFile) as error:
            raise UserError(
                f"{name} cannot be read as a FITS file ({error}). It may be cut short. Copy it "
                "again."
            ) from error
    return _checked(pixels, where=where)


def _checked(pixels: np.ndarray, *, where: str) -> np.ndarray:
    """Returns an array [height, width] of real numbers, without axes of length 1 before it."""
    sides = _sides(pixels.shape)
    _check(sides, kind=pixels.dtype.kind, where=where)
    return pixels.reshape(sides)


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns a shape without the axes of length 1 that are too many for an image."""
    sides = list(shape)
    while len(sides) > 2 and 1 in sides:
        sides.remove(1)
    return tuple(sides)


def _image_hdu(hdus: "fits.HDUList", number: int, *, name: str) -> int:
    """Returns the number of the HDU that holds the image; `number` is -1 for the first."""
    # astropy reads a damaged HDU again and again where its size is negative or not known.
    readable = list(itertools.takewhile(_has_place, hdus))
    if not readable:
        raise UserError(f"{name} is damaged: its first header cannot be read. Copy it again.")
    with_image = [i for i, hdu in enumerate(readable) if hdu.is_image and getattr(hdu, "shape", ())]
    if number >= 0 and number in with_image:
        return number
    flat = [i for i in with_image if len(_sides(hdus[i].shape)) == 2]
    images_only = [i for i in flat if hdus[i].name.upper() not in _NO_IMAGES]
    if number < 0 and with_image:
        first, *others = images_only or flat or with_image
        if images_only and others:
            unread = ", ".join(f"{i} ({hdus[i].name or 'no name'})" for i in others)
            LOG.warning(
                "%s has %d images. HDU %d is read, not %s: give --option hdu=NUMBER for another.",
                name,
                len(others) + 1,
                first,
                unread,
            )
        return first
    every = ", ".join(f"{i} ({hdu.name or 'no name'})" for i, hdu in enumerate(readable))
    place = "any HDU" if number < 0 else f"HDU {number}"
    images_in = f"images are in {', '.join(map(str, with_image))}" if with_image else "no image"
    raise UserError(
        f"{name} has no image in {place}: its HDUs are {every}; {images_in}. Give --option "
        "hdu=NUMBER of an image, or another file."
    )


def _has_place(hdu: Any) -> bool:
    """Returns whether an HDU is whole, so that another may follow it."""
    place = (
        hdu.fileinfo() if hasattr(hdu, "fileinfo") else {"datSpan": -1}
    )  # damaged ones have none
    return place is None or place["datSpan"] >= 0


def _check(shape: tuple[int, ...], *, kind: str, where: str) -> None:
    """Raises a UserError unless an array is one image; `kind` "" for a dtype not known yet."""
    if len(shape) != 2 or not np.prod(shape):
        raise UserError(
            f"{where} is an array of {' x '.join(map(str, shape)) or 'no'} pixels, expected height "
            "x width. Write each exposure to a file of its own, or give --option hdu=NUMBER."
        )
    if np.prod(shape, dtype=float) > images.MAX_PIXELS:
        raise UserError(
            f"{where} has {shape[0]} x {shape[1]} px, expected at most {images.MAX_PIXELS:,} "
            "in all. Cut it."
        )
    if kind and kind not in "uif":
        raise UserError(
            f"{where} has no real numbers as pixels, expected integers or floats. Save it as such."
        )
