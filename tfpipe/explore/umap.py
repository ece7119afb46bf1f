"""Maps of embeddings: UMAP fitted on the training split, its trustworthiness, and clusters."""

import warnings

import numpy as np
from sklearn.cluster import HDBSCAN
from sklearn.manifold import trustworthiness

NEIGHBOURS, MIN_DIST = 15, 0.1  # defaults of McInnes et al. (2018), arXiv:1802.03426
MAX_FITTED = 20_000  # points a map is fitted to
MAX_COMPARED = 2_000  # points whose neighbourhoods are compared; the work grows with the square
MIN_CLUSTER_SIZE, MIN_CLUSTER_SHARE = 10, 0.01  # images of the smallest cluster, and share of all


def fit(embedding: np.ndarray, *, seed: int):
    """Returns a `umap.UMAP` fitted to embeddings [n, d] float; `placed` applies it.

    Of more than `MAX_FITTED` embeddings it takes a random sample. The same seed gives the same map,
    and umap-learn then uses a single thread.
    """
    import umap  # takes seconds, as it compiles

    rows = sample_rows(len(embedding), most=MAX_FITTED, seed=seed)
    mapper = umap.UMAP(
        n_neighbors=min(NEIGHBOURS, len(rows) - 1),
        min_dist=MIN_DIST,
        # Spectral initialisation has no solution for very few points.
        init="spectral" if len(rows) > 4 * NEIGHBOURS else "random",
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        # Separate clusters are what a map is to show.
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)
        return mapper.fit(embedding[rows])


def placed(mapper, embedding: np.ndarray) -> np.ndarray:
    """Returns the places of embeddings [n, d] on a fitted map, [n, 2] float32."""
    return np.asarray(mapper.transform(embedding), np.float32)


def trust(embedding: np.ndarray, places: np.ndarray, *, seed: int) -> float:
    """Returns the trustworthiness 0..1 of a map: whether neighbours on it are neighbours.

    Venna & Kaski (2001), by scikit-learn, of at most `MAX_COMPARED` points.

    Args:
      embedding: [n, d] float.
      places: [n, 2] float.
      seed: of the sample of points.

    Returns:
      The trustworthiness, or nan of fewer than five points.
    """
    rows = sample_rows(len(embedding), most=MAX_COMPARED, seed=seed)
    n_neighbours = min(NEIGHBOURS, (len(rows) - 1) // 2)
    if n_neighbours < 2:
        return float("nan")
    return float(trustworthiness(embedding[rows], places[rows], n_neighbors=n_neighbours))


def clusters(places: np.ndarray) -> np.ndarray:
    """Returns the cluster [n] int of each place [n, 2], by HDBSCAN; -1 for none.

    Campello et al. (2013), doi:10.1007/978-3-642-37456-2_14. Numbered by falling size.
    """
    min_size = max(MIN_CLUSTER_SIZE, round(MIN_CLUSTER_SHARE * len(places)))
    if len(places) <= min_size:
        return np.full(len(places), -1)
    labels = HDBSCAN(min_cluster_size=min_size, copy=True).fit_predict(places)
    sizes = np.bincount(labels[labels >= 0])
    number = np.argsort(np.argsort(-sizes, kind="stable"))
    return np.where(labels >= 0, number[labels] if len(sizes) else -1, -1)


def sample_rows(count: int, *, most: int, seed: int) -> np.ndarray:
    """Returns rising row numbers [at most `most`] int of `count` rows, drawn without repeats."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
