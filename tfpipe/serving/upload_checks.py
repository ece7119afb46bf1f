"""Checks of an uploaded file before anything decodes it: its size once decoded, and its links.

Few bytes may become many pixels: a compressed image, archive or exposure. And an HDF5 file may have
its data in other files, which here would be the server's.
"""

import bz2
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from math import prod
from typing import Any

import h5py

from tfpipe.base import files, images
from tfpipe.base.errors import UserError
from tfpipe.serving.errors import RequestError

BYTES_A_PIXEL = 8  # of the widest numbers that a pixel is decoded to
READ_AT_ONCE = 1 << 20
_COMPRESSED: dict[bytes, Any] = {  # first bytes -> what decompresses the rest
    b"\x1f\x8b": lambda: zlib.decompressobj(31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
}
_TILES = re.compile(rb"ZNAXIS(\d) *= *(\d{1,9})")  # of a compressed image in a FITS file
_HDF5 = b"\x89HDF\r\n\x1a\n"


def check(name: str, data: bytes, *, max_pixels: int) -> int:
    """Checks a file, and returns how many pixels decoding it as an image passes over.

    Args:
      name: of the file, for messages.
      data: its bytes.
      max_pixels: of an image; of other data as many bytes as these pixels may have.

    Raises:
      RequestError: status 413 if it is too large once decoded, 400 if it refers to another file.
    """
    most = max_pixels * BYTES_A_PIXEL
    if data.startswith(_HDF5):
        _check_hdf5(name, data, most=most)
    elif data.startswith(b"PK"):
        _check_zip(name, data, most=most)
    elif decompressor := next((v for k, v in _COMPRESSED.items() if data.startswith(k)), None):
        n_bytes = 0
        for part in _parts(decompressor(), data):
            n_bytes += len(part)
            _check_size(name, n_bytes, most=most)
    elif data.startswith(b"SIMPLE"):
        sides = {int(axis): int(side) for axis, side in _TILES.findall(data)}
        _check_size(name, BYTES_A_PIXEL * prod(sides.values()), most=most)
    else:
        return _check_image(name, data, max_pixels=max_pixels)
    return 0


def _check_image(name: str, data: bytes, *, max_pixels: int) -> int:
    try:
        opened = images.open_bytes(data, name, max_pixels=max_pixels)
    except UserError as error:
        if "megapixels" in str(error):
            raise RequestError(413, str(error)) from error
        return 0  # whether it is another kind of file, or damaged, is for the task to say
    return images.decoded_pixels(opened)


def _parts(decompressor: Any, data: bytes) -> Iterator[bytes]:
    """Yields what is decompressed, in pieces; a damaged rest is for the task's reader to name."""
    try:
        part = decompressor.decompress(data, READ_AT_ONCE)
        while part:
            yield part
            rest = getattr(decompressor, "unconsumed_tail", b"")
            if decompressor.eof:
                return
            part = decompressor.decompress(rest, READ_AT_ONCE)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return


def _check_zip(name: str, data: bytes, *, most: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            n_bytes = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return
    _check_size(name, n_bytes, most=most)


def _check_hdf5(name: str, data: bytes, *, most: int) -> None:
    """Checks the data sets of an HDF5 file, and that it has no links and no data elsewhere."""

    def is_link(path: str, link: Any) -> bool | None:
        return None if isinstance(link, h5py.HardLink) else True

    def is_elsewhere(path: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            return True
        return None

    def too_large(path: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset) and item.size * item.dtype.itemsize > most:
            return True
        return None

    try:
        with h5py.File(io.BytesIO(data)) as file:
            refers = file.visititems_links(is_link) or file.visititems(is_elsewhere)
            is_large = not refers and file.visititems(too_large)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError):
        return  # it is damaged, as the task's reader will say
    if refers:
        raise RequestError(400, _elsewhere(name))
    _check_size(name, most + 1 if is_large else 0, most=most)


def _elsewhere(name: str) -> str:
    return f"{files.shown(name)} has links to data elsewhere. Send a file that holds all its data."


def _check_size(name: str, n_bytes: int, *, most: int) -> None:
    if n_bytes > most:
        raise RequestError(
            413,
            f"{files.shown(name)} has more than {most / 1e6:.0f} MB once it is decompressed, the "
            "most that this server takes. Cut it into parts or make it smaller.",
        )
