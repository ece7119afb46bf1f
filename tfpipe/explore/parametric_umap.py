"""Parametric UMAP: a small network that maps embeddings, and new ones as well.

Sainburg et al. (2021), arXiv:2009.12981: UMAP's graph and its loss, with a network in place of free
points. Ours, since umap-learn's own wants another Keras and chooses its number of steps from the
graph: by default it did not end in minutes on 600 points. Here it is bounded, and reported.
"""

import functools
import logging
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

LOG = logging.getLogger("tfpipe")
UNITS = (100, 100, 100)  # of the paper's network
STEPS = 3_000  # gradient steps
EDGES = 512  # of the graph, a step
NEGATIVES = 5  # pairs that no edge joins, for each edge, as in UMAP
RATE = 1e-3
LEAST = 1e-4  # of a probability, before its logarithm


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
    """Fits a map to some embeddings [n, d] float; of more than `umap.MOST_FITTED`, to a choice.

    Args:
      embedding: at least four.
      seed: of weights, edges and the choice.
      steps: gradient steps.
    """
    few = explore_umap.chosen(len(embedding), most=explore_umap.MOST_FITTED, seed=seed)
    points = np.asarray(embedding[few], np.float32)
    head, tail, weight = graph(points, seed=seed)
    keras.utils.set_random_seed(seed)
    with dtype_policy("float32"):
        model = _network(points)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps))
    optimizer.build(model.trainable_variables)
    a, b = curve(min_dist=explore_umap.MIN_DIST)
    all_points, edges = tf.constant(points), tf.constant(np.stack([head, tail]))

    @tf.function(jit_compile=False)
    def step(drawn):
        ends = tf.gather(edges, drawn, axis=1)
        # Tails of other edges: drawn as often as edges end there, as UMAP's negatives are.
        others = tf.random.shuffle(tf.tile(ends[1], [NEGATIVES]))
        with tf.GradientTape() as tape:
            asked = tf.concat([ends[0], ends[1], others], axis=0)
            places = model({"embedding": tf.gather(all_points, asked)}, training=True)
            one, other, apart = tf.split(places, [EDGES, EDGES, NEGATIVES * EDGES])
            loss = cross_entropy(one, other, apart, curve=(a, b))
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
    """Returns where a map puts embeddings [n, d], [n, 2] float32."""
    call = functools.partial(model, training=False)
    return calls.batched(
        call, {"embedding": embedding.astype(np.float32)}, names=["embedding"], batch_size=4096
    )


def save(model: keras.Model, path: Path) -> None:
    """Writes a map as one .keras file, beside its name and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    model.save(beside, overwrite=True)
    files.replace(path, beside.read_bytes())
    beside.unlink()


def load(path: Path) -> keras.Model:
    """Returns a map that `save` wrote."""
    return keras.models.load_model(path)


def graph(points: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns UMAP's fuzzy graph of points [n, d]: heads, tails [edges] int, weights [edges].

    McInnes et al. (2018), arXiv:1802.03426, section 3.1, by umap-learn. An edge weighs how likely
    it is to exist, and is drawn as often.
    """
    from umap.umap_ import fuzzy_simplicial_set  # seconds, for it compiles

    # Each its own first neighbour, as umap-learn has it; exact, for its own search takes a minute
    # to compile.
    count = min(explore_umap.NEIGHBOURS, len(points))
    distances, near = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(points)
    found, _, _ = fuzzy_simplicial_set(
        points,
        n_neighbors=count,
        random_state=np.random.RandomState(seed),
        metric="euclidean",
        knn_indices=near.astype(np.int32),
        knn_dists=distances.astype(np.float32),
    )
    edges = found.tocoo()
    return edges.row.astype(np.int64), edges.col.astype(np.int64), edges.data.astype(np.float64)


def curve(*, min_dist: float) -> tuple[float, float]:
    """Returns a and b of 1 / (1 + a d^2b), near 1 up to `min_dist` and then falling by e."""
    from umap.umap_ import find_ab_params

    a, b = find_ab_params(1.0, min_dist)
    return float(a), float(b)


def cross_entropy(one, other, apart, *, curve: tuple[float, float]):
    """Returns UMAP's mean cross-entropy, eq. 2 of Sainburg et al.

    Args:
      one: [edges, 2], where edges begin.
      other: [edges, 2], where they end.
      apart: [negatives * edges, 2], of points that the beginnings have no edge to.
      curve: a and b.
    """
    joined = _likely(one, other, curve)
    parted = _likely(ops.tile(one, [len(apart) // len(one), 1]), apart, curve)
    pull = -ops.mean(ops.log(ops.maximum(joined, LEAST)))
    push = -ops.mean(ops.log(ops.maximum(1 - parted, LEAST)))
    return (pull + NEGATIVES * push) / (1 + NEGATIVES)


def _likely(one, other, curve: tuple[float, float]):
    """Returns the probability [n] of an edge between places [n, 2]."""
    a, b = curve
    # The gradient of a power below 1 is infinite at a distance of 0.
    squared = ops.sum(ops.square(one - other), axis=1) + 1e-6
    return 1 / (1 + a * squared**b)


def _network(points: np.ndarray) -> keras.Model:
    """Returns the paper's network of dense layers, with the points' scale inside."""
    embedding = keras.Input((points.shape[1],), dtype="float32", name="embedding")
    # One scale for all: numbers that hardly vary are not to be heard as loud as the others.
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
