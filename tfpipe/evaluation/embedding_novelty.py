"""Novelty of images by embedding: whether a network takes one for any of its training images.

An image is described by the network's embedding of it and by the measures of `image_novelty`: what
is even or black may be embedded amid ordinary images, and what has their texture and light may be
embedded far from them. The training images of each class are a normal distribution of these
numbers (Lee et al. 2018, arXiv:1807.03888, but each class has a covariance of its own), shrunk
(Ledoit & Wolf 2004). The score of an image is the negative logarithm of its density in the nearest
class. New is an image whose score is higher than that of 98 of 100 validation images.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.utils.extmath import randomized_svd

from tfpipe.evaluation import image_novelty

# Of validation images, each group counting alike. At most 5 of 100 are to be called new in groups
# that are neither of the training nor of the validation split. With 95 it was 5 to 8, with 97 up to
# 6, with 98 up to 4.6, over other draws of one to three validation groups of four drawn samples.
QUANTILE = 0.98
MAX_FITTED = 5_000  # images, at random, that principal components are fitted to
LENGTH = 64  # principal components of a longer embedding; what they leave out is one more number
MIN_IMAGES = 50  # of each split, under which the scores of ordinary images are not known
MIN_OF_CLASS = 20  # images of a class with a distribution of its own; others share one
FLOOR = 0.1  # of the deviation within classes, added to a class's: it may not vary in a number
MIN_VARIANCE = 1e-3  # in any direction, of numbers scaled to a deviation of 1 or less
_SMALL = 1e-4  # of a share, before its logarithm
_SHARES = np.linspace(0, 1, 101)


class DescribedImages(NamedTuple):
    """What images are described by.

    Attributes:
      embedding: [n, d] float32, the network's.
      measures: [n, measures] float, by `image_novelty.measure`.
    """

    embedding: np.ndarray
    measures: np.ndarray


@dataclass(frozen=True)
class EmbeddingStatistics:
    """Distribution of ordinary images in an embedding.

    Attributes:
      center: [d], mean embedding.
      components: [d, k], principal components; k is 0 where the embedding is taken as it is.
      means: [classes, numbers], of the numbers that describe an image.
      roots: [classes, numbers, numbers], of the inverse covariances.
      constants: [classes], logarithms of the determinants of the covariances.
      quantiles: [101], scores of validation images at 0, 1, ... 100 %.
      ignores_exposure: whether brightness and contrast do not count, as cameras vary.
    """

    center: np.ndarray
    components: np.ndarray
    means: np.ndarray
    roots: np.ndarray
    constants: np.ndarray
    quantiles: np.ndarray
    ignores_exposure: bool

    @property
    def limit(self) -> float:
        """Score beyond which an image is new."""
        return float(np.interp(QUANTILE, _SHARES, self.quantiles))


def describe(
    images: np.ndarray, embedding: np.ndarray, *, ignores_exposure: bool
) -> DescribedImages:
    """Returns what images [n, height, width, channels] and embeddings [n, ...] describe."""
    measures = image_novelty.measure(images, ignores_exposure=ignores_exposure)
    return DescribedImages(embedding.reshape(len(embedding), -1).astype(np.float32), measures)


def join(parts: Iterable[DescribedImages]) -> DescribedImages | None:
    """Returns several parts as one; None for none."""
    pairs = list(parts)
    return DescribedImages(*map(np.concatenate, zip(*pairs, strict=True))) if pairs else None


def fit(
    training: DescribedImages | None,
    labels: np.ndarray,
    *,
    validation: DescribedImages | None,
    groups: np.ndarray,
    ignores_exposure: bool,
) -> EmbeddingStatistics | None:
    """Returns the statistics of ordinary images, None if these are too few.

    Args:
      training: images of the training split.
      labels: [n] int, theirs; -1 counts as a class.
      validation: images of the validation split.
      groups: [m], theirs.
      ignores_exposure: see `EmbeddingStatistics`.
    """
    if training is None or validation is None:
        return None
    if min(len(training.embedding), len(validation.embedding)) < MIN_IMAGES:
        return None
    center = training.embedding.mean(axis=0, dtype=np.float64)
    components = _components(training.embedding, center)
    numbers = _numbers(training, center, components)
    classes = _large_classes(labels)
    parts = [numbers[classes == name] for name in np.unique(classes)]
    within = sum(len(part) * part.var(axis=0) for part in parts) / len(numbers)
    floor = FLOOR * np.sqrt(within)
    floor[floor < 1e-6] = 1
    fitted = [_fit_class(part, floor) for part in parts]
    means, roots, constants = (np.stack(values) for values in zip(*fitted, strict=True))
    statistics = EmbeddingStatistics(
        center, components, means, roots, constants, np.zeros(len(_SHARES)), ignores_exposure
    )
    scores = score(validation, statistics)
    quantiles = _grouped_quantiles(scores, groups)
    return EmbeddingStatistics(
        center, components, means, roots, constants, quantiles, ignores_exposure
    )


def score(images: DescribedImages, statistics: EmbeddingStatistics) -> np.ndarray:
    """Returns how new each image is, [n] float; higher is more novel."""
    numbers = _numbers(images, statistics.center, statistics.components)
    by_class = [
        np.square((numbers - mean) @ root).sum(axis=1) + constant
        for mean, root, constant in zip(
            statistics.means, statistics.roots, statistics.constants, strict=True
        )
    ]
    return np.nan_to_num(np.min(by_class, axis=0), nan=np.inf, posinf=np.inf)


def share_below(scores: np.ndarray, statistics: EmbeddingStatistics) -> np.ndarray:
    """Returns the share of validation images [n] that are less new than each score [n]."""
    return np.interp(scores, statistics.quantiles, _SHARES)


def _components(embedding: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Returns the first principal components [d, k] of embeddings [n, d]; k is 0 for short ones."""
    if len(center) <= LENGTH:
        return np.zeros((len(center), 0))
    rows = np.random.default_rng(0).permutation(len(embedding))[:MAX_FITTED]
    centred = embedding[rows] - center.astype(embedding.dtype)
    # Not sklearn.decomposition.PCA, which warns where all embeddings are the same.
    _, _, components = randomized_svd(
        centred,
        min(LENGTH, len(rows)),
        n_iter=4,
        power_iteration_normalizer="QR",
        random_state=0,
    )
    return components.T.astype(np.float64)


def _numbers(images: DescribedImages, center: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Returns the numbers [n, numbers] that describe images."""
    centred = images.embedding - center
    if not components.shape[1]:
        return np.concatenate([centred, images.measures], axis=1)
    inside = centred @ components
    # What the components leave out is as telling as what they hold (Wang et al. 2022,
    # arXiv:2203.10807).
    whole = np.einsum("nd,nd->n", centred, centred)[:, None]
    outside = np.maximum(whole - (inside**2).sum(axis=1, keepdims=True), 0)
    outside = np.log(outside / np.maximum(whole, 1e-12) + _SMALL)
    return np.concatenate([inside, outside, images.measures], axis=1)


def _large_classes(labels: np.ndarray) -> np.ndarray:
    """Returns labels [n] int in which those of few images are one class."""
    names, indices, counts = np.unique(labels, return_inverse=True, return_counts=True)
    is_small = counts < MIN_OF_CLASS
    if counts[is_small].sum() < MIN_OF_CLASS and not is_small.all():
        is_small = is_small & False  # too few together: each keeps a distribution that is shrunk
    return np.where(is_small[indices], names.max() + 1, labels)


def _fit_class(numbers: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns mean, root of the inverse covariance, and logarithm of the determinant of a class."""
    mean, scale = numbers.mean(axis=0), numbers.std(axis=0) + floor
    covariance = LedoitWolf(assume_centered=True).fit((numbers - mean) / scale).covariance_
    variances, directions = np.linalg.eigh(covariance)
    variances = np.maximum(variances, MIN_VARIANCE)
    root = directions / np.sqrt(variances) / scale[:, None]
    return mean, root, float(np.log(variances).sum() + 2 * np.log(scale).sum())


def _grouped_quantiles(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns the quantiles [101] of scores [n], each group counting alike."""
    _, indices, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(scores)
    weights = (1 / counts[indices])[order]
    places = (np.cumsum(weights) - weights / 2) / weights.sum()
    return np.interp(_SHARES, places, scores[order])
