"""Novelty scores: how new an image is to a model, from plain arrays; higher is more novel."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

# Sun et al. take 50 of 50,000 training images; labelled particles are a few hundred.
NEIGHBOURS = 10
MIN_REFERENCE = NEIGHBOURS + 1
N_FIRST = 100  # images of a ranking that a user would look at


class ModelOutputs(NamedTuple):
    """Outputs of models for some images.

    Attributes:
      embedding: [n, d] float, of a classifier, or an autoencoder's code.
      logits: [n, classes] float, of a classifier, before the softmax; or None.
      error: [n] float, an autoencoder's mean squared error; or None.
    """

    embedding: np.ndarray
    logits: np.ndarray | None = None
    error: np.ndarray | None = None


def scores(
    outputs: ModelOutputs, is_reference: np.ndarray, *, labels: np.ndarray, places: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns all scores that the outputs allow, by name, [n] float; higher is more novel.

    Args:
      outputs: of models for the images.
      is_reference: [n] bool, the images that others are compared with: the labelled training
        images, at least `MIN_REFERENCE`. They are scored as well, but none is its own neighbour.
      labels: [n] int; -1 for unlabelled.
      places: [n, 2] float, of the images on a map.

    Returns:
      The scores, and last the mean of their ranks.
    """
    columns = {}
    if outputs.logits is not None:
        probabilities = softmax(outputs.logits, axis=1)
        if probabilities.shape[1] > 2:
            columns["median_score"] = median_score(probabilities)
        columns["low_maximum"] = low_maximum(probabilities)
        columns["energy"] = energy(outputs.logits)
    columns["mahalanobis"] = mahalanobis(outputs.embedding, is_reference, labels=labels)
    columns["neighbours"] = neighbour_distance(unit(outputs.embedding), is_reference)
    if outputs.error is not None:
        columns["autoencoder_loss"] = outputs.error
    columns["map_outlier"] = neighbour_distance(places, is_reference)
    return columns | {"mean_rank": mean_rank(list(columns.values()))}


def median_score(probabilities: np.ndarray) -> np.ndarray:
    """Returns the median of each image's probabilities [n] (seed document 000).

    A certain classifier gives all classes but the predicted one next to nothing. Of two classes the
    median is always 1/2.

    Args:
      probabilities: [n, classes] float.
    """
    return np.median(probabilities, axis=1)


def low_maximum(probabilities: np.ndarray) -> np.ndarray:
    """Returns 1 - the highest probability [n] (Hendrycks & Gimpel 2017, arXiv:1610.02136)."""
    return 1 - probabilities.max(axis=1)


def energy(logits: np.ndarray) -> np.ndarray:
    """Returns the energy [n] of logits [n, classes] at temperature 1.

    Liu et al. (2020), arXiv:2010.03759, eq. 4. Log-probabilities will not do: their energy is
    always 0.
    """
    return -logsumexp(logits, axis=1)


def mahalanobis(
    embedding: np.ndarray, is_reference: np.ndarray, *, labels: np.ndarray
) -> np.ndarray:
    """Returns the squared Mahalanobis distance [n] to the nearest class.

    Lee et al. (2018), arXiv:1807.03888, eq. 1 and 2: a mean for each class, one covariance for all.
    The covariance is shrunk (Ledoit & Wolf 2004), as there may be fewer images than dimensions.

    Args:
      embedding: [n, d] float.
      is_reference: [n] bool, the images that means and covariance are estimated from.
      labels: [n] int; -1 counts as a class.
    """
    classes, indices = np.unique(labels[is_reference], return_inverse=True)
    points = embedding.astype(np.float64)
    reference = points[is_reference]
    means = np.stack([reference[indices == i].mean(axis=0) for i in range(len(classes))])
    centred = reference - means[indices]
    # Shrinkage is towards equal variances, so all dimensions are scaled to a deviation of 1 first.
    scale = centred.std(axis=0)
    scale[scale == 0] = 1
    estimate = LedoitWolf(assume_centered=True).fit(centred / scale)
    return np.min([estimate.mahalanobis((points - mean) / scale) for mean in means], axis=0)


def neighbour_distance(points: np.ndarray, is_reference: np.ndarray) -> np.ndarray:
    """Returns the distance [n] to the `NEIGHBOURS`th nearest reference point.

    Sun et al. (2022), arXiv:2204.06507, eq. 3, for `unit` embeddings [n, d]. For places on a map it
    finds outliers of the map (seed document 000).
    """
    return neighbours(points, is_reference, count=NEIGHBOURS)[0][:, -1]


def neighbours(
    points: np.ndarray, is_reference: np.ndarray, *, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns distances and rows of the nearest reference points; none is its own neighbour.

    Args:
      points: [n, d] float.
      is_reference: [n] bool, more than `count` of them True.
      count: neighbours of each point.

    Returns:
      [n, count] float, rising, and [n, count] int, rows of `points`.
    """
    rows = np.flatnonzero(is_reference)
    search = NearestNeighbors(n_neighbors=count).fit(points[rows])
    distances, indices = np.zeros((len(points), count)), np.zeros((len(points), count), int)
    distances[rows], indices[rows] = search.kneighbors()
    others = np.flatnonzero(~is_reference)
    if len(others):
        distances[others], indices[others] = search.kneighbors(points[others])
    return distances, rows[indices]


def unit(embedding: np.ndarray) -> np.ndarray:
    """Returns each row [n, d] at length 1; rows of zeros stay."""
    lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
    return embedding / np.where(lengths > 0, lengths, 1)


def mean_rank(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the mean of the ranks [n] in 0..1 that several scores [n] give (Borda's count)."""
    return np.mean([rankdata(score) / len(score) for score in scores], axis=0)


def ranking_quality(is_novel: np.ndarray, score: np.ndarray) -> dict[str, float | int]:
    """Returns how well a score finds novel images.

    Args:
      is_novel: [n] bool, at least one True and one False.
      score: [n] float.

    Returns:
      "auroc"; "precision_at_100", the share of novel images among the first hundred, or among as
      many as are novel if these are fewer; "n_novel" and "n_other".
    """
    first = np.argsort(-score, kind="stable")[: min(N_FIRST, int(is_novel.sum()))]
    return {
        "auroc": float(roc_auc_score(is_novel, score)),
        "precision_at_100": float(is_novel[first].mean()),
        "n_novel": int(is_novel.sum()),
        "n_other": int((~is_novel).sum()),
    }
