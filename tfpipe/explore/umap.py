"""Maps of embeddings: UMAP fitted on the training split, its trustworthiness, and clusters."""

import warnings
from typing import Any

import numpy as np
from sklearn.cluster import HDBSCAN
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS, MIN_DIST = 15, 0.1  # defaults of McInnes et al. (2018), arXiv:1802.03426
EXACT = 100_000  # points a map is fitted to, and among which neighbours are exact
MOST_OF_A_CLASS = 32  # images of a class that a sample has before shares of groups count
EXACT_PRODUCTS = 4e12  # of an exact search, half a minute on two cores; more are approximate
ROWS_AT_ONCE = 4096  # whose distances to their neighbours are computed together
PLACED_AT_ONCE = 50_000  # of more, which are placed on a fitted map
MAX_COMPARED = 2_000  # points whose neighbourhoods are compared; the work grows with the square
MIN_CLUSTER_SIZE, MIN_CLUSTER_SHARE = 10, 0.01  # images of the smallest cluster, and share of all
MAX_SMOOTHED = 100  # neighbours that measure a place's density: each takes 16 bytes a point


def fit(embedding: np.ndarray, *, seed: int):
    """Returns a `umap.UMAP` fitted to embeddings [n, d] float; `placed` applies it.

    The same seed gives the same map, and umap-learn then uses a single thread.
    """
    import umap  # takes seconds, as it compiles

    n_neighbours = min(NEIGHBOURS, len(embedding) - 1)
    neighbours = {}
    if len(embedding) ** 2 * embedding.shape[1] <= EXACT_PRODUCTS:
        neighbours = _exact(embedding.astype(np.float32), n_neighbours=n_neighbours)
    mapper = umap.UMAP(
        **neighbours,
        n_neighbors=n_neighbours,
        min_dist=MIN_DIST,
        # Spectral initialisation has no solution for very few points.
        init="spectral" if len(embedding) > 4 * NEIGHBOURS else "random",
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        # Separate clusters are what a map is to show.
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)
        return mapper.fit(embedding)


def _exact(points: np.ndarray, *, n_neighbours: int) -> dict[str, Any]:
    """Returns arguments of `umap.UMAP`: the exact neighbours of points [n, d] float32.

    umap-learn's own search is approximate from 4,096 points on, and compiles for 20 s in each
    process, which numba cannot store.
    """
    from pynndescent import NNDescent

    search = NearestNeighbors(algorithm="brute").fit(points)

    class ExactIndex(NNDescent):
        """What `UMAP.transform` asks for the neighbours of new points."""

        _angular_trees = False

        def __init__(self):
            """Builds nothing."""

        def query(self, query_data, k=10, epsilon=0.1):
            rows = search.kneighbors(query_data, k, return_distance=False)
            # The search's own distances are off by rounding: a point would not be 0 from itself,
            # and UMAP takes the least distance above 0 for that of its nearest neighbour.
            distances = [
                np.linalg.norm(query_data[i : i + ROWS_AT_ONCE, None] - points[near], axis=2)
                for i in range(0, len(rows), ROWS_AT_ONCE)
                for near in [rows[i : i + ROWS_AT_ONCE]]
            ]
            return rows, np.concatenate(distances).astype(np.float32)

    index = ExactIndex()
    return {
        "precomputed_knn": (*index.query(points, n_neighbours), index),
        "force_approximation_algorithm": True,  # takes these of few points, too
    }


def placed(mapper, embedding: np.ndarray) -> np.ndarray:
    """Returns the places of embeddings [n, d] on a fitted map, [n, 2] float32."""
    size = len(embedding) if len(embedding) <= EXACT else PLACED_AT_ONCE
    parts = [mapper.transform(embedding[i : i + size]) for i in range(0, len(embedding), size)]
    return np.concatenate(parts).astype(np.float32)


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
    labels = HDBSCAN(
        min_cluster_size=min_size, min_samples=min(min_size, MAX_SMOOTHED), copy=True
    ).fit_predict(places)
    sizes = np.bincount(labels[labels >= 0])
    number = np.argsort(np.argsort(-sizes, kind="stable"))
    return np.where(labels >= 0, number[labels] if len(sizes) else -1, -1)


def sample_rows(count: int, *, most: int, seed: int) -> np.ndarray:
    """Returns rising row numbers [at most `most`] int of `count` rows, drawn without repeats."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def sample_by_group(groups: np.ndarray, labels: np.ndarray, *, most: int, seed: int) -> np.ndarray:
    """Returns rising row numbers [at most `most`] int, of each group as large a share.

    A group of few images has a chance, not a right, to be there. A class has the right to
    `MOST_OF_A_CLASS` images, or to what is equal for all classes in half of the sample: images like
    those of a class without any would look new.

    Args:
      groups: [n].
      labels: [n] int, -1 of no class.
      most: size of the sample.
      seed: draws it.
    """
    if len(groups) <= most:
        return np.arange(len(groups))
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    _, numbers, sizes = np.unique(groups[shuffled], return_inverse=True, return_counts=True)
    order = np.argsort(numbers, kind="stable")
    within = np.empty(len(groups))
    within[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = (within + np.random.default_rng(seed).random(len(sizes))[numbers]) / sizes[numbers]
    drawn = shuffled[np.argsort(place, kind="stable")]
    _, classes, counts = np.unique(labels[drawn], return_inverse=True, return_counts=True)
    by_class = np.argsort(classes, kind="stable")
    rank = np.empty(len(drawn), int)  # among those of its class
    rank[by_class] = np.arange(len(drawn)) - np.repeat(np.cumsum(counts) - counts, counts)
    least = min(MOST_OF_A_CLASS, max(1, most // (2 * len(counts))))
    comes_first = (rank < least) & (labels[drawn] >= 0)
    return np.sort(np.concatenate([drawn[comes_first], drawn[~comes_first]])[:most])
