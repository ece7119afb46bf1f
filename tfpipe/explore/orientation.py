"""Orientation: the principal axis of a particle, and images turned to the same direction.

The clusters of seed document 001 were "based on directions at best". A direction says nothing of a
track, as the camera might have been mounted another way. A principal axis points both ways, so its
angle is axial: it is the same after half a turn. Axial data are treated by twice the angle (Mardia
& Jupp 2000, section 9.4).
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from tfpipe.explore import confounders

N_SECTORS = 10  # of half a turn
MIN_STRENGTH = 0.1  # of an axis that counts as a direction
NO_SECTOR = "no direction"
MAX_LENGTH_SHARE = 0.98  # of the image's width, that a turned particle may take


class Axes(NamedTuple):
    """The principal axis of the particle in each image, arrays [n].

    Attributes:
      angle_rad: from 0 along the rows to pi, counter-clockwise on the screen.
      strength: from 0 for a round particle to 1 for a line.
      length_px: of the particle, along the axis.
    """

    angle_rad: np.ndarray
    strength: np.ndarray
    length_px: np.ndarray


def axes(images: np.ndarray) -> Axes:
    """Returns the principal axes of images [n, height, width, channels], by second moments.

    The weight of a pixel is its difference from the background, the median of the border.
    """
    return Axes(*np.array([_axis(image) for image in images], float).reshape(-1, 3).T)


def sectors(axes: Axes) -> np.ndarray:
    """Returns the sector of each axis [n] str, and `NO_SECTOR` for round particles.

    Sectors are of twice the angle, so that 1 and 179 degrees are neighbours.
    """
    doubled = np.arctan2(np.sin(2 * axes.angle_rad), np.cos(2 * axes.angle_rad)) % (2 * np.pi)
    numbers = np.floor(doubled / (2 * np.pi) * N_SECTORS).astype(int) % N_SECTORS
    width = 180 // N_SECTORS
    names = np.array([f"{i * width}-{(i + 1) * width} degrees" for i in range(N_SECTORS)])
    return np.where(axes.strength < MIN_STRENGTH, NO_SECTOR, names[numbers])


def normalize(images: np.ndarray) -> np.ndarray:
    """Returns images [n, height, width, channels] turned so that particles lie along the rows.

    A particle that would then reach over the sides is made smaller. The axis does not determine
    which end is left, nor which side is up.
    """
    if not len(images):
        return images
    angles, _, lengths = axes(images)
    return np.stack(
        [
            _turn(image, angle, length)
            for image, angle, length in zip(images, angles, lengths, strict=True)
        ]
    )


def explained(clusters: np.ndarray, axes: Axes, *, seed: int = 0) -> pd.DataFrame:
    """Returns how well direction alone separates each cluster, and all clusters together.

    Args:
      clusters: [n] int; -1 for none.
      axes: of the images.
      seed: of the test's halves and permutations.

    Returns:
      The rows of `confounders.of_clusters` for the nuisance "direction", and a row "all clusters".
      Its "value" is the share of the variance of (cos, sin) of twice the angle that lies between
      clusters, less what as many clusters would take by chance. It uses the images in a cluster
      that have a direction.
    """
    table = confounders.of_clusters(clusters, {"direction": sectors(axes)}, seed=seed)
    has_direction = (clusters >= 0) & (axes.strength >= MIN_STRENGTH)
    doubled = np.exp(2j * axes.angle_rad[has_direction])
    groups = clusters[has_direction]
    n_examples, n_groups = len(groups), len(np.unique(groups))
    share = 0.0
    if n_examples > n_groups > 1:
        within = sum(
            np.abs(z - z.mean()) @ np.abs(z - z.mean()) for z in _parts(doubled, groups)
        ) / (n_examples - n_groups)
        total = (np.abs(doubled - doubled.mean()) ** 2).sum() / (n_examples - 1)
        share = max(0.0, 1 - within / total)
    row: dict[str, Any] = {
        "what": "all clusters",
        "nuisance": "direction",
        "measure": "share of variance",
        "value": share,
        "p": np.nan,
        "explained": share >= confounders.EXPLAINS_SHARE,
    }
    return pd.concat([table, pd.DataFrame([row])], ignore_index=True)


def _parts(values: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    return [values[groups == group] for group in np.unique(groups)]


def _axis(image: np.ndarray) -> tuple[float, float, float]:
    """Returns angle, strength and length of the particle in an image."""
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


def _turn(image: np.ndarray, angle: float, length: float) -> np.ndarray:
    """Returns an image turned by -angle, smaller if its particle would be cut."""
    height, width, channels = image.shape
    scale = min(1.0, MAX_LENGTH_SHARE * width / max(length, 1.0))
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, -np.degrees(angle), scale)
    fill = [float(_background(image[..., i])) for i in range(channels)]
    turned = cv2.warpAffine(
        image,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=fill,
    )
    return turned.reshape(image.shape)


def _background(grey: np.ndarray) -> float:
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])))
