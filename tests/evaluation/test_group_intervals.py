"""Intervals over groups, against Student's t by hand and by simulation."""

import numpy as np
import pytest
from scipy import stats

from tfpipe.evaluation import group_intervals


def mean_of(values):
    return lambda rows: values[rows].mean()


def test_the_interval_of_a_mean_is_students():
    values = np.array([0.3, -1.2, 0.4, 2.0, 0.1])
    low, high = group_intervals.score_interval(mean_of(values), np.arange(5), is_share=False)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (low, high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_a_share_never_leaves_its_range_and_lies_in_its_interval():
    values = np.array([1, 1, 1, 1, 1, 0.9])
    low, high = group_intervals.score_interval(mean_of(values), np.arange(6))
    assert 0 < low < values.mean() < high < 1


def test_groups_that_are_few_or_alike_have_no_interval():
    assert group_intervals.score_interval(mean_of(np.arange(4.0)), np.arange(4)) is None
    assert np.isnan(group_intervals.score_interval(mean_of(np.ones(8)), np.arange(8))).all()
    only_one_has_it = lambda rows: 0.5 if 0 in rows else None  # noqa: E731
    assert np.isnan(group_intervals.score_interval(only_one_has_it, np.arange(8))).all()


@pytest.mark.parametrize("known", [6, 12])
def test_the_interval_covers_the_score_of_new_groups(known):
    """Accuracy of groups whose own is normal about .8; 300 intervals, binomial deviation .013."""
    rng, inside = np.random.default_rng(known), 0
    for _ in range(300):
        level = np.clip(rng.normal(0.8, 0.08, known), 0, 1)
        right = rng.random((known, 30)) < level[:, None]
        groups = np.arange(known).repeat(30)
        low, high = group_intervals.score_interval(mean_of(right.ravel()), groups)
        inside += low <= 0.8 <= high
    assert 0.92 <= inside / 300 <= 0.985


def test_many_groups_are_left_out_in_parts():
    """A thousand groups of one example: Student's interval, by 200 evaluations and not 1,000."""
    values, calls = np.random.default_rng(0).normal(0, 1, 1000), []

    def mean(rows):
        calls.append(len(rows))
        return values[rows].mean()

    low, high = group_intervals.score_interval(mean, np.arange(1000), is_share=False)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert len(calls) == 201 and min(calls) == 995
    assert high - low == pytest.approx(expected.high - expected.low, rel=0.15)


def test_a_difference_of_zero_is_not_below_it():
    zero = group_intervals.difference_test(mean_of(np.zeros(8)), np.arange(8))
    assert zero.p_below == zero.p_above == 1
    loss = group_intervals.difference_test(mean_of(np.full(8, -0.1)), np.arange(8))
    assert loss.p_below < 1e-4 and loss.p_above == 1
    assert group_intervals.difference_test(mean_of(np.zeros(2)), np.arange(2)) is None


def test_the_p_value_is_that_of_the_worse_reference():
    """Where p is small, that is exponential differences: counted here anew, by another formula."""
    values = np.array([-2.0, -1, -0.5, 0, 0.5, 1, 2]) - 0.9
    result = group_intervals.difference_test(mean_of(values), np.arange(7))
    drawn = np.random.default_rng(9).exponential(1, (200_000, 7)) - 1
    skew = stats.skew(drawn, axis=1, bias=False) / np.sqrt(7)
    t = stats.ttest_1samp(drawn, 0, axis=1).statistic * np.exp(-np.maximum(skew, -0.4))
    own = stats.ttest_1samp(values, 0).statistic  # of values without skewness
    assert result.p_below == pytest.approx(np.mean(t <= own), rel=0.06)
    assert result.p_below > 1.5 * stats.ttest_1samp(values, 0, alternative="less").pvalue
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (result.low, result.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_several_differences_are_tested_as_each_by_itself():
    values = np.random.default_rng(0).normal(-0.3, 1, (12, 2))
    both = group_intervals.difference_test(lambda rows: values[rows].mean(axis=0), np.arange(12))
    for column in range(2):
        one = group_intervals.difference_test(mean_of(values[:, column]), np.arange(12))
        assert both.p_below[column] == pytest.approx(one.p_below)
        assert both.p_above[column] == pytest.approx(one.p_above)
