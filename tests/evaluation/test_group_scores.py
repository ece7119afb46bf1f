"""Scores of groups: each its own, how far they differ beyond chance, and recall by rarity."""

import numpy as np
import pytest

from tfpipe.evaluation import group_scores


def drawn(rates, *, size=40, seed=0):
    """Returns labels, predictions and groups of groups with these accuracies."""
    rng = np.random.default_rng(seed)
    groups = np.repeat([f"run{i:02d}" for i in range(len(rates))], size)
    labels = rng.integers(0, 3, len(groups))
    is_right = rng.random(len(groups)) < np.repeat(rates, size)
    return labels, np.where(is_right, labels, (labels + 1) % 3), groups


def test_each_group_has_its_own_score_the_worst_first():
    labels, groups = np.array([0, 1, 2, 0] * 2), np.repeat(["a", "b"], 4)
    predicted = np.array([0, 1, 2, 0, 0, 1, 1, 1])
    table = group_scores.by_group(labels, predicted, groups, classes=3)
    assert table["group"].tolist() == ["b", "a"] and table["score"].tolist() == [0.5, 1.0]
    assert table["images"].tolist() == [4, 4]
    assert table["low"].tolist() == pytest.approx([0.0676, 0.3976], abs=1e-4), "Clopper-Pearson"
    assert table["high"].tolist() == pytest.approx([0.9324, 1.0], abs=1e-4)


def test_two_classes_have_f1_where_there_is_something_to_find():
    labels, groups = np.array([0, 1, 1, 0, 0, 0]), np.repeat(["a", "b", "c"], 2)
    predicted = np.array([1, 1, 0, 0, 0, 0])
    table = group_scores.by_group(labels, predicted, groups, classes=2).set_index("group")
    assert table["score"]["a"] == pytest.approx(2 / 3) and table["score"]["b"] == 0
    assert np.isnan(table["score"]["c"]) and table["low"].isna().all()


def test_groups_that_are_alike_differ_by_chance_alone():
    between, is_beyond = [], 0
    for seed in range(60):
        table = group_scores.by_group(*drawn([0.8] * 15, seed=seed), classes=3)
        found = group_scores.spread(table, seed=seed)
        between.append(found.between)
        is_beyond += found.lowest < found.chance_low
    assert np.median(between) < 0.03 and is_beyond <= 6


def test_groups_that_differ_are_told_from_chance():
    rates = np.random.default_rng(1).permutation(np.repeat([0.9, 0.6], 10))
    rates[3] = 0.2
    table = group_scores.by_group(*drawn(rates, size=60), classes=3)
    found = group_scores.spread(table)
    assert found.worst == "run03" and found.lowest < found.chance_low
    assert found.between == pytest.approx(rates.std(ddof=1), abs=0.04)
    assert found.between < found.deviation


def test_small_groups_have_no_say_in_the_spread():
    table = group_scores.by_group(*drawn([0.9] * 30, size=4), classes=3)
    assert len(table) == 30 and group_scores.spread(table) is None


def test_recall_is_listed_from_the_rarest_class():
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 0, 1, 1, 0, 2])
    groups = np.arange(7).astype(str)
    counts = np.array([500, 20, 90, 3])
    table = group_scores.by_rarity(labels, predicted, groups, training_counts=counts)
    assert table["class"].tolist() == [3, 1, 2, 0]
    assert table["training"].tolist() == [3, 20, 90, 500]
    assert np.isnan(table["recall"][0]) and table["recall"].tolist()[1:] == [0.5, 1.0, 0.75]
    assert ((table["low"] <= table["recall"]) & (table["recall"] <= table["high"]))[1:].all()
