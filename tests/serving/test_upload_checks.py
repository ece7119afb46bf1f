"""Uploads that are small until they are decoded, or that have their data elsewhere."""

import bz2
import gzip
import io
import lzma
import zipfile

import h5py
import numpy as np
import pytest
from astropy.io import fits
from server_process import png

from tfpipe.serving import upload_checks
from tfpipe.serving.errors import RequestError

MAX_PIXELS = 10_000
SMALL, LARGE = np.ones((50, 50), np.float32), np.zeros((300, 300), np.float32)


def fits_of(pixels: np.ndarray, *, compressed: bool = False) -> bytes:
    file = io.BytesIO()
    hdu = fits.CompImageHDU(pixels.astype(np.int16)) if compressed else fits.PrimaryHDU(pixels)
    fits.HDUList([fits.PrimaryHDU(), hdu] if compressed else [hdu]).writeto(file)
    return file.getvalue()


def npz_of(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, pixels)
    return file.getvalue()


def hdf5_of(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as hdf5:
        hdf5.create_dataset("a/b", data=pixels, compression="gzip")
    return file.getvalue()


KINDS = {
    "png": lambda pixels: png(pixels.astype(np.uint8)),
    "gz": lambda pixels: gzip.compress(pixels.tobytes()),
    "bz2": lambda pixels: bz2.compress(pixels.tobytes()),
    "xz": lambda pixels: lzma.compress(pixels.tobytes()),
    "fz": lambda pixels: fits_of(pixels, compressed=True),
    "npz": npz_of,
    "hdf5": hdf5_of,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_large_once_decoded_is_refused(kind):
    make = KINDS[kind]
    upload_checks.check("a", make(SMALL), max_pixels=MAX_PIXELS)
    large = make(LARGE)
    with pytest.raises(RequestError) as error:
        upload_checks.check("a", large, max_pixels=MAX_PIXELS)
    assert error.value.status == 413 and len(large) < 20_000


def test_a_bomb_is_not_unpacked_to_its_end():
    bomb = gzip.compress(bytes(20_000_000), compresslevel=1)
    with pytest.raises(RequestError, match="more than 0 MB"):
        upload_checks.check("a.fits.gz", bomb, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("link", ["external", "soft", "storage", "virtual"])
def test_an_hdf5_file_with_data_elsewhere_is_refused(tmp_path, link):
    other = tmp_path / "secret.h5"
    other.write_bytes(hdf5_of(SMALL))
    file = io.BytesIO()
    with h5py.File(file, "w") as hdf5:
        if link == "external":
            hdf5["c"] = h5py.ExternalLink(str(other), "a/b")
        elif link == "soft":
            hdf5["c"] = h5py.SoftLink("/a/b")
        elif link == "storage":
            hdf5.create_dataset("c", (4,), "<f4", external=[(str(other), 0, 16)])
        else:
            layout = h5py.VirtualLayout((50, 50), "<f4")
            layout[:] = h5py.VirtualSource(str(other), "a/b", (50, 50))
            hdf5.create_virtual_dataset("c", layout)
    with pytest.raises(RequestError, match="links to data elsewhere") as error:
        upload_checks.check("a.h5", file.getvalue(), max_pixels=MAX_PIXELS)
    assert error.value.status == 400


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_for_the_reader_to_name(kind):
    data = KINDS[kind](SMALL)
    for damaged in (data[: len(data) // 2], data[:20], data[:8] + b"x" * 40):
        upload_checks.check("a", damaged, max_pixels=MAX_PIXELS)
    upload_checks.check("a.xlsx", b"PK\3\4" + b"x" * 99, max_pixels=MAX_PIXELS)
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("a", "b")
    upload_checks.check("a.zip", file.getvalue(), max_pixels=MAX_PIXELS)
