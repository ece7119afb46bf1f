"""A sample's folder, which is there whole or not at all."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from tfpipe.base import files
from tfpipe.base.errors import UserError


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Yields a folder to fill, which takes the place of `folder` when that went well.

    Raises:
      UserError: `folder` holds something already, or it cannot be written or is full.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} already holds something; give a new folder, or empty this one.")
    with files.writing_to(folder, option="--data"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            draft = Path(beside) / folder.name
            draft.mkdir()
            yield draft
            if folder.exists():
                folder.rmdir()
            draft.rename(folder)


def write_encoded(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Writes an image, blue first, in the format of its ending; OpenCV would hide why it cannot."""
    path.write_bytes(cv2.imencode(path.suffix, image, options)[1].tobytes())
