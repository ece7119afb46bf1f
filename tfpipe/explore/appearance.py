"""What of a picture is light, crop or place, so that it can be told from what is there."""

from typing import NamedTuple

import numpy as np
import pandas as pd

HALF = 0.5  # of the way from background to the particle's depth, where its outline is
# Metadata that say where a particle lay, and in which minute of the run.
PLACES = ("image_x", "image_y", "src_x", "src_y", "elapsed_time", "timestamp")


class Nuisances(NamedTuple):
    """What may part pictures that show the same.

    Attributes:
      brightness: of the background, in the picture's own units.
      contrast: how far the particle's darkest or brightest parts are from the background.
      size: diameter of a disc of the particle's area, in px.
      padding: share of the picture that is one colour, added around the crop.
      border_contact: share of the crop's border that the particle lies on.
    """

    brightness: float
    contrast: float
    size: float
    padding: float
    border_contact: float


def measured(images: np.ndarray) -> np.ndarray:
    """Returns the nuisances of pictures [n, height, width, channels], [n, 5] float."""
    return np.array([_of_one(image) for image in images]).reshape(-1, len(Nuisances._fields))


def all_of(measures: np.ndarray, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Returns name -> value of each picture [n], text for its group.

    Args:
      measures: [n, 5] float, by `measured`.
      frame: a row for each picture: its group, and whatever metadata there is of its place.
    """
    found = dict(zip(Nuisances._fields, measures.T, strict=True))
    found |= {
        name: frame[name].to_numpy(float)
        for name in PLACES
        if name in frame and frame[name].dtype.kind in "iuf"
    }
    return found | {"group": frame["group"].to_numpy(str)}


def cropped(image: np.ndarray) -> np.ndarray:
    """Returns a picture without the rows and columns around it that are of its corner's colour."""
    differs = (image != image[0, 0]).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _of_one(image: np.ndarray) -> Nuisances:
    crop = cropped(image)
    grey = np.nan_to_num(crop.astype(np.float32)).mean(axis=2)
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    background = float(np.median(border))
    away = np.abs(grey - background)
    # The most extreme pixels are noise, or a glint.
    depth = float(np.percentile(away, 98))
    is_particle = away > max(HALF * depth, np.finfo(np.float32).tiny)
    sides = [is_particle[0], is_particle[-1], is_particle[1:-1, 0], is_particle[1:-1, -1]]
    return Nuisances(
        brightness=background,
        contrast=depth,
        size=float(2 * np.sqrt(is_particle.sum() / np.pi)),
        padding=1 - grey.size / (image.shape[0] * image.shape[1]),
        border_contact=float(np.concatenate(sides).mean()),
    )
