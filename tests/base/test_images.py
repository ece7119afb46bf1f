"""Pictures of every kind come out right, and every damage comes out as a sentence."""

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfpipe.base import files, images
from tfpipe.base.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

GREY16 = (np.arange(40 * 60, dtype=np.uint32).reshape(40, 60) * 27).astype(np.uint16)
RGB16 = np.stack([GREY16, GREY16[::-1], GREY16 // 3], axis=-1)
RGB = (RGB16 >> 8).astype(np.uint8)
GREY = np.ascontiguousarray(RGB[..., 0])


def pillow(image, format, **options):
    """Returns the bytes of a picture, an array or a Pillow image, as Pillow saves it."""
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        stream, format=format, **options
    )
    return stream.getvalue()


def opencv(image, extension, *options):
    """Returns the bytes of a picture as OpenCV saves it."""
    stored = image[..., ::-1] if image.ndim == 3 else image
    return cv2.imencode(extension, stored, options)[1].tobytes()


def png(header, rows):
    """Returns a PNG with the fields of IHDR given, and rows [bytes] already with their filters."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
    return b"\x89PNG\r\n\x1a\n" + ihdr + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(strip, *, height, width, bits, compression, entries=()):
    """Returns a grey TIFF whose directory comes first, as scanners write it, and its one strip."""
    fields = [(256, width), (257, height), (258, bits), (259, compression), (262, 1)]
    fields += [(273, 0), (277, 1), (278, height), (279, len(strip)), *entries]
    start = 8 + 2 + 12 * len(fields) + 4
    directory = b"".join(
        struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in fields
    )
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + directory + bytes(4) + strip


RGBA = Image.fromarray(np.dstack([RGB, GREY[::-1]]))
LA = Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(GREY[::-1])))
PALETTE = Image.fromarray(RGB).quantize(256)
CMYK = Image.fromarray(RGB).convert("CMYK")
DEFLATED16 = zlib.compress(GREY16.astype("<u2").tobytes())
EXACT = {
    "png grey": (opencv(GREY, ".png"), GREY),
    "png rgb": (opencv(RGB, ".png"), RGB),
    "png palette": (pillow(PALETTE, "PNG"), np.array(PALETTE.convert("RGB"))),
    "png alpha": (pillow(RGBA, "PNG"), RGB),
    "png grey alpha": (pillow(LA, "PNG"), GREY),
    "png interlaced 1 bit": (pillow(Image.fromarray(GREY > 99), "PNG"), 255 * (GREY > 99)),
    "png 16 grey": (opencv(GREY16, ".png"), GREY16),
    "png 16 rgb": (opencv(RGB16, ".png"), RGB16),
    "tiff grey": (opencv(GREY, ".tif"), GREY),
    "tiff raw": (pillow(RGB, "TIFF"), RGB),
    "tiff lzw": (pillow(RGB, "TIFF", compression="tiff_lzw"), RGB),
    "tiff deflate": (pillow(RGB, "TIFF", compression="tiff_adobe_deflate"), RGB),
    "tiff fax": (
        pillow(Image.fromarray(GREY > 99), "TIFF", compression="group4"),
        255 * (GREY > 99),
    ),
    "tiff palette": (pillow(PALETTE, "TIFF"), np.array(PALETTE.convert("RGB"))),
    "tiff alpha": (pillow(RGBA, "TIFF"), RGB),
    "tiff cmyk": (pillow(CMYK, "TIFF"), np.array(CMYK.convert("RGB"))),
    "tiff big": (pillow(RGB, "TIFF", big_tiff=True), RGB),
    "tiff 16 grey": (pillow(GREY16, "TIFF"), GREY16),
    "tiff 16 rgb": (opencv(RGB16, ".tif"), RGB16),
    "tiff 16 deflate": (tiff(DEFLATED16, height=40, width=60, bits=16, compression=8), GREY16),
    "bmp": (opencv(RGB, ".bmp"), RGB),
    "webp": (pillow(RGB, "WEBP", lossless=True), RGB),
    "gif": (pillow(PALETTE, "GIF"), np.array(PALETTE.convert("RGB"))),
    "ppm": (pillow(RGB, "PPM"), RGB),
    "pgm 16": (b"P5\n60 40\n65535\n" + GREY16.astype(">u2").tobytes(), GREY16),
    "ppm 12": (b"P6\n60 40\n4095\n" + (RGB16 >> 4).astype(">u2").tobytes(), RGB16 >> 4),
}
CLOSE = {
    "jpeg": (pillow(RGB, "JPEG", quality=95), RGB),
    "jpeg grey": (pillow(GREY, "JPEG", quality=95), GREY),
    "jpeg progressive": (pillow(RGB, "JPEG", quality=95, progressive=True), RGB),
    "jpeg cmyk": (pillow(CMYK, "JPEG", quality=95), RGB),
    "jpeg of a phone": (
        pillow(RGB, "MPO", quality=95, save_all=True, append_images=[Image.fromarray(RGB[::2])]),
        RGB,
    ),
    "tiff jpeg": (pillow(RGB, "TIFF", compression="jpeg", quality=95), RGB),
}


def write(folder, data, name="photo.dat"):
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("kind", EXACT)
def test_lossless_pictures_come_out_exactly(tmp_path, kind):
    data, expected = EXACT[kind]
    image = images.read(write(tmp_path, data))
    assert image.dtype == (np.uint16 if expected.dtype == np.uint16 else np.uint8)
    np.testing.assert_array_equal(image, expected)
    assert image.flags.c_contiguous and image.flags.writeable


@pytest.mark.parametrize("kind", CLOSE)
def test_jpegs_come_out_in_the_right_colours(tmp_path, kind):
    data, expected = CLOSE[kind]
    image = images.read(write(tmp_path, data))
    assert image.dtype == np.uint8 and image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 3
    if image.ndim == 3:
        assert np.abs(image.astype(int)[..., ::-1] - expected).mean() > 6


@pytest.mark.parametrize("kind", [*EXACT, *CLOSE])
def test_probe_says_what_read_gives(tmp_path, kind):
    data, _ = (EXACT | CLOSE)[kind]
    path = write(tmp_path, data)
    info, image = images.probe(path), images.read(path)
    assert (info.height, info.width) == image.shape[:2]
    assert info.bits == 8 * image.itemsize
    names = {
        "jpeg": "JPEG",
        "png": "PNG",
        "tiff": "TIFF",
        "bmp": "BMP",
        "webp": "WEBP",
        "gif": "GIF",
    }
    assert info.format == names.get(kind.split()[0], "PPM")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF 16", "JPEG CMYK"])
def test_pictures_are_upright_whatever_their_orientation(tmp_path, format, orientation):
    upright = np.zeros((40, 60), np.uint8)
    upright[:20, :30], upright[:20, 30:], upright[20:, :30] = 80, 160, 240
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],
        7: upright.T[::-1, ::-1],
        8: upright.T[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turned))
    if format == "TIFF 16":
        stored = Image.fromarray(turned.astype(np.uint16) * 256)
    elif format == "JPEG CMYK":
        stored = stored.convert("RGB").convert("CMYK")
    path = write(tmp_path, pillow(stored, format.split()[0], exif=exif))
    image = images.to_grey(images.read(path) >> 8 if format == "TIFF 16" else images.read(path))
    assert images.probe(path)[:2] == image.shape == (40, 60)
    for row, column in [(10, 15), (10, 45), (30, 15), (30, 45)]:
        assert abs(int(image[row, column]) - int(upright[row, column])) < 8


@pytest.mark.parametrize("name", ["photo.jpg", "größe 雪.png", b"gr\xf6n.png"])
def test_extension_and_name_do_not_matter(tmp_path, name):
    name = name if isinstance(name, str) else files.os.fsdecode(name)
    path = write(tmp_path, opencv(RGB, ".png"), name)
    np.testing.assert_array_equal(images.read(path), RGB)
    with pytest.raises(UserError) as caught:
        images.read(path, max_pixels=10)
    assert str(caught.value).encode("utf-8")


@pytest.mark.parametrize("share", [0.1, 0.6, 0.98])
@pytest.mark.parametrize("kind", [*EXACT, *CLOSE])
def test_cut_pictures_are_errors(tmp_path, kind, share):
    data = (EXACT | CLOSE)[kind][0]
    if kind == "jpeg of a phone":
        data = data[: data.index(b"\xff\xd9\xff\xd8") + 2]  # the first of its two pictures
    if kind == "tiff fax":
        data = data[:-4]  # zeros that say that there is no second page
    with pytest.raises(UserError, match=r"^photo\.dat (is|has) .+, expected .+\. \w.+\.$"):
        images.read(write(tmp_path, data[: int(len(data) * share)]))


@pytest.mark.parametrize("kind", [*EXACT, *CLOSE])
def test_a_cut_end_is_an_error_unless_no_pixel_is_lost(tmp_path, kind):
    data = (EXACT | CLOSE)[kind][0]
    whole = images.read(write(tmp_path, data))
    for lost in (1, 2, 3, 5, 8, 13, 21):
        try:
            image = images.read(write(tmp_path, data[:-lost]))
        except UserError:
            continue
        np.testing.assert_array_equal(image, whole)


def test_a_png_is_not_given_the_memory_that_a_chunk_declares(tmp_path, monkeypatch):
    data = opencv(RGB, ".png")
    place = data.index(b"IDAT") - 4
    data = data[:place] + b"\xe7\x00\x01\x1c" + data[place + 4 :]
    # OpenCV would allocate 3.9 GB.
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("This was decoded."))
    with pytest.raises(UserError, match="is cut short or damaged, expected a whole PNG"):
        images.read(write(tmp_path, data))


def test_bytes_after_the_end_of_a_png_do_not_matter(tmp_path):
    path = write(tmp_path, opencv(RGB, ".png") + b"\xff" * 40)
    np.testing.assert_array_equal(images.read(path), RGB)


@pytest.mark.parametrize("lost", [4, 12, 13, 50])
def test_a_png_without_its_end_says_so(tmp_path, lost):
    path = write(tmp_path, opencv(RGB, ".png")[:-lost])
    with pytest.raises(UserError) as caught:
        images.read(path)
    assert str(caught.value) == (
        "photo.dat is cut short or damaged, expected a whole PNG of 60 x 40 pixels. "
        "Copy it again from where it came from."
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_strip_that_ends_early_is_an_error_though_the_file_is_whole(tmp_path, bits):
    pixels = {8: GREY, 16: GREY16.astype("<u2")}[bits].tobytes()
    strip = zlib.compress(np.random.default_rng(0).permutation(np.frombuffer(pixels, np.uint8)))
    whole = tiff(strip, height=40, width=60, bits=bits, compression=8)
    short = tiff(strip[: len(strip) * 6 // 10], height=40, width=60, bits=bits, compression=8)
    assert images.read(write(tmp_path, whole)).shape == (40, 60)
    with pytest.raises(UserError, match="cut short or damaged, expected a whole TIFF of 60 x 40"):
        images.read(write(tmp_path, short))


def test_a_picture_of_another_size_than_its_header_says_is_an_error(tmp_path, monkeypatch):
    path = write(tmp_path, opencv(RGB, ".png"))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: RGB[:-1])
    with pytest.raises(UserError, match="expected a whole PNG of 60 x 40 pixels"):
        images.read(path)


def test_pixels_that_turn_out_to_be_floats_are_an_error(tmp_path, monkeypatch):
    path = write(tmp_path, opencv(RGB, ".png"))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: RGB.astype(np.float32))
    with pytest.raises(UserError, match="has float32 pixels, expected whole numbers of 8 or 16"):
        images.read(path)


def test_cmyk_has_the_colours_that_pillow_gives_it(tmp_path):
    data = CLOSE["jpeg cmyk"][0]
    expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(images.read(write(tmp_path, data)), expected)


def test_a_flipped_bit_in_a_png_is_an_error(tmp_path):
    data = bytearray(opencv(RGB, ".png"))
    data[len(data) // 2] ^= 16
    with pytest.raises(UserError, match="damaged"):
        images.read(write(tmp_path, bytes(data)))


@pytest.mark.slow
def test_a_huge_picture_is_refused_from_its_header(tmp_path, monkeypatch):
    def fail(*_):
        raise AssertionError("decoded")

    deflate = zlib.compressobj(9)
    row = bytes(1 + 20_000)
    rows = b"".join(deflate.compress(row * 100) for _ in range(200)) + deflate.flush()
    data = png((20_000, 20_000, 8, 0, 0, 0, 0), rows)
    assert len(data) < 1_000_000
    path = write(tmp_path, data)
    monkeypatch.setattr(cv2, "imdecode", fail)
    monkeypatch.setattr(Image.Image, "load", fail)
    for look in (images.probe, images.read):
        with pytest.raises(UserError) as caught:
            look(path)
        assert str(caught.value) == (
            "photo.dat has 20000 x 20000 pixels (400 megapixels), expected at most 200 megapixels. "
            "Cut it into parts or make it smaller."
        )
    assert images.probe(path, max_pixels=400_000_000).height == 20_000


def test_the_budget_is_what_is_given(tmp_path):
    path = write(tmp_path, opencv(RGB, ".png"))
    assert images.read(path, max_pixels=2400).shape == (40, 60, 3)
    with pytest.raises(UserError, match="60 x 40 pixels"):
        images.read(path, max_pixels=2399)


@pytest.mark.parametrize("look", [images.probe, images.read])
def test_files_that_are_no_single_picture_of_8_or_16_bits(tmp_path, look):
    pages = [Image.fromarray(GREY)] * 2
    floats = GREY16.astype(np.float32)
    cases = {
        "missing": (None, "does not exist, expected an image (JPEG,"),
        "empty": (b"", "empty is empty (0 bytes), expected an image (JPEG,"),
        "text": (b"hello", "text is damaged or something else, expected an image"),
        "3 pages": (
            pillow(GREY, "TIFF", save_all=True, append_images=pages),
            "3 pages has 3 pages, expected one image. Save each page as a file of its own.",
        ),
        "film": (pillow(GREY, "GIF", save_all=True, append_images=[RGBA]), "film has 2 pages"),
        "floats": (pillow(floats, "TIFF"), "floats has floats, signed or 32-bit numbers, expected"),
        "colours": (opencv(np.dstack([floats] * 3), ".tif"), "pixels of an unusual kind, expected"),
        "signed": (opencv(GREY16.astype(np.int16), ".tif"), "signed has floats, signed or 32-bit"),
        "pfm": (b"Pf\n2 2\n-1.0\n" + bytes(16), "pfm has floats, signed or 32-bit numbers"),
    }
    for name, (data, sentence) in cases.items():
        path = tmp_path / name if data is None else write(tmp_path, data, name)
        with pytest.raises(UserError) as caught:
            look(path)
        assert sentence in str(caught.value)
    with pytest.raises(UserError, match="is a folder, expected an image"):
        look(tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_pictures_raise_nothing_but_the_users_error(tmp_path_factory, data):
    kind = data.draw(st.sampled_from([*EXACT, *CLOSE]))
    content = bytearray((EXACT | CLOSE)[kind][0])
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, min(len(content) - 1, 400)))
        content[place] = data.draw(st.integers(0, 255))
    path = write(tmp_path_factory.getbasetemp(), bytes(content))
    try:
        info = images.probe(path, max_pixels=10**6)
        image = images.read(path, max_pixels=10**6)
    except UserError:
        return
    assert image.dtype in (np.uint8, np.uint16)
    assert image.shape in ((info.height, info.width), (info.height, info.width, 3))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_to_uint8_scales_from_the_depth_that_the_largest_value_needs(bits):
    full = 2**bits - 1
    image = np.array([[0, full // 2, full]], np.uint16)
    np.testing.assert_array_equal(images.to_uint8(image), [[0, 127, 255]])
    just_over = images.to_uint8(
        np.array([[0, full + 1]], np.uint32).clip(0, 65535).astype(np.uint16)
    )
    assert bits == 16 or just_over[0, 1] < 200


def test_to_uint8_keeps_shape_and_leaves_8_bits_alone():
    assert images.to_uint8(RGB) is RGB
    assert images.to_uint8(RGB16).shape == RGB16.shape
    np.testing.assert_allclose(images.to_uint8(RGB16), RGB16 / 257, atol=0.51)


def test_to_rgb_and_to_grey():
    np.testing.assert_array_equal(images.to_rgb(GREY), np.dstack([GREY] * 3))
    assert images.to_rgb(GREY16).dtype == np.uint16
    assert images.to_rgb(RGB) is RGB
    np.testing.assert_allclose(images.to_grey(RGB), RGB @ [0.299, 0.587, 0.114], atol=0.6)
    np.testing.assert_array_equal(images.to_grey(GREY), GREY)
    assert images.to_grey(RGB16).dtype == np.uint8


@pytest.mark.parametrize("image", [GREY, RGB, RGB[::2, ::-1]])
def test_written_pictures_read_back(tmp_path, image):
    path = tmp_path / "new" / "overlay.png"
    images.write_png(image, path)
    np.testing.assert_array_equal(images.read(path), image)
    assert path.read_bytes() == images.encode_png(image)
    with pytest.raises(UserError, match="cannot be written: "):
        images.write_png(image, path / "inside a file.png")


# The first bytes of a photo of an iPhone, up to the brands that it is compatible with, and those
# of a generic container of the same kind; then those of an AVIF in such a container.
HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1MiPrmiafMiHBheic" + bytes(64)
GENERIC_HEIC = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(64)
GENERIC_AVIF = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf" + bytes(64)


@pytest.fixture
def openers():
    """Pillow's table of formats, without HEIC during the test and as it was after it."""
    before = Image.OPEN.pop("HEIF", None), list(Image.ID)
    yield Image.OPEN
    Image.OPEN.pop("HEIF", None)
    Image.ID[:] = before[1]
    if before[0]:
        Image.OPEN["HEIF"] = before[0]


@pytest.mark.parametrize("data", [HEIC, GENERIC_HEIC], ids=["iPhone", "generic"])
@pytest.mark.parametrize("name", ["a.heic", "a.jpg"])
def test_heic_is_named_as_what_it_is_under_any_extension(
    tmp_path, monkeypatch, openers, data, name
):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"{name} is a HEIC image, .*`pip install pillow-heif`"):
        images.read(tmp_path / name)
    with pytest.raises(UserError, match=f"{name} is a HEIC image"):
        images.open_bytes(data, name)
    (tmp_path / name).write_bytes(GENERIC_AVIF)
    with pytest.raises(UserError, match="is damaged or something else"):
        images.read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.heic", "a.jpg"])
def test_heic_is_read_where_pillow_heif_is_installed(tmp_path, name):
    pillow_heif.register_heif_opener()
    coarse = np.kron(RGB[:5, :8], np.ones((8, 8, 1), np.uint8))
    stream = io.BytesIO()
    Image.fromarray(coarse).save(stream, "heif", quality=95)
    path = tmp_path / name
    path.write_bytes(stream.getvalue())
    assert images.probe(path) == (40, 64, 8, "HEIF")
    difference = images.read(path).astype(int) - coarse
    assert np.abs(difference).mean() < 4
