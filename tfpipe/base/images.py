"""Image files of the usual formats, decoded; cut, damaged and huge files are refused."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image

from tfpipe.base import files
from tfpipe.base.errors import UserError

MAX_PIXELS = 200_000_000  # 600 MB as RGB; the largest scanner and drone images are near 100 MP
CAMERA_BITS = (8, 10, 12, 14, 16)
DISPLAY_PX = 20_000  # pixels of an image in a page: 36 of them as PNG stay under 3 MB

_EXPECTED = "an image (JPEG, PNG, TIFF, BMP, WebP, GIF, AVIF or PNM)"
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "AVIF")
# Brands of a HEIC file, bytes 8 to 11 (ISO/IEC 23008-12); of a generic one the list decides.
_HEIC_BRANDS = (
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs",
)  # fmt: skip
_GENERIC_BRANDS = (b"mif1", b"msf1")
_TIFF_BITS, _ORIENTATION = 258, 274
_START_OF_SCAN = b"\xff\xda"
_SCAN_PIXELS = 4096  # that take as long as beginning a scan
_FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION

# EXIF or TIFF orientation -> what makes pixels [height, width, ...] upright (Exif 2.32, tag 274)
UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}

# `_header` checks the size before decoding, with its own limit and sentence.
Image.MAX_IMAGE_PIXELS = None
# Their own messages about a damaged file are silenced: the UserError says it once.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageInfo(NamedTuple):
    """The header of an image file.

    Attributes:
      height: pixels, as shown upright.
      width: pixels, as shown upright.
      bits: 8 or 16 a channel, as `read` returns them.
      format: "JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "AVIF" or, where pillow-heif is
        installed, "HEIF", by content.
    """

    height: int
    width: int
    bits: int
    format: str


class OpenedImage(NamedTuple):
    """An image in memory whose header was read, and nothing else.

    Attributes:
      name: in messages.
      data: the image file.
      info: its header.
      header: the header as Pillow has it.
    """

    name: str
    data: bytes
    info: ImageInfo
    header: Image.Image


def probe(path: Path, *, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Returns size, depth and format of an image from its header alone.

    Args:
      path: the image, under any extension.
      max_pixels: most pixels (height * width).

    Raises:
      UserError: it is missing, empty, no image, too large, of several pages or of floats.
    """
    try:
        file = path.open("rb")
    except OSError:
        files.contents(path, expected=_EXPECTED)  # says what is wrong
        raise
    with file:
        if not file.read(1):
            files.contents(path, expected=_EXPECTED)
        return _header(file, path.name, max_pixels=max_pixels)[0]


def open_bytes(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> OpenedImage:
    """Returns an image in memory, its header checked as by `probe`; messages call it by `name`."""
    return OpenedImage(name, data, *_header(io.BytesIO(data), name, max_pixels=max_pixels))


def decoded_pixels(opened: OpenedImage) -> int:
    """Returns how many pixels decoding passes over: the cost of an image, known before it is paid.

    A progressive JPEG is passed over once for each of its scans, of which 14 bytes make another.
    """
    data, info = opened.data, opened.info
    if info.format != "JPEG":
        return info.height * info.width
    # In a JPEG's compressed data no 0xFF is followed by 0xDA, so this misses no scan. It counts too
    # many where a comment or a thumbnail has these bytes, which harms nobody else.
    scans = max(1, data.count(_START_OF_SCAN))
    return scans * max(_SCAN_PIXELS, info.height * info.width)


def read(path: Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Returns the pixels of an image, upright.

    Transparency is dropped: the colours are those stored.

    Args:
      path: the image, under any extension.
      max_pixels: most pixels (height * width), checked before anything is decoded.

    Returns:
      [height, width] or [height, width, 3] RGB; uint8, or uint16 for files of more than 8 bits.

    Raises:
      UserError: as `probe`, and where the file is cut short or damaged.
    """
    data = files.contents(path, expected=_EXPECTED)
    return decode(open_bytes(data, path.name, max_pixels=max_pixels))


def decode(opened: OpenedImage) -> np.ndarray:
    """Returns the pixels of an image in memory as `read` does."""
    name, data, info, image = opened
    # OpenCV multiplies the colours of an 8-bit TIFF by their alpha and takes a damaged strip of one
    # for pixels; Pillow cuts RGB of 16 bits down to 8, where OpenCV is right and notices damage.
    is_pillows = info.format in ("AVIF", "HEIF") or (info.format == "TIFF" and info.bits == 8)
    if image.mode == "CMYK" or is_pillows:
        pixels = _with_pillow(image)
    elif info.format == "PNG" and not _has_whole_chunks(data):
        pixels = None
    else:
        pixels = _with_cv2(data, grey=image.mode == "LA")
    turn = UPRIGHT.get(orientation(image))
    if pixels is not None and turn:
        pixels = np.ascontiguousarray(turn(pixels))
    if pixels is None or pixels.shape[:2] != (info.height, info.width):
        raise UserError(
            f"{files.shown(name)} is cut short or damaged, expected a whole {info.format} of "
            f"{info.width} x {info.height} pixels. Copy it again from where it came from."
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise _unsupported(name, f"{pixels.dtype} pixels")
    return pixels


def can_read_heic() -> bool:
    """Returns whether HEIC is read: whether pillow-heif is installed."""
    if "HEIF" not in Image.OPEN:
        try:
            import pillow_heif  # an extra
        except ImportError:
            return False
        pillow_heif.register_heif_opener()
    return True


def to_uint8(image: np.ndarray, *, bits: int = 0) -> np.ndarray:
    """Returns an image in 8 bits.

    Args:
      image: [height, width] or [height, width, 3], uint8 or uint16.
      bits: of the camera, whose full range becomes 0..255 in a 16-bit image; brighter pixels
        become 255. 0 for the smallest usual depth that holds this image's brightest pixel, which
        makes no two images comparable.

    Returns:
      The same shape in uint8.
    """
    if image.dtype == np.uint8:
        return image
    bits = bits or bits_of(int(image.max()))
    return cv2.convertScaleAbs(image, alpha=255 / (2**bits - 1))


def camera_bits(paths: Sequence[Path], *, most: int = 200) -> int:
    """Returns the smallest usual camera depth (8, 10, 12, 14, 16) that holds images' pixels.

    Args:
      paths: the images; those that cannot be read do not count, as reading them says why.
      most: 16-bit images that are decoded, evenly spaced.

    Returns:
      0 where no image has 16 bits.
    """
    deep = []
    for path in paths:
        try:
            if probe(path).bits == 16:
                deep.append(path)
        except UserError:
            continue
    bits = 0
    for place in np.unique(np.linspace(0, len(deep) - 1, most).round().astype(int)) if deep else ():
        try:
            bits = max(bits, bits_of(int(read(deep[place]).max())))
        except UserError:
            continue
    return bits


def bits_of(largest: int) -> int:
    """Returns the smallest usual camera depth that holds a pixel."""
    return next(bits for bits in CAMERA_BITS if largest < 2**bits)


def to_display(image: np.ndarray) -> np.ndarray:
    """Returns an image fit to be seen in a page: 8 bits, one or three channels, `DISPLAY_PX`.

    Args:
      image: [height, width, channels], integers or floats; the first three channels are shown.

    Returns:
      [height, width] or [height, width, 3] uint8; floats are scaled between their percentiles 0.5
      and 99.5.
    """
    image = image[:, :, :3] if image.shape[2] >= 3 else image[:, :, 0]
    if image.dtype.kind == "f":
        finite = image[np.isfinite(image)]
        low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0, 1)
        image = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
        image = np.nan_to_num(255 * image).astype(np.uint8)
    image = to_uint8(np.ascontiguousarray(image))
    scale = (DISPLAY_PX / (image.shape[0] * image.shape[1])) ** 0.5
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Returns [height, width, 3] of a grey [height, width] or RGB image, in its own dtype."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image


def to_grey(image: np.ndarray, *, bits: int = 0) -> np.ndarray:
    """Returns [height, width] uint8 of a grey or RGB image: 0.299 R + 0.587 G + 0.114 B.

    Args:
      image: as `to_uint8` takes it.
      bits: likewise.
    """
    image = to_uint8(image, bits=bits)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image


def encode_png(image: np.ndarray) -> bytes:
    """Returns an image, [height, width] or [height, width, 3] RGB uint8, as the bytes of a PNG."""
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    return cv2.imencode(".png", stored)[1].tobytes()


def write_png(image: np.ndarray, path: Path) -> None:
    """Writes an image, as `encode_png` takes it, beside its final name and renames it.

    Raises:
      UserError: the folder cannot be written to or is full.
    """
    files.replace(path, encode_png(image))


def _header(file: BinaryIO, name: str, *, max_pixels: int) -> tuple[ImageInfo, Image.Image]:
    """Returns what the header says, and Pillow's image that has decoded nothing yet."""
    name = files.shown(name)
    file.seek(0)
    start = file.read(64)
    file.seek(0)
    is_heic = _is_heic(start)
    if is_heic and not can_read_heic():
        raise UserError(
            f"{name} is a HEIC image, which is read only where pillow-heif is installed: "
            "`pip install pillow-heif`. Install it, or save the image as JPEG or PNG."
        )
    try:
        image = Image.open(file, formats=("HEIF",) if is_heic else _FORMATS)
        width, height = image.size
        format_ = "JPEG" if image.format == "MPO" else image.format  # a phone's JPEG with extras
        pages = 1 if format_ in ("JPEG", "HEIF") else getattr(image, "n_frames", 1)
        if orientation(image) in (5, 6, 7, 8):
            width, height = height, width
        bits = _bits(image, start)
    except Exception as error:  # a damaged header makes Pillow's readers raise almost anything
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise _unsupported(name, "a damaged header, or pixels of an unusual kind") from error
        raise UserError(
            f"{name} is damaged or something else, expected {_EXPECTED}. "
            "Copy it again, or save it as PNG."
        ) from error
    if width * height > max_pixels:
        raise UserError(
            f"{name} has {width} x {height} pixels ({width * height / 1e6:g} megapixels), "
            f"expected at most {max_pixels / 1e6:g} megapixels. "
            "Cut it into parts or make it smaller."
        )
    if pages > 1:
        raise UserError(
            f"{name} has {pages} pages, expected one image. Save each page as a file of its own."
        )
    if image.mode == "F" or (image.mode == "I" and format_ != "PPM") or bits > 16:
        raise _unsupported(name, "floats, signed or 32-bit numbers")
    return ImageInfo(height, width, 16 if bits > 8 else 8, str(format_)), image


def _is_heic(start: bytes) -> bool:
    """Returns whether a file is HEIC, given its first 64 bytes."""
    if start[4:8] != b"ftyp":
        return False
    listed = {start[i : i + 4] for i in range(16, min(len(start), start[3]), 4)}
    return start[8:12] in _HEIC_BRANDS or (
        start[8:12] in _GENERIC_BRANDS and not {b"avif", b"avis"} & listed
    )


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation that is left to apply, 1 for none."""
    if image.format == "TIFF":  # both decoders turn a TIFF themselves, and Pillow its size
        return 1
    exif = Image.Exif()  # not image.getexif(), which decodes a whole PNG to look for it at the end
    exif.load(image.info.get("exif") or b"")
    return exif.get(_ORIENTATION, 1)


def _bits(image: Image.Image, start: bytes) -> int:
    """Returns the bits a channel that a file declares, given its first bytes."""
    if image.format == "PNG":
        return start[24]
    if image.format == "TIFF":
        return max(getattr(image, "tag_v2").get(_TIFF_BITS, (1,)))  # noqa: B009
    if image.format == "PPM":
        # args: the kind of pixel, and perhaps the largest value
        arguments = getattr(image, "tile")[0].args  # noqa: B009
        largest = max((part for part in arguments if isinstance(part, int)), default=255)
        return 16 if image.mode == "I" else largest.bit_length()
    return 8


def _has_whole_chunks(data: bytes) -> bool:
    """Returns whether each chunk of a PNG ends within the file.

    OpenCV allocates as much as a chunk declares, 4 GB for a file of 300 bytes.
    """
    place = 8  # after the signature
    while place + 8 <= len(data) and data[place + 4 : place + 8] != b"IEND":
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return place <= len(data)


def _with_cv2(data: bytes, *, grey: bool) -> np.ndarray | None:
    """Returns the pixels in RGB or grey; None where OpenCV finds them damaged."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.ndim == 2:
        return pixels
    # OpenCV gives grey with alpha as three equal channels.
    return pixels[..., 0].copy() if grey else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _with_pillow(image: Image.Image) -> np.ndarray | None:
    """Returns the pixels in RGB or grey uint8; None where Pillow finds them damaged."""
    try:
        image.load()
    except Exception:  # as in `_header`
        return None
    return np.array(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))


def _unsupported(name: str, came: str) -> UserError:
    """Returns the error for an image whose pixels are not of a kind that we read."""
    return UserError(
        f"{files.shown(name)} has {came}, expected whole numbers of 8 or 16 bits. "
        "Save it as an 8-bit or 16-bit PNG or TIFF."
    )
