"""A sample's folder, which is there whole or not at all."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np

from tfpipe.base import files


def whole(folder: Path) -> AbstractContextManager[Path]:
    """Returns `files.new_folder` of a sample.

    Raises:
      UserError: `folder` holds something already, or it cannot be written or is full.
    """
    return files.new_folder(folder, option="--data")


def write_encoded(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Writes an image, blue first, in the format of its ending; OpenCV would hide why it cannot."""
    path.write_bytes(cv2.imencode(path.suffix, image, options)[1].tobytes())
