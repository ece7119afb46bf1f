"""Which way a thing in a picture lies, and pictures turned so that all lie the same way.

The clusters that seed 001 found were "based on directions at best", which say nothing of a track:
the camera might have been mounted another way. A principal axis has no sense, so an angle is the
same half a turn on: axial data, treated by twice the angle (Mardia & Jupp 2000, section 9.4).
"""

from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from tfpipe.explore import confounders

SECTORS = 10  # of the half turn
ROUND = 0.1  # how much longer than wide, of both together, a thing is that has a direction
NO_SECTOR = "no direction"
MARGIN = 0.98  # of the picture's side that a thing may take once it is turned


class Axes(NamedTuple):
    """The principal axis of each picture's thing, [n] each.

    Attributes:
      angle_rad: from 0 along the rows to pi, counter-clockwise as seen.
      strength: from 0 for what is round to 1 for a line.
      length_px: of the thing, along the axis.
    """

    angle_rad: np.ndarray
    strength: np.ndarray
    length_px: np.ndarray


def axes(images: np.ndarray) -> Axes:
    """Returns the principal axes of pictures [n, height, width, channels], by second moments.

    Each pixel weighs what it is away from the border's median, the background.
    """
    return Axes(*np.array([_axis(image) for image in images], float).reshape(-1, 3).T)


def sectors(found: Axes) -> np.ndarray:
    """Returns the sector of each axis [n] str, and `NO_SECTOR` for what is round.

    By twice the angle, so that 1 and 179 degrees are neighbours.
    """
    doubled = np.arctan2(np.sin(2 * found.angle_rad), np.cos(2 * found.angle_rad)) % (2 * np.pi)
    numbers = np.floor(doubled / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    width = 180 // SECTORS
    names = np.array([f"{i * width}-{(i + 1) * width} degrees" for i in range(SECTORS)])
    return np.where(found.strength < ROUND, NO_SECTOR, names[numbers])


def levelled(images: np.ndarray) -> np.ndarray:
    """Returns pictures [n, height, width, channels] turned so that each thing lies along the rows.

    What would then reach over the sides is made smaller. Which end is left, and which side is up,
    stays open: the axis does not tell.
    """
    found = axes(images)
    told = zip(images, found.angle_rad, found.length_px, strict=True)
    return np.stack([_level(*one) for one in told]) if len(images) else images


def explained(clusters: np.ndarray, found: Axes, *, seed: int = 0) -> pd.DataFrame:
    """Returns how well direction alone tells each cluster's pictures, and how much in all.

    Args:
      clusters: [n] int; -1 for none.
      found: of the pictures.
      seed: of the test's halves and permutations.

    Returns:
      `confounders.of_clusters`' rows for the nuisance "direction", and one row "all clusters" whose
      "value" is the share of the variance of (cos, sin) of twice the angle that lies between
      clusters, of pictures in one that have a direction; less what as many clusters take by chance.
    """
    table = confounders.of_clusters(clusters, {"direction": sectors(found)}, seed=seed)
    known = (clusters >= 0) & (found.strength >= ROUND)
    doubled = np.exp(2j * found.angle_rad[known])
    own = clusters[known]
    count, groups = len(own), len(np.unique(own))
    share = 0.0
    if count > groups > 1:
        within = sum(np.abs(z - z.mean()) @ np.abs(z - z.mean()) for z in _parts(doubled, own))
        total = (np.abs(doubled - doubled.mean()) ** 2).sum()
        share = max(0.0, 1 - (within / (count - groups)) / (total / (count - 1)))
    row = {"what": "all clusters", "nuisance": "direction", "measure": "share of variance"}
    row |= {"value": share, "p": np.nan, "explained": share >= confounders.EXPLAINS_SHARE}
    return pd.concat([table, pd.DataFrame([row])], ignore_index=True)


def _parts(values: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    return [values[groups == group] for group in np.unique(groups)]


def _axis(image: np.ndarray) -> tuple[float, float, float]:
    """Returns angle, strength and length of one picture's thing."""
    grey = np.nan_to_num(image.astype(np.float64)).mean(axis=2)
    weight = np.abs(grey - _background(grey))
    total = weight.sum()
    if not total > 0:
        return 0.0, 0.0, 0.0
    rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]]
    x, y = columns - (columns * weight).sum() / total, (rows * weight).sum() / total - rows
    xx, yy, xy = ((a * b * weight).sum() / total for a, b in ((x, x), (y, y), (x, y)))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) % np.pi
    along = (x * np.cos(angle) + y * np.sin(angle))[weight > 0.1 * weight.max()]
    strength = np.hypot(xx - yy, 2 * xy) / max(xx + yy, 1e-12)
    return angle, strength, np.ptp(along) + 1


def _level(image: np.ndarray, angle: float, length: float) -> np.ndarray:
    height, width, channels = image.shape
    scale = min(1.0, MARGIN * width / max(length, 1.0))
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -np.degrees(angle), scale)
    fill = [float(_background(image[..., i])) for i in range(channels)]
    turned = cv2.warpAffine(
        image,
        turn,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=fill,
    )
    return turned.reshape(image.shape)


def _background(grey: np.ndarray) -> float:
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])))
