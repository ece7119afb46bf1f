"""The sample of many images that a map is fitted to and novelty is measured against."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpipe.explore import umap


def test_a_sample_has_the_same_share_of_each_group():
    groups = np.repeat(["a", "b", "c", "d"], [4000, 1000, 10, 500])
    labels = np.arange(5510) % 3 - 1
    rows = umap.sample_by_group(groups, labels, most=1102, seed=0)
    assert len(set(rows.tolist())) == 1102 and (np.diff(rows) > 0).all()
    counts = [int((groups[rows] == name).sum()) for name in "abcd"]
    assert np.abs(np.subtract(counts, [800, 200, 2, 100])).max() <= 1
    assert umap.sample_by_group(groups, labels, most=5510, seed=0).tolist() == list(range(5510))


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    n_unlabelled=st.integers(0, 1500),
    most=st.integers(1, 800),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_sample_has_some_images_of_each_class(sizes, n_unlabelled, most, seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(-1, len(sizes) + 1), [n_unlabelled, 1000, *sizes])
    labels = rng.permutation(labels)
    groups = rng.integers(0, 5, len(labels)).astype(str)
    rows = umap.sample_by_group(groups, labels, most=most, seed=seed)
    assert len(rows) == min(most, len(labels)) and (np.diff(rows) > 0).all()
    n_classes = len(np.unique(labels))
    least = min(umap.MOST_OF_A_CLASS, most // (2 * n_classes))
    sampled = np.bincount(labels[rows] + 1, minlength=len(sizes) + 2)[1:]
    assert (sampled >= np.minimum([1000, *sizes], least)).all()


@pytest.mark.parametrize("count", [40, 900])
def test_the_graph_of_a_map_is_that_of_exact_neighbours(count):
    import umap as umap_learn

    rng = np.random.default_rng(0)
    points = rng.normal(size=(count, 24)) + 6 * rng.normal(size=(4, 24))[np.arange(count) % 4]
    points = points.astype(np.float32)
    points[7] = points[3]  # a duplicate
    graph = umap.fit(points, seed=0).graph_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer than 4,096 points its own neighbours are exact
        expected = umap_learn.UMAP(random_state=0, n_jobs=1, n_epochs=1).fit(points).graph_
    assert np.abs(graph - expected).max() < 1e-3
    assert graph.nnz == expected.nnz


def test_new_points_are_placed_among_those_that_they_are_like():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(300, 16)) + 9 * rng.normal(size=(3, 16))[np.arange(300) % 3]
    mapper = umap.fit(points.astype(np.float32), seed=0)
    places = umap.placed(mapper, points[:60].astype(np.float32) + np.float32(0.1))
    means = np.stack([mapper.embedding_[i::3].mean(axis=0) for i in range(3)])
    nearest = np.linalg.norm(places[:, None] - means, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, np.arange(60) % 3)
