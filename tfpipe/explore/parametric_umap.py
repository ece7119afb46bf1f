"""Parametric UMAP: a small network that places embeddings on a map, new ones as well.

Sainburg et al. (2021), arXiv:2009.12981: UMAP's graph and loss, with a network in place of free
points. The class of umap-learn needs another Keras version. It also chooses its number of steps
from the graph, and did not end within minutes on 600 points. Here the number of steps is a constant
and is reported.
"""

import functools
import logging
import tempfile
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from sklearn.neighbors import NearestNeighbors

from tfpipe.base import files
from tfpipe.base.hardware import dtype_policy
from tfpipe.explore import umap as explore_umap
from tfpipe.models import calls

LOG = logging.getLogger(__name__)
UNITS = (100, 100, 100)  # of the paper's network
STEPS = 3_000  # gradient steps
EDGES = 512  # of the graph in each step
NEGATIVES = 5  # pairs that no edge joins, for each edge, as in UMAP
LEARNING_RATE = 1e-3
MIN_PROBABILITY = 1e-4  # before its logarithm


class Fitted(NamedTuple):
    """A fitted map.

    Attributes:
      model: from {"embedding": [batch, d]} to `place` [batch, 2], float32.
      steps: gradient steps taken.
      losses: [steps] float, the mean cross-entropy of each.
    """

    model: keras.Model
    steps: int
    losses: np.ndarray


def fit(embedding: np.ndarray, *, seed: int, steps: int = STEPS) -> Fitted:
    """Fits a map to embeddings [n, d] float; to a sample of more than `umap.EXACT`.

    Args:
      embedding: at least four rows.
      seed: of weights, edges and the sample.
      steps: gradient steps.
    """
    rows = explore_umap.sample_rows(len(embedding), most=explore_umap.EXACT, seed=seed)
    points = np.asarray(embedding[rows], np.float32)
    head, tail, weight = graph(points, seed=seed)
    keras.utils.set_random_seed(seed)
    with dtype_policy("float32"):
        model = _network(points)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps))
    optimizer.build(model.trainable_variables)
    a, b = curve(min_dist=explore_umap.MIN_DIST)
    all_points, edges = tf.constant(points), tf.constant(np.stack([head, tail]))

    @tf.function(jit_compile=False)
    def step(drawn):
        ends = tf.gather(edges, drawn, axis=1)
        # Tails of other edges are drawn as often as edges end there, like UMAP's negatives.
        others = tf.random.shuffle(tf.tile(ends[1], [NEGATIVES]))
        with tf.GradientTape() as tape:
            batch = tf.gather(all_points, tf.concat([ends[0], ends[1], others], axis=0))
            places = model({"embedding": batch}, training=True)
            heads, tails, negatives = tf.split(places, [EDGES, EDGES, NEGATIVES * EDGES])
            loss = cross_entropy(heads, tails, negatives, curve=(a, b))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    rng = np.random.default_rng(seed)
    chances = np.cumsum(weight / weight.sum())
    losses = np.zeros(steps)
    for i in range(steps):
        drawn = np.searchsorted(chances, rng.random(EDGES) * chances[-1], side="right")
        losses[i] = float(step(tf.constant(np.minimum(drawn, len(head) - 1))))
    LOG.info("The parametric map took %d gradient steps.", steps)
    return Fitted(model, steps, losses)


def placed(model: keras.Model, embedding: np.ndarray) -> np.ndarray:
    """Returns the places of embeddings [n, d] on a map, [n, 2] float32."""
    call = functools.partial(model, training=False)
    return calls.batched(
        call, {"embedding": embedding.astype(np.float32)}, names=["embedding"], batch_size=4096
    )


def save(model: keras.Model, path: Path) -> None:
    """Writes a map as one .keras file; the file is replaced as a whole."""
    with tempfile.TemporaryDirectory(prefix="tfpipe-") as folder:
        model.save(Path(folder) / path.name)
        files.replace(path, Path(folder, path.name).read_bytes())


def graph(points: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns UMAP's fuzzy graph of points [n, d]: heads, tails [edges] int, weights [edges].

    McInnes et al. (2018), arXiv:1802.03426, section 3.1, by umap-learn. The weight of an edge is
    the probability that it exists; edges are drawn in proportion to it.
    """
    from umap.umap_ import fuzzy_simplicial_set  # takes seconds, as it compiles

    # As in umap-learn, the first neighbour of a point is the point itself. The search is exact, as
    # that of umap-learn takes a minute to compile.
    count = min(explore_umap.NEIGHBOURS, len(points))
    distances, near = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(points)
    matrix, _, _ = fuzzy_simplicial_set(
        points,
        n_neighbors=count,
        random_state=np.random.RandomState(seed),
        metric="euclidean",
        knn_indices=near.astype(np.int32),
        knn_dists=distances.astype(np.float32),
    )
    edges = matrix.tocoo()
    return edges.row.astype(np.int64), edges.col.astype(np.int64), edges.data.astype(np.float64)


def curve(*, min_dist: float) -> tuple[float, float]:
    """Returns a and b of 1 / (1 + a d^2b), near 1 up to `min_dist` and then falling by e."""
    from umap.umap_ import find_ab_params

    a, b = find_ab_params(1.0, min_dist)
    return float(a), float(b)


def cross_entropy(heads, tails, negatives, *, curve: tuple[float, float]):
    """Returns UMAP's mean cross-entropy, eq. 2 of Sainburg et al.

    Args:
      heads: [edges, 2], places where edges begin.
      tails: [edges, 2], places where they end.
      negatives: [negatives * edges, 2], places of points that the heads have no edge to.
      curve: a and b.
    """
    joined = _edge_probability(heads, tails, curve)
    repeated = ops.tile(heads, [len(negatives) // len(heads), 1])
    separate = _edge_probability(repeated, negatives, curve)
    pull = -ops.mean(ops.log(ops.maximum(joined, MIN_PROBABILITY)))
    push = -ops.mean(ops.log(ops.maximum(1 - separate, MIN_PROBABILITY)))
    return (pull + NEGATIVES * push) / (1 + NEGATIVES)


def _edge_probability(heads, tails, curve: tuple[float, float]):
    """Returns the probability [n] of an edge between places [n, 2]."""
    a, b = curve
    # The gradient of a power below 1 is infinite at a distance of 0.
    squared = ops.sum(ops.square(heads - tails), axis=1) + 1e-6
    return 1 / (1 + a * squared**b)


def _network(points: np.ndarray) -> keras.Model:
    """Returns the paper's network of dense layers, with the points' scale inside."""
    embedding = keras.Input((points.shape[1],), dtype="float32", name="embedding")
    # One scale for all dimensions, so that those that hardly vary are not amplified.
    scale = float(points.std()) or 1.0
    mean = points.mean(axis=0).astype(np.float64)
    x = layers.Normalization(
        axis=-1, mean=mean.tolist(), variance=[scale**2] * len(mean), name="scale"
    )(embedding)
    for i, units in enumerate(UNITS, start=1):
        x = layers.Dense(units, activation="relu", kernel_initializer="he_normal", name=f"map{i}")(
            x
        )
    return keras.Model({"embedding": embedding}, layers.Dense(2, name="place")(x), name="map")
