"""Choice of the images to label: diverse ones of which the model is not certain, of every group.

Of each group, the least certain images are clustered in the embedding, and the image nearest to the
middle of each cluster is chosen (diverse mini-batch active learning: Zhdanov 2019,
arXiv:1901.05954). The least certain alone would be near-copies of one another.
"""

from collections.abc import Callable, Collection

import numpy as np
from sklearn.cluster import KMeans

CANDIDATES = 10  # times as many images are clustered as are chosen
MAX_LENGTH = 64  # of an embedding that is clustered; longer ones are projected


def divide_groups(
    groups: np.ndarray,
    *,
    share: float,
    rng: np.random.Generator,
    trained: Collection[str] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the names of the groups to train on and of those to test on, one at least of each.

    Args:
      groups: [n], of each image; two names at least.
      share: of the groups to test on.
      rng: random numbers.
      trained: names of groups that are to train on; not all.
    """
    names = rng.permutation(np.unique(groups))
    n_test = min(max(1, round(share * len(names))), len(names) - 1)
    free = np.array([name not in trained for name in names])
    test = names[free][:n_test]
    return names[~np.isin(names, test)], test


def quotas(groups: np.ndarray, count: int, preference: Callable[[str], float]) -> dict[str, int]:
    """Returns group -> images to choose of it: equal numbers, as far as groups are large enough.

    Args:
      groups: [n], of each image.
      count: images to choose in all.
      preference: of a group; the groups of the highest get what cannot be divided equally.
    """
    names, sizes = np.unique(groups, return_counts=True)
    order = np.argsort([-preference(name) for name in names], kind="stable")
    names, sizes = names[order], sizes[order]
    chosen = np.zeros(len(names), int)
    while chosen.sum() < min(count, len(groups)):
        # The smallest first: what they lack goes to the others.
        open_groups = np.flatnonzero(chosen < sizes)
        left = count - int(chosen.sum())
        extra = max(1, left // len(open_groups))
        for i in open_groups[:left]:
            chosen[i] += min(extra, sizes[i] - chosen[i])
    return dict(zip(names.tolist(), chosen.tolist(), strict=True))


def choose_to_train(
    embedding: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    *,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns the rows of diverse images that a model is not certain of, [count] int at most.

    Args:
      embedding: [n, d].
      probabilities: [n, classes].
      groups: [n]; none has more than its part. Of more groups than images to choose, each is
        represented by its least certain image.
      count: images to choose.
      rng: random numbers.
    """
    ordered = np.sort(probabilities, axis=1)
    uncertainty = 1 - (ordered[:, -1] - ordered[:, -2])
    points = _standardized(embedding, rng)
    if len(np.unique(groups)) > count:
        order = np.argsort(-uncertainty, kind="stable")
        one_each = order[np.sort(np.unique(groups[order], return_index=True)[1])]
        return _diverse(one_each[: CANDIDATES * count], points, uncertainty, count=count, rng=rng)
    rows = []
    means = {name: uncertainty[groups == name].mean() for name in np.unique(groups)}
    for name, quota in quotas(groups, count, means.__getitem__).items():
        inside = np.flatnonzero(groups == name)
        least_certain = inside[np.argsort(-uncertainty[inside], kind="stable")]
        rows.append(
            _diverse(least_certain[: CANDIDATES * quota], points, uncertainty, count=quota, rng=rng)
        )
    return np.concatenate(rows)


def choose_to_test(groups: np.ndarray, *, count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns rows at random, [count] int at most: a score of others would be no fair one.

    Args:
      groups: [n], of each image.
      count: images to choose.
      rng: random numbers.
    """
    rows = [
        rng.permutation(np.flatnonzero(groups == name))[:quota]
        for name, quota in quotas(groups, count, lambda name: rng.random()).items()
    ]
    return np.concatenate(rows)


def _standardized(embedding: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    points = embedding.reshape(len(embedding), -1).astype(np.float64)
    scale = points.std(axis=0)
    points = (points - points.mean(axis=0)) / np.where(scale > 0, scale, 1)
    if points.shape[1] > MAX_LENGTH:  # random directions keep distances
        points = points @ rng.normal(size=(points.shape[1], MAX_LENGTH)) / np.sqrt(MAX_LENGTH)
    return points


def _diverse(
    rows: np.ndarray,
    points: np.ndarray,
    uncertainty: np.ndarray,
    *,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns the rows nearest to the middles of clusters that weigh uncertain images more."""
    if count >= len(rows) or not count:
        return rows[:count]
    weights = uncertainty[rows] + 1e-3
    seed = int(rng.integers(1 << 31))
    clusters = KMeans(count, n_init=1, random_state=seed).fit(points[rows], sample_weight=weights)
    distances = clusters.transform(points[rows])
    chosen: list[int] = []
    for cluster in range(count):
        order = np.argsort(distances[:, cluster], kind="stable")
        chosen.append(next(int(i) for i in order if i not in chosen))
    return rows[chosen]
