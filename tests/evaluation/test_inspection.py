"""Inspection: the weighted estimates, and what their intervals cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpipe.evaluation import inspection
from tfpipe.evaluation.inspection import UNIDENTIFIABLE, Estimate, InspectedSample


def sample_of(population, answers, groups=None) -> InspectedSample:
    """Returns a sample from (predicted, label) pairs; without groups all are of one."""
    predicted, labels = (np.array(column, int) for column in zip(*answers, strict=True))
    groups = np.zeros(len(labels), int) if groups is None else np.asarray(groups)
    return InspectedSample(np.atleast_2d(population), predicted, labels, groups)


ANSWERS = [(0, 0)] * 9 + [(0, 1)] + [(1, 1)] * 5 + [(1, 0)] * 5


def test_each_class_counts_by_how_often_it_was_predicted():
    sample = sample_of([90, 10], ANSWERS)
    assert inspection.agreement(sample).value == pytest.approx(0.9 * 0.9 + 0.1 * 0.5)
    found = inspection.counts(sample)
    assert [one.value for one in found] == pytest.approx([81 + 5, 9 + 5, 0])
    assert inspection.precision(sample, 1) == Estimate(0.5, 0.5, 0.5), "all of them are drawn"
    low, high = inspection.precision(sample, 0)[1:]
    assert 0.55 < low < 0.65 and 0.98 < high < 1, "Clopper and Pearson's, of 10 of 90"


def test_images_that_nobody_can_name_are_left_out_or_disagree():
    sample = sample_of([90, 10], [*ANSWERS[:8], (0, UNIDENTIFIABLE), (0, 1), *ANSWERS[10:]])
    weights = np.array([90 * 0.9, 10])
    named = (weights * [8 / 9, 0.5]).sum() / weights.sum()
    assert inspection.agreement(sample).value == pytest.approx(named)
    everything = inspection.agreement(sample, named_only=False)
    assert everything.value == pytest.approx(0.9 * 0.8 + 0.1 * 0.5)
    assert inspection.counts(sample)[-1].value == pytest.approx(9)


def test_a_class_without_an_answer_leaves_counts_unknown():
    sample = sample_of([90, 10, 5], ANSWERS)
    assert sample.missing.tolist() == [2]
    assert np.isnan([one.value for one in inspection.counts(sample)]).all()
    assert inspection.agreement(sample).value == pytest.approx(0.86), "of the other classes"
    assert np.isnan(inspection.precision(sample, 2)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_an_estimate_lies_in_its_interval_and_counts_add_up(seed, named_only):
    rng = np.random.default_rng(seed)
    population = rng.integers(1, 400, 4)
    predicted = np.repeat(np.arange(4), np.minimum(population, rng.integers(1, 30, 4)))
    labels = rng.integers(-1, 4, len(predicted))
    sample = sample_of(population, list(zip(predicted, labels, strict=True)))
    found = inspection.agreement(sample, named_only=named_only)
    counts = inspection.counts(sample)
    for one in [found, *counts] if sample.named.labels.size else counts:
        assert one.low <= one.value + 1e-9 and one.value <= one.high + 1e-9
    assert sum(one.value for one in counts) == pytest.approx(population.sum())


def covered(sizes, precision, unnamed, *, repetitions: int = 250) -> float:
    """Returns how often the interval of the agreement holds the true one, 50 drawn of a class."""
    rng = np.random.default_rng(0)
    classes = len(sizes)
    hits = 0
    for _ in range(repetitions):
        predicted = np.repeat(np.arange(classes), sizes)
        is_right = rng.random(len(predicted)) < np.array(precision)[predicted]
        labels = np.where(is_right, predicted, (predicted + 1) % classes)
        labels[rng.random(len(labels)) < np.array(unnamed)[predicted]] = UNIDENTIFIABLE
        rows = np.concatenate(
            [rng.permutation(np.flatnonzero(predicted == c))[:50] for c in range(classes)]
        )
        sample = InspectedSample(
            np.array([sizes]), predicted[rows], labels[rows], np.zeros(len(rows), int)
        )
        truth = (labels == predicted)[labels != UNIDENTIFIABLE].mean()
        _, low, high = inspection.agreement(sample)
        hits += low <= truth <= high
    return hits / repetitions


@pytest.mark.parametrize(
    ("sizes", "precision", "unnamed"),
    [
        ((5000, 600, 60), (0.95, 0.8, 0.6), (0.05, 0.1, 0.2)),
        ((9000, 600, 60), (0.99, 0.8, 0.6), (0, 0.1, 0.2)),  # often no miss among 50
        ((300, 300, 300), (0.6, 0.7, 0.3), (0.1, 0.2, 0.2)),
    ],
)
def test_intervals_of_agreement_cover_the_truth(sizes, precision, unnamed):
    assert covered(sizes, precision, unnamed) >= 0.925  # 95 % less two standard errors


def test_intervals_are_for_new_groups_where_there_are_enough():
    rng = np.random.default_rng(0)
    usual = np.array([0.9, 0.7])
    hits = hits_without = 0
    for _ in range(120):
        rates = rng.beta(usual * 9, (1 - usual) * 9, (8, 2))  # intra-class correlation .1
        groups = np.repeat(np.arange(8), 100)
        predicted = np.tile(np.repeat([0, 1], [70, 30]), 8)
        is_right = rng.random(800) < rates[groups, predicted]
        labels = np.where(is_right, predicted, 1 - predicted)
        rows = np.concatenate(
            [rng.permutation(np.flatnonzero(predicted == c))[:50] for c in range(2)]
        )
        population = np.tile([70, 30], (8, 1))
        sample = InspectedSample(population, predicted[rows], labels[rows], groups[rows])
        _, low, high = inspection.agreement(sample)
        hits += low <= 0.84 <= high
        whole = population.sum(axis=0, keepdims=True)
        _, low, high = inspection.agreement(sample._replace(population=whole, groups=rows * 0))
        hits_without += low <= 0.84 <= high
    assert hits / 120 > 0.91 and hits_without < hits


def test_kappa_is_that_of_cohen():
    # Cohen's kappa by hand: 40 + 30 of 100 agree, 50 % would by chance.
    first = np.repeat([0, 0, 1, 1], [40, 10, 20, 30])
    second = np.repeat([0, 1, 0, 1], [40, 10, 20, 30])
    value, low, high = inspection.kappa(first, second, np.arange(100))
    assert value == pytest.approx(0.4)
    # The interval of Fleiss, Cohen & Everitt (1969): standard error .0914.
    assert (low, high) == pytest.approx((0.4 - 1.984 * 0.0914, 0.4 + 1.984 * 0.0914), abs=0.005)
    assert np.isnan(inspection.kappa(first * 0, second * 0, np.arange(100)).value)


def test_a_difference_has_an_interval_of_both_estimates():
    found, claimed = Estimate(0.6, 0.5, 0.7), Estimate(0.8, 0.7, 0.85)
    difference = found.minus(claimed)
    assert difference.value == pytest.approx(-0.2)
    assert difference.low == pytest.approx(-0.2 - np.hypot(0.1, 0.05))
    assert difference.high == pytest.approx(-0.2 + np.hypot(0.1, 0.1))
