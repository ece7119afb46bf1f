"""Choice of images to label, and the gate of a version that is adapted with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpipe.evaluation import adaptation, label_selection
from tfpipe.evaluation.version_comparison import Answers


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    count=st.integers(0, 120),
)
def test_groups_have_equal_parts_as_far_as_they_are_large_enough(sizes, count):
    groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes)
    quotas = label_selection.quotas(groups, count, lambda name: float(name[1:]))
    assert sum(quotas.values()) == min(count, sum(sizes))
    largest = max(quotas.values())
    for i, size in enumerate(sizes):
        assert quotas[f"g{i}"] == size or quotas[f"g{i}"] >= largest - 1
    sums = [quotas[f"g{i}"] for i in range(len(sizes)) if sizes[i] >= largest]
    assert sums == sorted(sums), "those preferred get the rest"


@settings(max_examples=40, deadline=None)
@given(n_groups=st.integers(2, 12), seed=st.integers(0, 9))
def test_groups_to_train_and_to_test_on_are_others_and_none_is_lost(n_groups, seed):
    groups = np.array([f"g{i % n_groups}" for i in range(50)])
    train, test = label_selection.divide_groups(
        groups, share=1 / 3, rng=np.random.default_rng(seed)
    )
    assert len(train) and len(test) and not {*train} & {*test}
    assert {*train} | {*test} == {*groups}


def test_uncertain_and_diverse_images_are_chosen():
    rng = np.random.default_rng(0)
    # Ten clusters of uncertain images, one of them of near-copies; the rest is certain.
    places = rng.normal(size=(10, 5)) * 20
    of_cluster = np.concatenate([np.repeat(np.arange(10), 5), np.zeros(50, int)])
    embedding = places[of_cluster] + 0.1 * rng.normal(size=(100, 5))
    certain = rng.normal(size=(400, 5)) * 20
    probabilities = np.concatenate([np.full((100, 2), 0.5), np.tile([0.99, 0.01], (400, 1))])
    rows = label_selection.choose_to_train(
        np.concatenate([embedding, certain]),
        probabilities,
        np.full(500, "g"),
        count=10,
        rng=rng,
    )
    assert len({*rows.tolist()}) == 10 and (rows < 100).all()
    assert len({*of_cluster[rows]}) >= 9


def test_of_more_groups_than_labels_any_are_tested_and_uncertain_diverse_ones_trained_on():
    rng = np.random.default_rng(0)
    groups = np.repeat([f"g{i:03d}" for i in range(90)], 2)
    drawn = [groups[label_selection.choose_to_test(groups, count=9, rng=rng)] for _ in range(2)]
    assert all(len({*names}) == 9 for names in drawn)
    assert {*drawn[0]} != {*drawn[1]} and max(drawn[0]) > "g040"
    # The last thirty groups have an uncertain image each, in three places.
    is_uncertain = (np.arange(180) >= 120) & (np.arange(180) % 2 == 0)
    probabilities = np.where(is_uncertain[:, None], [0.5, 0.5], [0.99, 0.01])
    place = np.arange(180) // 2 % 3
    embedding = 20.0 * np.eye(3)[place] + 0.1 * rng.normal(size=(180, 3))
    few, many = (
        label_selection.choose_to_train(embedding, probabilities, groups, count=count, rng=rng)
        for count in (3, 95)
    )
    assert is_uncertain[few].all() and {*place[few].tolist()} == {0, 1, 2}
    assert len({*many.tolist()}) == 95
    names, counts = np.unique(groups[many], return_counts=True)
    assert len(names) == 90 and (names[counts == 2] >= "g060").all(), (
        "uncertain groups get the rest"
    )


def answers(shares: tuple[float, float], *, images: int, groups: int) -> Answers:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, images)
    luck = rng.random(images)
    predicted = [np.where(luck < share, labels, (labels + 1) % 3) for share in shares]
    probabilities = np.full((images, 3), 1 / 3)
    names = np.array([f"g{i % groups}" for i in range(images)])
    return Answers(labels, names, probabilities, probabilities, *predicted)


@pytest.mark.parametrize("groups", [2, 8])
def test_only_a_gain_beyond_chance_is_better(groups):
    better = adaptation.compare_correct(answers((0.4, 0.7), images=90, groups=groups))
    assert better.is_better and not better.is_worse and better.by_groups == (groups >= 5)
    assert better.before[1] < better.before[0] < better.before[2]
    assert "90 images of" in better.in_words("there") and "+0." in better.in_words("there")
    worse = adaptation.compare_correct(answers((0.7, 0.4), images=90, groups=groups))
    assert worse.is_worse and not worse.is_better
    equal = adaptation.compare_correct(answers((0.6, 0.6), images=90, groups=groups))
    assert not equal.is_better and not equal.is_worse
    assert equal.difference == (0, 0, 0)
