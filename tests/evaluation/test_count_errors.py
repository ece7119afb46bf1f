"""Errors of counts: Bray-Curtis by group, adjusted counts, and the threshold that serves counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn_arrays

from tfpipe.evaluation import count_errors


def test_too_much_and_too_little_are_counted_for_themselves():
    true, estimated = np.array([[8, 2, 0], [5, 5, 10]]), np.array([[6, 3, 1], [5, 5, 0]])
    found = count_errors.errors(true, estimated)
    assert found.counts.tolist() == pytest.approx([4 / 20, 10 / 30])
    assert found.over.tolist() == pytest.approx([0.2, 0]) and found.under[1] == pytest.approx(0.5)
    # Shares .25, .25, .5 against .5, .5, 0.
    assert found.shares.tolist() == pytest.approx([0.2, 0.5])
    nothing = count_errors.errors(true, np.zeros_like(true))
    assert nothing.shares.tolist() == [1, 1] and nothing.counts.tolist() == [1, 1]


@settings(max_examples=40, deadline=None)
@given(drawn_arrays.arrays(int, (2, 3, 4), elements=st.integers(0, 50)))
def test_errors_lie_between_none_and_all(counts):
    true, estimated = counts
    true[:, 0] += 1
    found = count_errors.errors(true, estimated)
    for values in (found.counts, found.shares):
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    surplus = (estimated.sum(axis=1) - true.sum(axis=1)) / true.sum(axis=1)
    np.testing.assert_allclose(found.over - found.under, surplus)
    assert count_errors.errors(true, true).counts.tolist() == [0, 0, 0]


def test_small_groups_count_together():
    groups = np.repeat(["a", "b", "c", "d"], [12, 3, 10, 4])
    unit, names = count_errors.units(groups)
    assert names == ["a", "c", count_errors.POOLED]
    assert np.bincount(unit).tolist() == [12, 10, 7]
    assert count_errors.units(np.arange(5).astype(str))[1] == [count_errors.POOLED]


def runs(shares, *, size=400, seed=0):
    """Returns labels, probabilities and runs; a tenth of class 0 looks like class 1."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([rng.choice(3, size, p=one) for one in shares])
    unit = np.repeat(np.arange(len(shares)), size)
    looks = np.where((labels == 0) & (rng.random(len(labels)) < 0.1), 1, labels)
    probabilities = np.full((len(labels), 3), 0.05)
    # What it mistakes, it is less sure of.
    probabilities[np.arange(len(labels)), looks] = np.where(looks == labels, 0.9, 0.6)
    return labels, probabilities, unit


SHARES = [(0.9, 0.02, 0.08), (0.3, 0.3, 0.4), (0.5, 0.1, 0.4), (0.2, 0.7, 0.1)]


def test_adjusted_counts_of_a_run_are_by_the_errors_of_the_others():
    labels, probabilities, unit = runs(SHARES)
    predicted = probabilities.argmax(axis=1)
    true = count_errors.count(labels, unit, classes=3)
    plain = count_errors.errors(true, count_errors.count(predicted, unit, classes=3))
    adjusted = count_errors.adjusted(labels, predicted, unit, classes=3)
    assert adjusted.sum(axis=1) == pytest.approx([400] * 4)
    assert count_errors.errors(true, adjusted).counts.mean() < 0.5 * plain.counts.mean()
    # A run's own labels have no part in it.
    labels[unit == 0] = 2
    again = count_errors.adjusted(labels, predicted, unit, classes=3)
    assert again[0].tolist() == adjusted[0].tolist()
    assert np.isnan(count_errors.adjusted(labels, predicted, unit * 0, classes=3)).all()


def test_the_threshold_leaves_out_what_makes_shares_wrong():
    labels, probabilities, unit = runs(SHARES)
    threshold = count_errors.best_threshold(labels, probabilities, unit, thresholds={})
    assert 0.6 < threshold <= 0.9
    new_labels, new_probabilities, new_unit = runs(SHARES[::-1], seed=1)
    true = count_errors.count(new_labels, new_unit, classes=3)
    by_threshold = [
        count_errors.errors(
            true,
            count_errors.count_in(
                true,
                count_errors.named(new_probabilities, thresholds={}, threshold=one),
                new_unit,
            ),
        ).shares
        for one in (0.0, threshold)
    ]
    gain, low, high = count_errors.difference(*by_threshold)
    assert gain < 0 and low < gain < high
    assert np.isnan(count_errors.difference(np.zeros(2), np.ones(2))[1])


def test_of_two_classes_it_is_the_decision_threshold():
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.2).astype(int)
    positive = np.clip(0.3 + 0.3 * labels + rng.normal(0, 0.15, 2000), 0.01, 0.99)
    probabilities = np.stack([1 - positive, positive], axis=1)
    unit = np.arange(2000) % 5
    rule = {"decision": 0.3}
    threshold = count_errors.best_threshold(labels, probabilities, unit, thresholds=rule)
    found = count_errors.named(probabilities, thresholds=rule, threshold=threshold)
    assert abs(found.mean() - labels.mean()) < 0.02 < abs((positive >= 0.3).mean() - labels.mean())


def test_a_perfect_model_needs_no_threshold():
    labels, unit = np.arange(60) % 3, np.arange(60) // 20
    probabilities = np.eye(3)[labels] * 0.9 + 0.03
    assert count_errors.best_threshold(labels, probabilities, unit, thresholds={}) == 0
