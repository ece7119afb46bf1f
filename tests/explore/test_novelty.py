"""Scores of novelty on simulated embeddings, and the queue that they rank."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax, softmax

from tfpipe.data import near_duplicates
from tfpipe.explore import novelty
from tfpipe.explore import queue as explore_queue
from tfpipe.explore.novelty import ModelOutputs

REFERENCE, OTHERS = 200, 100  # reference images; then as many of the same classes as new ones
LOGITS = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 5), st.integers(2, 6)), elements=st.floats(-30, 30)
)


@pytest.fixture(scope="module")
def simulated():
    """Two reference classes and a novel one: distant, with flat logits and a larger error."""
    rng = np.random.default_rng(0)
    kind = np.concatenate([rng.integers(0, 2, REFERENCE + OTHERS), np.full(OTHERS, 2)])
    centres = 8 * np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    embedding = centres[kind] + rng.normal(size=(len(kind), 4))
    sure = np.where(kind == 2, 1.0, 8.0)[:, None] * np.eye(3)[kind] * (kind != 2)[:, None]
    logits = sure + rng.normal(0, 0.3, (len(kind), 3))
    error = 0.01 + 0.02 * (kind == 2) + rng.normal(0, 0.002, len(kind))
    is_reference = np.arange(len(kind)) < REFERENCE
    places = embedding[:, :2] + 30 * (kind == 2)[:, None]
    scores = novelty.scores(
        ModelOutputs(embedding, logits, error),
        is_reference,
        labels=np.where(is_reference, kind, -1),
        places=places,
    )
    return scores, is_reference, kind == 2


@pytest.mark.parametrize(
    "name",
    [
        "median_score",
        "low_maximum",
        "energy",
        "mahalanobis",
        "neighbours",
        "autoencoder_loss",
        "map_outlier",
        "mean_rank",
    ],
)
def test_every_score_is_higher_for_what_is_new(simulated, name):
    scores, is_reference, is_novel = simulated
    quality = novelty.ranking_quality(is_novel[~is_reference], scores[name][~is_reference])
    assert quality["auroc"] > 0.98 and quality["precision_at_100"] > 0.9
    assert (quality["n_novel"], quality["n_other"]) == (OTHERS, OTHERS)


def test_no_score_finds_what_is_new_by_lot(simulated):
    scores, is_reference, is_novel = simulated
    lots = np.random.default_rng(1).permutation(is_novel[~is_reference])
    for score in scores.values():
        # Three deviations of the AUROC of 100 against 100 (Hanley & McNeil 1982).
        assert abs(
            novelty.ranking_quality(lots, score[~is_reference])["auroc"] - 0.5
        ) < 3 * math.sqrt(201 / (12 * 100 * 100))


@given(LOGITS, st.floats(-20, 20))
def test_energy_falls_by_what_is_added_to_all_logits(logits, more):
    assert np.allclose(novelty.energy(logits + more), novelty.energy(logits) - more)
    assert np.allclose(novelty.energy(log_softmax(logits, axis=1)), 0, atol=1e-9)


def test_energy_is_that_of_the_paper():
    logits = np.array([[0.0, 0.0], [3.0, -1.0]])
    expected = [-math.log(2), -math.log(math.exp(3) + math.exp(-1))]
    assert np.allclose(novelty.energy(logits), expected)


@given(LOGITS)
def test_scores_of_probabilities_know_no_order_of_classes(logits):
    probabilities = softmax(logits, axis=1)
    for score in (novelty.median_score, novelty.low_maximum):
        assert np.allclose(score(probabilities), score(probabilities[:, ::-1]))


def test_a_small_step_against_the_grain_is_far_by_mahalanobis_alone():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 2)) * [10, 0.1]
    points[-2:] = [[5, 0], [0, 3]]  # half a deviation along, thirty across
    is_reference, labels = np.arange(300) < 298, np.zeros(300, int)
    along, across = novelty.mahalanobis(points, is_reference, labels=labels)[-2:]
    assert across > 100 * along


def test_mahalanobis_is_to_the_nearest_class_with_one_covariance():
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    points = rng.normal(size=(4000, 3)) * 2 + np.where(labels, 20.0, 0.0)[:, None]
    both = np.vstack([points, [[20, 20, 24]]])
    is_reference = np.arange(4001) < 4000
    distances = novelty.mahalanobis(both, is_reference, labels=np.append(labels, -1))
    assert distances[-1] == pytest.approx(4**2 / 2**2, rel=0.15)  # squared, in deviations


def test_a_known_point_is_not_its_own_neighbour():
    points = np.arange(30.0)[:, None]
    is_reference = np.arange(30) < 20
    distances, rows = novelty.neighbours(points, is_reference, count=2)
    assert rows[0].tolist() == [1, 2] and distances[0].tolist() == [1, 2]
    assert rows[25].tolist() == [19, 18] and distances[25].tolist() == [6, 7]


@given(arrays.arrays(np.float64, 12, elements=st.floats(-5, 5)))
def test_mean_rank_asks_for_order_only(score):
    ranks = novelty.mean_rank([score])
    assert np.allclose(novelty.mean_rank([score, 2 * score]), ranks)
    assert np.allclose(ranks + novelty.mean_rank([-score]), 1 + 1 / len(score))


def test_precision_is_among_as_many_as_there_are_new_ones():
    novel = np.array([True, False, True, False])
    assert novelty.ranking_quality(novel, np.array([4, 3, 2, 1.0]))["precision_at_100"] == 0.5
    assert novelty.ranking_quality(novel, np.array([4, 1, 3, 2.0]))["precision_at_100"] == 1.0


# The queue.


def drawn(seed: int, count: int) -> np.ndarray:
    """Returns images of coarse noise [count, 64, 64, 1] uint8, no two alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.mark.parametrize("at_once", [1, 5, explore_queue.COMPARED_AT_ONCE])
def test_equal_images_collapse_and_others_do_not(at_once, monkeypatch):
    monkeypatch.setattr(explore_queue, "COMPARED_AT_ONCE", at_once)
    images = drawn(0, 12)
    images[7] = images[2]
    images[9] = np.clip(images[2].astype(int) + 3, 0, 255)  # a little brighter
    images[10:] = 90  # nothing to tell by
    prints, has_content = near_duplicates.fingerprints(images)
    embedding = np.random.default_rng(0).normal(size=(12, 3))
    embedding[[7, 9]] = embedding[2]
    pairs = explore_queue.near_copies(embedding, prints.bits, has_content=has_content)
    assert {tuple(pair) for pair in pairs.tolist()} == {(2, 7), (2, 9), (7, 9)}
    score = np.arange(12.0)
    queue = explore_queue.queue(
        score, np.ones(12, bool), copies=pairs, nearest=np.zeros((12, 1), int)
    )
    assert [entry.row for entry in queue] == [11, 10, 9, 8, 6, 5, 4, 3, 1, 0]
    assert next(entry.copies for entry in queue if entry.row == 9) == (2, 7)


def test_the_hashes_of_some_images_are_in_memory_at_once(monkeypatch):
    monkeypatch.setattr(explore_queue, "COMPARED_AT_ONCE", 100)
    rng = np.random.default_rng(0)
    embedding, hashes = rng.normal(size=(2000, 3)), rng.random((2000, 255)) < 0.5
    tracemalloc.start()
    explore_queue.near_copies(embedding, hashes, has_content=np.ones(2000, bool))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * explore_queue.N_NEIGHBOURS * 255 / 2  # of all, three times twice as much


@pytest.mark.slow  # the index compiles
def test_an_index_finds_the_copies_among_many_images(monkeypatch):
    embedding = np.random.default_rng(0).normal(size=(400, 8))
    embedding[200:] = embedding[:200] + 1e-4
    hashes = np.zeros((400, 255), bool)
    exact = explore_queue.near_copies(embedding, hashes, has_content=np.ones(400, bool))
    monkeypatch.setattr(explore_queue, "EXACT", 100)
    pairs = explore_queue.near_copies(embedding, hashes, has_content=np.ones(400, bool))
    copies = {(row, row + 200) for row in range(200)}
    assert copies <= {tuple(pair) for pair in pairs.tolist()}
    shared = {tuple(pair) for pair in pairs.tolist()} & {tuple(pair) for pair in exact.tolist()}
    assert len(shared) > 0.95 * len(exact)


def test_alike_images_far_apart_in_the_embedding_stay():
    images = np.concatenate([drawn(0, 1)] * 2 + [drawn(1, 30)])
    prints, has_content = near_duplicates.fingerprints(images)
    angles = np.linspace(0, np.pi, 32)
    angles[1] = np.pi + 1
    embedding = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert len(explore_queue.near_copies(embedding, prints.bits, has_content=has_content)) == 0


@settings(max_examples=60)
@given(st.data())
def test_every_image_asked_for_stands_in_the_queue_once(data):
    count = data.draw(st.integers(1, 15))
    score = data.draw(arrays.arrays(np.float64, count, elements=st.floats(0, 1)))
    is_candidate = data.draw(arrays.arrays(bool, count))
    pairs = data.draw(st.lists(st.tuples(*[st.integers(0, count - 1)] * 2), max_size=12))
    copies = np.array([pair for pair in pairs if pair[0] != pair[1]], int).reshape(-1, 2)
    queue = explore_queue.queue(
        score, is_candidate, copies=copies, nearest=np.zeros((count, 2), int)
    )
    rows = [row for entry in queue for row in (entry.row, *entry.copies)]
    assert sorted(rows) == np.flatnonzero(is_candidate).tolist()
    order = [score[entry.row] for entry in queue]
    assert order == sorted(order, reverse=True)
    assert all(score[copy] <= score[entry.row] for entry in queue for copy in entry.copies)
