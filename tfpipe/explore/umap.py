"""Maps of embeddings: UMAP fitted on the training split, how far to trust it, and its clusters."""

import warnings

import numpy as np
from sklearn.cluster import HDBSCAN
from sklearn.manifold import trustworthiness

NEIGHBOURS, MIN_DIST = 15, 0.1  # McInnes et al. (2018), arXiv:1802.03426, and umap-learn's own
MOST_FITTED = 20_000  # points a map is fitted to
MOST_JUDGED = 2_000  # points whose neighbourhoods are compared: that takes their number squared
LEAST_CLUSTER, CLUSTER_SHARE = 10, 0.01  # pictures of the smallest cluster, and share of all


def fit(embedding: np.ndarray, *, seed: int):
    """Returns a `umap.UMAP` fitted to some embeddings [n, d] float; `placed` applies it.

    Of more than `MOST_FITTED` it takes a random choice. The same seed gives the same map, which
    costs umap-learn its threads.
    """
    import umap  # seconds, for it compiles

    few = chosen(len(embedding), most=MOST_FITTED, seed=seed)
    mapper = umap.UMAP(
        n_neighbors=min(NEIGHBOURS, len(few) - 1),
        min_dist=MIN_DIST,
        # Spectral initialisation has no solution for next to no points.
        init="spectral" if len(few) > 4 * NEIGHBOURS else "random",
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        # Clusters far apart are what a map is to show.
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)
        return mapper.fit(embedding[few])


def placed(mapper, embedding: np.ndarray) -> np.ndarray:
    """Returns where a fitted map puts embeddings [n, d], [n, 2] float32."""
    return np.asarray(mapper.transform(embedding), np.float32)


def trust(embedding: np.ndarray, places: np.ndarray, *, seed: int) -> float:
    """Returns the trustworthiness 0..1 of a map: whether neighbours on it are neighbours.

    Venna & Kaski (2001), as scikit-learn has it, of at most `MOST_JUDGED` points.

    Args:
      embedding: [n, d] float.
      places: [n, 2] float.
      seed: of the choice of points.

    Returns:
      The trustworthiness, or nan of fewer than five points.
    """
    few = chosen(len(embedding), most=MOST_JUDGED, seed=seed)
    around = min(NEIGHBOURS, (len(few) - 1) // 2)
    if around < 2:
        return float("nan")
    return float(trustworthiness(embedding[few], places[few], n_neighbors=around))


def clusters(places: np.ndarray) -> np.ndarray:
    """Returns the cluster [n] int of each place [n, 2], by HDBSCAN; -1 for none.

    Campello et al. (2013), doi:10.1007/978-3-642-37456-2_14. Numbered by falling size.
    """
    least = max(LEAST_CLUSTER, round(CLUSTER_SHARE * len(places)))
    if len(places) <= least:
        return np.full(len(places), -1)
    found = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(places)
    sizes = np.bincount(found[found >= 0])
    number = np.argsort(np.argsort(-sizes, kind="stable"))
    return np.where(found >= 0, number[found] if len(sizes) else -1, -1)


def chosen(count: int, *, most: int, seed: int) -> np.ndarray:
    """Returns rising row numbers [at most `most`] int of `count` rows, drawn without repeats."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
