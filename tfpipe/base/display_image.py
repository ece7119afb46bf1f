"""Pictures of any kind made fit to be seen."""

import cv2
import numpy as np

from tfpipe.base import images

MOST_PX = 20_000  # of a picture in a page: 36 of them as PNG stay under 3 MB


def shown(image: np.ndarray) -> np.ndarray:
    """Returns a picture fit to be seen, [height, width] or [height, width, 3] uint8, and small."""
    image = image[:, :, :3] if image.shape[2] >= 3 else image[:, :, 0]
    if image.dtype.kind == "f":
        finite = image[np.isfinite(image)]
        low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0, 1)
        image = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
        image = np.nan_to_num(255 * image).astype(np.uint8)
    image = images.to_uint8(np.ascontiguousarray(image))
    scale = (MOST_PX / (image.shape[0] * image.shape[1])) ** 0.5
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
