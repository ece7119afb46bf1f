"""Encoded images of requests: checked by their headers, decoded and prepared as packing does.

They are decoded in the thread of their request, not in the batch that it shares with others, and by
the decoder and the functions of the task's reader, so that a file has the same answer from the
server as from `tfpipe predict`.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.base import images
from tfpipe.base.errors import UserError
from tfpipe.models.spec import Spec
from tfpipe.registry.card import VersionCard
from tfpipe.serving.errors import RequestError
from tfpipe.serving.limits import Limits
from tfpipe.tasks.image_folder.reader import fit_image
from tfpipe.tasks.insolubles.reader import letterbox

FORMATS = ("PNG", "JPEG", "GIF", "BMP")
# Large images are decoded one at a time, so that they take one core and the memory of one; requests
# that wait for it take threads that others need, so only a few may.
LARGE_PIXELS = 1_000_000
MAX_LARGE_WAITING = 8
_LARGE, _LARGE_PLACES = threading.Lock(), threading.BoundedSemaphore(MAX_LARGE_WAITING)


class EncodedImage(NamedTuple):
    """An image of a request.

    Attributes:
      name: in messages, such as "Image 0".
      data: the image file.
      n_pixels: that decoding passes over.
      opened: the image file with its header; None for float32 numbers.
    """

    name: str
    data: bytes
    n_pixels: int
    opened: images.OpenedImage | None


class ImageDecoder:
    """Decoder of the images that a version takes."""

    def __init__(self, spec: Spec, card: VersionCard, *, limits: Limits):
        self._spec, self._options, self._limits = spec, card.options, limits

    def check(self, encoded: Iterable[bytes]) -> list[EncodedImage]:
        """Returns the images of one request, checked by their headers alone.

        Raises:
          RequestError: status 413 if one is too large or all together take too long to decode, 400
            if one is none that the model takes.
        """
        checked, n_pixels = [], 0
        for i, data in enumerate(encoded):
            checked.append(self._check(data, name=f"Image {i}"))
            n_pixels += checked[-1].n_pixels
            if n_pixels > self._limits.max_decoded_pixels:
                raise RequestError(
                    413,
                    f"Images 0 to {i} take {n_pixels / 1e6:.0f} megapixels to decode, as a "
                    "progressive JPEG is decoded once for each scan; expected at most "
                    f"{self._limits.max_decoded_pixels / 1e6:g}. Send fewer or smaller images, or "
                    "PNG.",
                )
        return checked

    def decode(self, encoded: Sequence[EncodedImage], *, check: Callable[[], None]) -> np.ndarray:
        """Returns images [n, height, width, channels] as the model takes them.

        Args:
          encoded: n images.
          check: called before each; raises if its request need not be answered any more.

        Raises:
          RequestError: an image is damaged, or too many large ones wait already.
        """
        decoded = np.empty((len(encoded), *self._spec.image_shape), self._spec.image_dtype)
        for i, image in enumerate(encoded):
            check()
            decode = self._decode if image.n_pixels < LARGE_PIXELS else self._decode_large
            decoded[i] = decode(image, check)
        return decoded

    def _decode_large(self, image: EncodedImage, check: Callable[[], None]) -> np.ndarray:
        if not _LARGE_PLACES.acquire(blocking=False):
            raise RequestError(
                503, "Too many large images wait to be decoded. Try again.", retry_after_s=2
            )
        try:
            with _LARGE:
                check()
                return self._decode(image, check)
        finally:
            _LARGE_PLACES.release()

    def _decode(self, encoded: EncodedImage, check: Callable[[], None]) -> np.ndarray:
        height, width, channels = self._spec.image_shape
        if encoded.opened is None:
            return np.frombuffer(encoded.data, "<f4").reshape(self._spec.image_shape)
        try:
            image = images.decode(encoded.opened)
        except UserError as error:
            raise RequestError(400, str(error)) from error
        if self._spec.image_dtype == "uint8":
            image = images.to_uint8(image, bits=self._options.get("bits", 0))
        if channels == 1 and image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        elif channels == 3:
            image = images.to_rgb(image)
        if image.shape[:2] != (height, width):
            if self._spec.letterbox:
                image = letterbox(image, side=height)[0][:, :, :channels]
            else:
                fit = self._options.get("fit", "stretch")
                image = fit_image(image, height=height, width=width, fit=fit)
        return image.reshape(self._spec.image_shape)

    def _check(self, data: bytes, *, name: str) -> EncodedImage:
        """Returns an image that the model takes, by its header."""
        if self._spec.image_dtype == "float32":
            expected = 4 * int(np.prod(self._spec.image_shape))
            if len(data) != expected:
                raise RequestError(
                    400,
                    f"{name} must be float32 numbers of shape {list(self._spec.image_shape)}: "
                    f"expected {expected} bytes, got {len(data)}.",
                )
            if not np.isfinite(np.frombuffer(data, "<f4")).all():
                raise RequestError(400, f"{name} has NaN or an infinity, expected float32 numbers.")
            return EncodedImage(name, data, 0, None)
        try:
            opened = images.open_bytes(data, name, max_pixels=self._limits.max_pixels)
        except UserError as error:
            status = 413 if "megapixels" in str(error) else 400
            raise RequestError(status, str(error)) from error
        format_ = opened.info.format
        if format_ not in FORMATS:
            raise RequestError(400, f"{name} is a {format_}, expected a PNG, JPEG, GIF or BMP.")
        self._check_prepared(opened.info, name=name)
        return EncodedImage(name, data, images.decoded_pixels(opened), opened)

    def _check_prepared(self, info: images.ImageInfo, *, name: str) -> None:
        """Checks that an image can be prepared as the task's reader does."""
        height, width, channels = self._spec.image_shape
        bits = 16 if self._spec.image_dtype == "uint16" else 8
        if info.bits != bits and not (bits == 8 and "bits" in self._options):
            raise RequestError(
                400,
                f"{name} has {info.bits} bits, and the model takes {bits}. Send {bits} bits as "
                "they were packed, or use `tfpipe predict`.",
            )
        if channels not in (1, 3):
            raise RequestError(
                400,
                f"The model takes {channels} channels, and an image file is decoded to 1 or 3. "
                'Send lists of numbers to "signature_name": "predict_tensor".',
            )
        if self._spec.letterbox:
            is_fitted = height == width and bits == 8
        else:
            is_fitted = "fit" in self._options or "size" in self._options
        if (info.height, info.width) != (height, width) and not is_fitted:
            raise RequestError(
                400,
                f"{name} has {info.height} x {info.width} px, and the model takes images that are "
                f"cut to {height} x {width} px. Send that size, or use `tfpipe predict`, which "
                "cuts them.",
            )
