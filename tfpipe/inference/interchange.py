"""Tables that another program imports, with the pictures it wants to find beside them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import images as base_images


def with_pictures(frame: pd.DataFrame, images: np.ndarray, path: Path) -> pd.DataFrame:
    """Writes the pictures of some rows, and returns the rows as `ImageOutputs.writers` take them.

    Args:
      frame: the rows, with their `key`, `label` and whether they are `unsure`.
      images: theirs, [n, height, width, channels].
      path: of the table; pictures go to the folder pictures/ in the one beside it with the same
        stem.

    Returns:
      The rows, each with its `picture`, as a path from the table's folder, and an unsure one with
      an empty label.
    """
    folder = path.with_suffix("") / "pictures"
    names = [re.sub(r"[^0-9A-Za-z._-]+", "_", key) + ".png" for key in frame["key"]]
    for name, image in zip(names, images, strict=True):
        base_images.write_png(image, folder / name)
    places = [f"{folder.parent.name}/{folder.name}/{name}" for name in names]
    labels = frame["label"].mask(frame["unsure"], "")
    return frame.assign(label=labels, picture=places).drop(columns="unsure")
