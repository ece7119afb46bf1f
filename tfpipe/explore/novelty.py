"""How new a picture is to a model: scores of plain arrays, higher for what is newer."""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 10  # Sun et al. take 50 of 50,000 training pictures; labelled particles are hundreds
LEAST_KNOWN = NEIGHBOURS + 1
FIRST = 100  # of a ranking, that a user would look at


class Seen(NamedTuple):
    """What models make of some pictures.

    Attributes:
      embedding: [n, d] float, of a classifier, or an autoencoder's code.
      logits: [n, classes] float, a classifier's, before the softmax; or None.
      error: [n] float, an autoencoder's mean squared error; or None.
    """

    embedding: np.ndarray
    logits: np.ndarray | None = None
    error: np.ndarray | None = None


def scores(
    seen: Seen, known: np.ndarray, *, labels: np.ndarray, places: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns every score that can be had, by name, [n] float each; higher is newer.

    Args:
      seen: what models make of the pictures.
      known: [n] bool, those that a picture is new against: the labelled ones learnt from, at least
        `LEAST_KNOWN`. They are scored, too, but none is its own neighbour.
      labels: [n] int; -1 where there is none.
      places: [n, 2] float, where the pictures are on a map.

    Returns:
      The scores, and last the mean of their ranks.
    """
    found = {}
    if seen.logits is not None:
        likely = softmax(seen.logits, axis=1)
        if likely.shape[1] > 2:
            found["median_score"] = median_score(likely)
        found["low_maximum"] = low_maximum(likely)
        found["energy"] = energy(seen.logits)
    found["mahalanobis"] = mahalanobis(seen.embedding, known, labels=labels)
    found["neighbours"] = neighbour_distance(unit(seen.embedding), known)
    if seen.error is not None:
        found["autoencoder_loss"] = seen.error
    found["map_outlier"] = neighbour_distance(places, known)
    return found | {"mean_rank": mean_rank(list(found.values()))}


def median_score(probabilities: np.ndarray) -> np.ndarray:
    """Returns the median of each picture's class scores [n] (seed 000), of [n, classes] float.

    A sure classifier gives all but one class next to nothing. Of two classes it is always 1/2.
    """
    return np.median(probabilities, axis=1)


def low_maximum(probabilities: np.ndarray) -> np.ndarray:
    """Returns 1 - the highest class score [n] (Hendrycks & Gimpel 2017, arXiv:1610.02136)."""
    return 1 - probabilities.max(axis=1)


def energy(logits: np.ndarray) -> np.ndarray:
    """Returns the energy [n] of logits [n, classes] at temperature 1.

    Liu et al. (2020), arXiv:2010.03759, eq. 4. Not of log-probabilities, whose energy is always 0.
    """
    return -logsumexp(logits, axis=1)


def mahalanobis(embedding: np.ndarray, known: np.ndarray, *, labels: np.ndarray) -> np.ndarray:
    """Returns the squared Mahalanobis distance [n] to the nearest class.

    Lee et al. (2018), arXiv:1807.03888, eq. 1 and 2: a mean for each class, one covariance for all;
    here shrunk (Ledoit & Wolf 2004), for there may be fewer pictures than numbers in an embedding.

    Args:
      embedding: [n, d] float.
      known: [n] bool, those that means and covariance are of.
      labels: [n] int; -1 counts as a class of its own.
    """
    classes, places = np.unique(labels[known], return_inverse=True)
    points = embedding.astype(np.float64)
    own = points[known]
    means = np.stack([own[places == i].mean(axis=0) for i in range(len(classes))])
    # Shrinking is towards equal variances, so each number is first brought to its own deviation.
    scale = (own - means[places]).std(axis=0)
    scale[scale == 0] = 1
    estimate = LedoitWolf(assume_centered=True).fit((own - means[places]) / scale)
    return np.min([estimate.mahalanobis((points - mean) / scale) for mean in means], axis=0)


def neighbour_distance(points: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns the distance [n] to the `NEIGHBOURS`th nearest known point.

    Sun et al. (2022), arXiv:2204.06507, eq. 3, where points [n, d] are `unit` embeddings; on a map
    it tells outliers there (seed 000).
    """
    return neighbours(points, known, count=NEIGHBOURS)[0][:, -1]


def neighbours(
    points: np.ndarray, known: np.ndarray, *, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns distances and rows of the nearest known points, none its own neighbour.

    Args:
      points: [n, d] float.
      known: [n] bool, more than `count`.
      count: neighbours of each.

    Returns:
      [n, count] float, rising, and [n, count] int, rows of `points`.
    """
    rows = np.flatnonzero(known)
    search = NearestNeighbors(n_neighbors=count).fit(points[rows])
    distances, found = np.zeros((len(points), count)), np.zeros((len(points), count), int)
    distances[rows], found[rows] = search.kneighbors()
    others = np.flatnonzero(~known)
    if len(others):
        distances[others], found[others] = search.kneighbors(points[others])
    return distances, rows[found]


def unit(embedding: np.ndarray) -> np.ndarray:
    """Returns each row [n, d] at length 1; rows of zeros stay."""
    lengths = np.linalg.norm(embedding, axis=1, keepdims=True)
    return embedding / np.where(lengths > 0, lengths, 1)


def mean_rank(each: list[np.ndarray]) -> np.ndarray:
    """Returns the mean of the ranks [n] in 0..1 that several scores [n] give (Borda's count)."""
    return np.mean([rankdata(score) / len(score) for score in each], axis=0)


def measured(novel: np.ndarray, score: np.ndarray) -> dict[str, float | int]:
    """Returns how well a score finds what is new.

    Args:
      novel: [n] bool, at least one of either kind.
      score: [n] float.

    Returns:
      "auroc"; "precision_at_100", the share of new ones among the first hundred, or among as many
      as there are new ones where these are fewer; "novel" and "known", counts.
    """
    first = np.argsort(-score, kind="stable")[: min(FIRST, int(novel.sum()))]
    return {
        "auroc": float(roc_auc_score(novel, score)),
        "precision_at_100": float(novel[first].mean()),
        "novel": int(novel.sum()),
        "known": int((~novel).sum()),
    }
