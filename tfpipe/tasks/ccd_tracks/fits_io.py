"""Reads exposures: FITS of any kind that astropy knows, or a bare NumPy array."""

import gzip
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from tfpipe.base import files, images
from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks.options import Options, section_of

FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fits.fz")
SUFFIXES = (*FITS, ".npy")
_WRONG = (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error, AstropyWarning)
_ASTROPY = threading.Lock()  # what is done with warnings holds for all threads


def read(path: Path, options: Options) -> np.ndarray:
    """Returns the pixels of an exposure's section.

    BSCALE and BZERO are applied, tiles and whole files decompressed. Pixels that are no finite
    numbers become NaN, which no threshold is below.

    Args:
      path: the file.
      options: the user's; `hdu` and `section` count here.

    Returns:
      [height, width] float32 in ADU.

    Raises:
      UserError: it is damaged, has no picture there, one of three dimensions, or none in the
        section.
    """
    name = files.shown(path.name)
    pixels = _of_array(path) if path.suffix.lower() == ".npy" else _of_fits(path, options)
    cut = pixels[section_of(options)]
    if not cut.size:
        raise UserError(
            f"{name} has {pixels.shape[0]} x {pixels.shape[1]} px, and none of them in section "
            f"{options.section}. Correct --option section=rows,columns."
        )
    cut = np.array(cut, np.float32, order="C")
    if pixels.dtype.kind == "f":
        is_known = np.isfinite(cut)
        if not is_known.any():
            raise UserError(f"{name} has no pixel that is a finite number. Export it again.")
        cut[~is_known] = np.nan
    return cut


def is_exposure(path: Path) -> bool:
    """Returns whether a file is called as exposures are."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def _of_array(path: Path) -> np.ndarray:
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(
            f"{files.shown(path.name)} is no NumPy array that can be read ({error}). Save it "
            "again by numpy.save."
        ) from error
    _check(pixels.shape, kind=pixels.dtype.kind, where=files.shown(path.name))
    return pixels


def _of_fits(path: Path, options: Options) -> np.ndarray:
    name = files.shown(path.name)
    with _ASTROPY, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        # Else a file that was cut short comes as zeros, or not at all.
        warnings.filterwarnings("error", message=".*truncated.*")
        try:
            with fits.open(path, memmap=False) as hdus:
                number = _picture_in(hdus, options.hdu, name=name)
                where = f"{name} HDU {number}"
                _check(tuple(hdus[number].shape), kind="", where=where)
                pixels = hdus[number].data
        except (*_WRONG, gzip.BadGzipFile) as error:
            raise UserError(
                f"{name} is no FITS file that can be read ({error}). It may be cut short; copy it "
                "again."
            ) from error
    _check(pixels.shape, kind=pixels.dtype.kind, where=where)
    return pixels


def _picture_in(hdus: fits.HDUList, wanted: int, *, name: str) -> int:
    """Returns the number of the HDU that is meant."""
    pictured = [i for i, hdu in enumerate(hdus) if hdu.is_image and len(hdu.shape) > 0]
    if wanted >= 0 and wanted in pictured:
        return wanted
    flat = [i for i in pictured if len(hdus[i].shape) == 2]
    if wanted < 0 and pictured:
        return (flat or pictured)[0]
    there = ", ".join(f"{i} ({hdu.name or 'no name'})" for i, hdu in enumerate(hdus))
    asked = "any HDU" if wanted < 0 else f"HDU {wanted}"
    kept = f"pictures are in {', '.join(map(str, pictured))}" if pictured else "there is none"
    raise UserError(
        f"{name} has no picture in {asked}: its HDUs are {there}; {kept}. Give --option hdu=NUMBER "
        "of one, or another file."
    )


def _check(shape: tuple[int, ...], *, kind: str, where: str) -> None:
    """Raises a UserError unless an array is a picture of one plane; `kind` "" is not known yet."""
    if len(shape) != 2 or not np.prod(shape):
        raise UserError(
            f"{where} is an array of {' x '.join(map(str, shape)) or 'no'} pixels, expected height "
            "x width. Write each exposure to a file of its own, or give --option hdu=NUMBER."
        )
    if np.prod(shape, dtype=float) > images.MAX_PIXELS:
        raise UserError(
            f"{where} has {shape[0]} x {shape[1]} px, more than {images.MAX_PIXELS:,}. Cut it."
        )
    if kind and kind not in "uif":
        raise UserError(
            f"{where} has no real numbers as pixels. Save it as whole numbers or floats."
        )
