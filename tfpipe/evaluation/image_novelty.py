"""Novelty of images: whether one looks like those that a version was trained on, by its pixels.

A classifier names one of its classes for every image, often with a probability of 1. The statistics
here need no network: how bright and how even an image is, how its grey values are distributed, how
much they change from pixel to pixel, across and down. New is an image whose Mahalanobis distance
from the training split (Mahalanobis 1936; covariance by Ledoit & Wolf 2004) is larger than that of
99 of 100 images of the training and validation splits.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.covariance import LedoitWolf

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
SHIFT_PX = 4  # of coarse texture; fine texture is from pixel to pixel
FALSE_ALARMS = 0.01
MIN_IMAGES = 50  # under which the distances of ordinary images are not known
AT_ONCE = 32  # images that are measured together
_SMALL = 1e-3  # of a grey value, and of a ratio before its logarithm


@dataclass(frozen=True)
class NoveltyStatistics:
    """Distribution of the measures of ordinary images.

    Attributes:
      mean: [measures], of the training split.
      scale: [measures], deviations; never 0.
      precision: [measures][measures], inverse covariance of scaled measures.
      limit: distance beyond which an image is new.
      ignores_exposure: whether brightness and contrast do not count, as cameras vary.
      images: number of images that the limit rests on.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    limit: float
    ignores_exposure: bool
    images: int


def fit(
    training: Iterable[np.ndarray], validation: Iterable[np.ndarray], *, ignores_exposure: bool
) -> NoveltyStatistics | None:
    """Returns the statistics of ordinary images, None if these are too few.

    Args:
      training: batches of images [n, height, width, channels].
      validation: likewise.
      ignores_exposure: see `NoveltyStatistics`.
    """
    of_training, of_validation = (
        _measured(batches, ignores_exposure=ignores_exposure) for batches in (training, validation)
    )
    if len(of_training) < MIN_IMAGES:
        return None
    mean, scale = of_training.mean(axis=0), of_training.std(axis=0)
    scale[scale < 1e-6] = 1
    precision = LedoitWolf().fit((of_training - mean) / scale).get_precision()
    every = (np.concatenate([of_training, of_validation]) - mean) / scale
    return NoveltyStatistics(
        tuple(mean.tolist()),
        tuple(scale.tolist()),
        tuple(tuple(row) for row in precision.tolist()),
        float(np.quantile(_distance(every, precision), 1 - FALSE_ALARMS)),
        ignores_exposure,
        len(every),
    )


def is_new(images: np.ndarray, statistics: NoveltyStatistics) -> np.ndarray:
    """Returns whether each image [n, height, width, channels] is new, [n] bool."""
    measures = measure(images, ignores_exposure=statistics.ignores_exposure)
    scaled = (measures - np.array(statistics.mean)) / np.array(statistics.scale)
    return _distance(scaled, np.array(statistics.precision)) > statistics.limit


def measure(images: np.ndarray, *, ignores_exposure: bool) -> np.ndarray:
    """Returns the measures of images [n, height, width, channels], [n, measures] float64."""
    empty = np.zeros((0, count_measures(ignores_exposure=ignores_exposure)))
    parts = [
        _measure(images[i : i + AT_ONCE].astype(np.float32), ignores_exposure=ignores_exposure)
        for i in range(0, len(images), AT_ONCE)
    ]
    return np.concatenate([empty, *parts])


def _measured(batches: Iterable[np.ndarray], *, ignores_exposure: bool) -> np.ndarray:
    empty = np.zeros((0, count_measures(ignores_exposure=ignores_exposure)))
    parts = [measure(images, ignores_exposure=ignores_exposure) for images in batches]
    return np.concatenate([empty, *parts])


def count_measures(*, ignores_exposure: bool) -> int:
    """Returns the number of measures of an image."""
    return len(QUANTILES) + 8 + (0 if ignores_exposure else 2)


def _measure(pixels: np.ndarray, *, ignores_exposure: bool) -> np.ndarray:
    # Channel by channel: a sum over an axis of three is many times as slow.
    channels = np.moveaxis(pixels, 3, 0)
    grey = sum(channels[1:], start=channels[0]) / len(channels)
    brightness, contrast = _means(grey), grey.std(axis=(1, 2))
    even = (grey - brightness[:, None, None]) / (contrast[:, None, None] + _SMALL)
    ordered = np.sort(even.reshape(len(even), -1), axis=1)
    places = np.rint(np.array(QUANTILES) * (ordered.shape[1] - 1)).astype(int)
    edges = [even[:, 0], even[:, -1], even[:, :, 0], even[:, :, -1]]
    colour = sum(_means(np.abs(channel - grey)) for channel in channels) / len(channels)
    columns = [
        *ordered[:, places].T,
        *(_change(even, axis=axis, shift=shift) for shift in (1, SHIFT_PX) for axis in (1, 2)),
        even.mean(axis=2).std(axis=1),
        even.mean(axis=1).std(axis=1),
        np.concatenate(edges, axis=1).std(axis=1),
        colour / (contrast + 1),
    ]
    if not ignores_exposure:
        columns += [brightness, np.log(contrast + _SMALL)]
    return np.nan_to_num(np.stack(columns, axis=1).astype(np.float64))


def _change(even: np.ndarray, *, axis: int, shift: int) -> np.ndarray:
    """Returns the logarithm of the mean change over some pixels along an axis, [n]."""
    shift = min(shift, even.shape[axis] - 1)
    if not shift:
        return np.zeros(len(even))
    if axis == 1:
        change = even[:, shift:] - even[:, :-shift]
    else:
        change = even[:, :, shift:] - even[:, :, :-shift]
    return np.log(_means(np.abs(change)) + _SMALL)


def _means(values: np.ndarray) -> np.ndarray:
    """Returns the mean of each of [n, height, width] numbers."""
    return values.reshape(len(values), -1).mean(axis=1)


def _distance(scaled: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Returns the squared Mahalanobis distance [n] of scaled measures [n, measures]."""
    return np.einsum("ni,ij,nj->n", scaled, precision, scaled)
