"""Large images: the mean of each square, whatever the file's layout; in little memory."""

import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from tfpipe.base import images, large_images
from tfpipe.base.errors import UserError

HEIGHT, WIDTH = 1003, 307
LARGE = {"least_px": 60, "whole_pixels": 20_000}  # so it is reduced by 5
LAYOUTS = [
    {},
    {"rowsperstrip": 10},
    {"rowsperstrip": 16, "compression": "zlib"},
    {"tile": (64, 48), "compression": "zlib", "predictor": True},
    {"tile": (32, 32)},
    {"bigtiff": True},
    {"byteorder": ">"},
]


def drawn(dtype="uint8", *, channels: int = 3) -> np.ndarray:
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    largest = 255 if dtype == "uint8" else 4095
    return np.random.default_rng(0).integers(0, largest, shape, dtype=dtype, endpoint=True)


def written(path, pixels: np.ndarray, **layout):
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(path, pixels, photometric=kind, **layout)
    return path


def means(pixels: np.ndarray, reduction: int) -> np.ndarray:
    """Returns the mean of each square, by two sums of rows."""
    rows = np.arange(0, pixels.shape[0], reduction)
    columns = np.arange(0, pixels.shape[1], reduction)
    sums = np.add.reduceat(np.add.reduceat(pixels.astype(float), rows), columns, axis=1)
    ones = np.ones(pixels.shape[:2])
    counts = np.add.reduceat(np.add.reduceat(ones, rows), columns, axis=1)
    return sums / counts.reshape(counts.shape + (1,) * (pixels.ndim - 2))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint8", 3), ("uint16", 3)])
def test_each_pixel_is_the_mean_of_a_square(tmp_path, dtype, channels, layout):
    pixels = drawn(dtype, channels=channels)
    read = large_images.read(written(tmp_path / "a.tif", pixels, **layout), **LARGE)
    assert (read.reduction, read.info.height, read.info.width) == (5, HEIGHT, WIDTH)
    assert read.pixels.dtype == np.uint8
    # 16 bits are rounded twice
    np.testing.assert_allclose(read.pixels, means(images.to_uint8(pixels), 5), atol=0.8)


def test_an_image_that_is_not_large_is_read_whole(tmp_path):
    pixels = drawn()
    read = large_images.read(written(tmp_path / "a.tif", pixels), least_px=60)
    np.testing.assert_array_equal(read.pixels, pixels)
    assert read.reduction == 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_orientation_is_applied(tmp_path, orientation):
    pixels = drawn(channels=1)
    tag = (274, "H", 1, orientation, True)
    path = written(tmp_path / "a.tif", pixels, extratags=[tag], rowsperstrip=16)
    read = large_images.read(path, **LARGE)
    small = means(pixels, 5)
    expected = {1: small, 3: small[::-1, ::-1], 6: np.rot90(small, -1), 8: np.rot90(small)}
    np.testing.assert_allclose(read.pixels, expected[orientation], atol=0.8)
    assert (read.info.height > read.info.width) == (orientation in (1, 3))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_decoded_at_a_fraction(tmp_path, mode):
    slope = np.add.outer(np.linspace(0, 200, HEIGHT), np.linspace(0, 50, WIDTH)).astype(np.uint8)
    Image.fromarray(slope).convert(mode).save(tmp_path / "a.jpg", quality=95)
    read = large_images.read(tmp_path / "a.jpg", **LARGE)
    assert read.reduction == 4
    grey = read.pixels if mode == "L" else read.pixels[..., 1]
    np.testing.assert_allclose(grey, means(slope, 4), atol=3)


def test_a_strip_that_inflates_to_more_than_its_rows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(large_images, "BAND_BYTES", 100_000)
    pixels = np.zeros((HEIGHT, WIDTH), "uint8")
    path = written(tmp_path / "a.tif", pixels, rowsperstrip=100, compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        page = tiff.pages.first
        bomb = zlib.compress(bytes(50_000_000))
        for tag in ("StripOffsets", "StripByteCounts"):
            values = list(page.tags[tag].value)
            values[3] = path.stat().st_size if tag == "StripOffsets" else len(bomb)
            page.tags[tag].overwrite(values)
    with path.open("ab") as file:
        file.write(bomb)
    tracemalloc.start()
    with pytest.raises(UserError, match="damaged"):
        large_images.read(path, **LARGE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_progressive_jpeg_is_read_whole_or_refused(tmp_path, monkeypatch):
    Image.fromarray(drawn()).save(tmp_path / "a.jpg", progressive=True)
    assert large_images.read(tmp_path / "a.jpg", **LARGE).reduction == 1
    monkeypatch.setattr(large_images, "HELD_PIXELS", 20_000)
    with pytest.raises(UserError, match="is a progressive JPEG, which is not read in parts"):
        large_images.read(tmp_path / "a.jpg", **LARGE)


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        ({"photometric": "miniswhite"}, "colours of another kind than RGB or grey"),
        ({"rowsperstrip": HEIGHT, "compression": "zlib"}, "has strips or tiles of 1003 rows"),
    ],
)
def test_what_cannot_be_read_in_parts_is_read_whole_or_refused(
    tmp_path, monkeypatch, layout, sentence
):
    monkeypatch.setattr(large_images, "BAND_BYTES", 100_000)
    tifffile.imwrite(tmp_path / "a.tif", drawn(channels=1), **layout)
    assert large_images.read(tmp_path / "a.tif", **LARGE).reduction == 1  # whole, as it can be
    monkeypatch.setattr(large_images, "HELD_PIXELS", 20_000)
    with pytest.raises(UserError, match=sentence):
        large_images.read(tmp_path / "a.tif", **LARGE)


def test_a_compression_that_needs_another_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(large_images, "HELD_PIXELS", 20_000)
    if tifffile.COMPRESSION.LZW in tifffile.TIFF.DECOMPRESSORS:
        pytest.skip("imagecodecs is installed")
    Image.fromarray(drawn()).save(tmp_path / "a.tif", compression="tiff_lzw")
    with pytest.raises(UserError, match="compressed by LZW, .* `pip install imagecodecs`"):
        large_images.read(tmp_path / "a.tif", **LARGE)


def test_another_format_and_too_many_pixels_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(large_images, "HELD_PIXELS", 20_000)
    Image.fromarray(drawn()).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="Only TIFF and JPEG are read beyond"):
        large_images.read(tmp_path / "a.png", **LARGE)
    path = written(tmp_path / "a.tif", drawn())
    with pytest.raises(UserError, match="has 307 x 1003 pixels, too many for 307 px across"):
        large_images.read(path, least_px=200, whole_pixels=20_000)


@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 16, "compression": "zlib"}], ids=str)
def test_a_file_that_is_cut_short_is_refused(tmp_path, layout):
    path = written(tmp_path / "a.tif", drawn(), **layout)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
    with pytest.raises(UserError, match="a.tif .*damaged"):
        large_images.read(path, **LARGE)
