"""Calibration, abstention and counts: what they promise holds on data whose truth is known."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from sklearn import metrics

from tfpipe.data import sampling
from tfpipe.evaluation import calibration, prevalence, selective
from tfpipe.evaluation.selective import ClassPrecision

fast = settings(max_examples=60, deadline=None)


def drawn(count: int, *, classes: int = 4, seed: int = 0, sharp: float = 1.5):
    """Returns labels [n] and probabilities [n, classes] that are exactly right: labels follow."""
    rng = np.random.default_rng(seed)
    probabilities = softmax(rng.normal(0, sharp, (count, classes)))
    labels = (rng.random((count, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    return np.minimum(labels, classes - 1), probabilities


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


# Probabilities as a model gives them: float32, zeros and near ties among them.
ANSWERS = some.lists(
    some.lists(some.floats(-60, 60, width=32), min_size=3, max_size=3), min_size=1, max_size=8
).map(lambda rows: softmax(np.array(rows, np.float32)).astype(np.float32))
TEMPERATURES = some.floats(0.5, 10)


@fast
@given(ANSWERS, TEMPERATURES)
def test_a_temperature_keeps_the_class_and_adds_up_to_one(probabilities, temperature):
    found = calibration.apply(probabilities, temperature)
    np.testing.assert_array_equal(found.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-9)
    assert np.isfinite(found).all() and found.min() >= 0


@fast
@given(TEMPERATURES, some.integers(0, 9))
def test_a_temperature_can_be_taken_back(temperature, seed):
    probabilities = drawn(20, seed=seed)[1]
    there = calibration.apply(probabilities, temperature)
    np.testing.assert_allclose(calibration.undo(there, temperature), probabilities, rtol=1e-6)
    there = calibration.apply(probabilities, temperature, (0.3, -1, 0, 2))
    back = calibration.undo(there, temperature, (0.3, -1, 0, 2))
    np.testing.assert_allclose(back, probabilities, rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(classes, temperature):
    labels, probabilities = drawn(20_000, classes=classes)
    found = calibration.fit(labels, calibration.apply(probabilities, 1 / temperature))
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert not found.note


def test_calibrating_lowers_the_error_of_new_examples():
    labels, right = drawn(6000, seed=1)
    sure = calibration.apply(right, 1 / 3)
    fit = calibration.fit(labels[:3000], sure[:3000])
    before = calibration.calibration_error(labels[3000:], sure[3000:])
    after = calibration.calibration_error(
        labels[3000:], calibration.apply(sure[3000:], fit.temperature)
    )
    assert after < before / 4 and after < 0.03


def test_a_fit_at_a_bound_says_so():
    answers = np.array([[0.9, 0.1], [0.2, 0.8]] * 10)
    right, wrong = np.array([0, 1] * 10), np.array([1, 0] * 10)
    cold, hot = calibration.fit(right, answers), calibration.fit(wrong, answers)
    assert cold.temperature == calibration.COLDEST and "0.5" in cold.note
    assert hot.temperature == calibration.HOTTEST and "10" in hot.note
    assert calibration.fit(right[:0], answers[:0]).temperature == 1.0


def test_an_answer_of_zero_for_the_truth_does_no_harm():
    found = calibration.fit(np.array([0, 1, 0]), np.array([[1, 0], [1, 0], [1, 0]], float))
    assert math.isfinite(found.temperature)


def unequal(count: int, *, seed: int, weighted: bool):
    """Returns labels of three unequal classes, the model's and the true probabilities.

    One measured number is normal about each class's own mean, so the posterior is known. A model
    that was trained with class weights gives the posterior of equal shares.
    """
    rng = np.random.default_rng(seed)
    shares, means = np.array([0.9, 0.08, 0.02]), np.array([0.0, 1.5, 3.0])
    labels = rng.choice(3, count, p=shares)
    values = rng.normal(means[labels], 1)
    likelihoods = stats.norm.pdf(values[:, None], means)
    true = likelihoods * shares
    true /= true.sum(axis=1, keepdims=True)
    model = likelihoods / likelihoods.sum(axis=1, keepdims=True) if weighted else true
    return labels, model, true


@pytest.mark.parametrize("known", [True, False])
def test_weights_of_rare_classes_are_divided_out(known):
    """Without the known shift the biases find most of it in 4,000 examples."""
    labels, model, _ = unequal(4000, seed=1, weighted=True)
    shift = sampling.prior_shift(np.array([9000, 800, 200]), balance="weights") if known else None
    fit = calibration.fit(labels, model, prior_shift=shift)
    labels, model, true = unequal(40_000, seed=2, weighted=True)
    after = calibration.apply(model, *fit[::2])
    best, loss = (metrics.log_loss(labels, p, labels=range(3)) for p in (true, after))
    assert loss < best + 0.003
    assert calibration.class_calibration_error(labels, after) < 0.01
    assert calibration.class_calibration_error(labels, model) > 0.1
    # As a top-label error sees it, a temperature alone would do.
    temperature_only = calibration.apply(model, 2.0)
    assert metrics.log_loss(labels, temperature_only, labels=range(3)) > 1.5 * best


@pytest.mark.parametrize(("sd", "is_used"), [(0.0, True), (3.0, False)])
def test_biases_stay_only_where_they_help_groups_left_out(sd, is_used):
    """Shares of .9, .08 and .02 in each run, or so unlike that they say nothing of a new run."""
    rng = np.random.default_rng(5)
    means, labels, groups = np.array([0.0, 1.5, 3.0]), [], []
    for group in range(20):
        logits = (np.log([0.9, 0.08, 0.02]) if is_used else 0) + rng.normal(0, sd, 3)
        labels.append(rng.choice(3, 100, p=softmax(logits)))
        groups.append(np.full(100, group))
    labels, groups = np.concatenate(labels), np.concatenate(groups)
    likelihoods = stats.norm.pdf(rng.normal(means[labels], 1)[:, None], means)
    model = likelihoods / likelihoods.sum(axis=1, keepdims=True)
    counts = np.bincount(labels, minlength=3)
    shift = sampling.prior_shift(counts, balance="weights")
    fit = calibration.fit_by_groups(labels, model, groups, prior_shift=shift)
    assert bool(fit.bias) == is_used


def test_a_right_model_is_left_as_it_is():
    labels, model, _ = unequal(300, seed=3, weighted=False)
    fit = calibration.fit(labels, model)
    labels, model, true = unequal(40_000, seed=4, weighted=False)
    after = calibration.apply(model, *fit[::2])
    before, loss = (metrics.log_loss(labels, p, labels=range(3)) for p in (true, after))
    assert loss < before + 0.02


def test_the_shift_of_the_priors_by_hand():
    """900 and 100 examples: weights make them equal; the fourth root draws 1.73 to 1."""
    counts = np.array([900, 100])
    weights, drawn_shares, none = (
        np.exp(sampling.prior_shift(counts, balance=b)) for b in ("weights", "sampling", "none")
    )
    assert weights[1] / weights[0] == pytest.approx(9)
    assert drawn_shares[1] / drawn_shares[0] == pytest.approx(9 / 3**0.5)
    assert none.tolist() == [1, 1]


def test_too_few_errors_is_said_only_where_it_is_so():
    answers = np.tile([[0.6, 0.4], [0.4, 0.6]], (500, 1))
    labels = np.tile([0, 1], 500)
    assert "too few errors" in calibration.fit(labels, answers).note
    labels[:20] = 1 - labels[:20]
    note = calibration.fit(labels, answers).note
    assert "have 20 errors, fewer than the model's probabilities say" in note


def test_class_calibration_error_by_hand():
    """Each class is given 0.5 and occurs in 3 of 4, or 1 of 4: 0.25 off, both of them."""
    error = calibration.class_calibration_error(
        np.array([0, 0, 0, 1]), np.full((4, 2), 0.5), bins=1
    )
    assert error == pytest.approx(0.25)


def test_calibration_error_by_hand():
    # Two bins: sure 0.6 and right 1 of 2; sure 0.9 and right 2 of 2. (0.1 + 0.1) / 2.
    sure = np.array([0.6, 0.6, 0.9, 0.9])
    probabilities = np.stack([sure, 1 - sure], axis=1)
    error = calibration.calibration_error(np.array([0, 1, 0, 0]), probabilities, bins=2)
    assert error == pytest.approx(0.1)


def test_bins_hold_equally_many():
    labels, probabilities = drawn(32)
    curve = calibration.reliability(labels, probabilities, bins=3)
    assert curve.counts.tolist() == [11, 11, 10] and (np.diff(curve.confidence) > 0).all()


@fast
@given(some.permutations(range(30)), some.integers(1, 40))
def test_calibration_error_knows_no_order_even_among_ties(order, bins):
    labels, probabilities = drawn(30, classes=2)
    probabilities = probabilities.round(1)
    found = calibration.calibration_error(labels, probabilities, bins=bins)
    again = calibration.calibration_error(labels[order], probabilities[order], bins=bins)
    assert again == pytest.approx(found) and 0 <= found <= 1
    assert calibration.reliability(labels, probabilities, bins=bins).counts.sum() == 30


def test_thresholds_keep_their_promise_on_new_examples():
    """Each draw is one user's: precision on new examples may fall below, but seldom and little."""
    new_labels, new = drawn(20_000, seed=99, sharp=2.5)
    precision = []
    for seed in range(40):
        found = selective.thresholds(*drawn(600, seed=seed, sharp=2.5), min_precision=0.9)
        told = selective.class_precision(new_labels, new, found)
        precision += [one.precision for one in told if one.predicted]
    assert len(precision) > 120  # of 160: most classes can reach it
    assert np.mean(np.array(precision) < 0.9) < 0.35
    assert np.mean(precision) > 0.9 and min(precision) > 0.8


def test_a_class_that_cannot_reach_it_is_always_unsure():
    labels, probabilities = drawn(400)
    labels = np.where(probabilities.argmax(axis=1) == 2, 0, labels)  # class 2 is never right
    found = selective.thresholds(labels, probabilities, min_precision=0.9)
    assert found[2] == math.inf and math.isfinite(found[0])
    said = selective.predict_labels(probabilities, found)
    assert not (said == 2).any() and (said[probabilities.argmax(axis=1) == 2] == -1).all()
    told = selective.class_precision(labels, probabilities, found)[2]
    assert told.predicted == 0 and told.precision is None and told.most_probable > 0


def test_sixteen_right_ones_are_needed_for_nine_in_ten():
    for count, reached in ((15, False), (16, True)):
        probabilities = np.tile([0.8, 0.2], (count, 1))
        found = selective.thresholds(np.zeros(count, int), probabilities, min_precision=0.9)
        assert (found[0] == 0.8) == reached


@fast
@given(some.integers(0, 99), some.floats(0.5, 0.99))
def test_thresholds_know_no_order_and_rise_with_what_is_asked(seed, asked):
    labels, probabilities = drawn(200, seed=seed, classes=3)
    probabilities = probabilities.round(2)
    found = selective.thresholds(labels, probabilities, min_precision=asked)
    back = selective.thresholds(labels[::-1], probabilities[::-1], min_precision=asked)
    np.testing.assert_array_equal(found, back)
    stricter = selective.thresholds(labels, probabilities, min_precision=asked + 0.009)
    assert (stricter >= found).all()


def test_thresholds_survive_a_card():
    thresholds = np.array([0.1 + 0.2, math.inf])
    told = json.loads(json.dumps(selective.to_card(thresholds, classes=("a", "b"))))
    assert told["b"] is None
    np.testing.assert_array_equal(selective.from_card(told, classes=("a", "b")), thresholds)


def test_class_precision_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    told = selective.class_precision(np.array([0, 1, 0, 1]), probabilities, np.array([0.7, 0.9]))
    low, high = 0.0945312, 0.9054688  # Wilson (1927) of 1 in 2
    assert told[0] == ClassPrecision(1, 2, 3, 0.5, pytest.approx(low), pytest.approx(high))
    assert told[1] == ClassPrecision(0, 0, 1, None, None, None)


def covered_precision(groups: int, *, correlation: float, as_groups: bool) -> float:
    """Returns how often the interval holds a precision of .9 of groups that differ so."""
    rng, inside = np.random.default_rng(groups), 0
    names = np.arange(groups).repeat(20)
    probabilities = np.tile([0.9, 0.1], (20 * groups, 1))
    for _ in range(300):
        of_group = rng.beta(0.9 * (1 / correlation - 1), 0.1 * (1 / correlation - 1), groups)
        labels = (rng.random(len(names)) > of_group[names]).astype(int)
        precision = selective.class_precision(
            labels, probabilities, np.zeros(2), groups=names if as_groups else None
        )[0]
        inside += precision.low <= 0.9 <= precision.high
    return inside / 300


@pytest.mark.slow
@pytest.mark.parametrize("groups", [6, 20])
def test_precision_intervals_are_for_new_groups(groups):
    assert covered_precision(groups, correlation=0.1, as_groups=True) >= 0.91
    assert covered_precision(groups, correlation=0.1, as_groups=False) < 0.86


def test_one_group_has_no_interval_of_precision():
    probabilities = np.tile([0.9, 0.1], (4, 1))
    labels, thresholds = np.array([0, 0, 1, 0]), np.zeros(2)
    one = selective.class_precision(labels, probabilities, thresholds, groups=np.zeros(4))[0]
    assert (one.precision, one.low, one.high) == (0.75, None, None)
    # Groups of one example each are independent examples.
    apart = selective.class_precision(labels, probabilities, thresholds, groups=np.arange(4))
    assert apart == selective.class_precision(labels, probabilities, thresholds)


def test_risk_coverage_by_hand():
    sure = np.array([0.9, 0.8, 0.7, 0.6])
    probabilities = np.stack([sure, 1 - sure], axis=1)
    curve = selective.risk_coverage(np.array([0, 1, 0, 0]), probabilities)
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1])
    assert curve.area == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert curve.best == pytest.approx(1 / 16)


def test_risk_of_equally_sure_examples_knows_no_order():
    labels, probabilities = drawn(60, classes=2)
    probabilities = probabilities.round(1)
    forth = selective.risk_coverage(labels, probabilities)
    back = selective.risk_coverage(labels[::-1], probabilities[::-1])
    np.testing.assert_allclose(forth.risk, back.risk)
    assert forth.risk[-1] == pytest.approx(
        1 - metrics.accuracy_score(labels, probabilities.argmax(1))
    )


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_conformal_sets_hold_the_truth_as_often_as_they_say(alpha):
    """Over many draws of 49 validation examples the share lies in [1 - alpha, + 1 / 50]."""
    shares = []
    for seed in range(400):
        labels, probabilities = drawn(149, seed=seed)
        threshold = selective.conformal_threshold(labels[:49], probabilities[:49], alpha=alpha)
        held = selective.sets(probabilities[49:], threshold)[np.arange(100), labels[49:]]
        shares.append(held.mean())
    deviation = np.std(shares) / math.sqrt(len(shares))
    assert 1 - alpha - 4 * deviation < np.mean(shares) < 1 - alpha + 1 / 50 + 4 * deviation


def test_too_few_examples_put_every_class_in_a_set():
    labels, probabilities = drawn(8)
    threshold = selective.conformal_threshold(labels, probabilities, alpha=0.1)
    assert selective.sets(probabilities, threshold).all()
    labels, probabilities = drawn(9)
    threshold = selective.conformal_threshold(labels, probabilities, alpha=0.1)
    assert threshold == probabilities[np.arange(9), labels].min()


RATES = np.array([[0.9, 0.06, 0.04], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]])


def called(labels, rng):
    return (rng.random((len(labels), 1)) > RATES[labels].cumsum(axis=1)).sum(axis=1)


def test_counts_are_right_where_the_classifier_is_perfect():
    labels = np.arange(600) % 3
    confusions = prevalence.confusions(labels, labels, np.arange(600), classes=3)
    found = prevalence.estimate(np.array([900, 100, 0, 0]), confusions, new_groups=600)
    np.testing.assert_allclose(found.adjusted, [900, 100, 0], atol=6)
    assert found.adjusted.sum() == pytest.approx(1000)
    assert (found.low <= found.adjusted + 1e-6).all() and (
        found.adjusted <= found.high + 1e-6
    ).all()


def test_a_perfect_classifier_counts_exactly():
    """No error was ever seen in 20 runs, so a number counted is that of the class."""
    labels = np.arange(2000) % 2
    confusions = prevalence.confusions(labels, labels, np.arange(2000) % 20, classes=2)
    result = prevalence.estimate(np.array([950, 50, 0]), confusions, new_groups=20)
    np.testing.assert_allclose(result.adjusted, [950, 50], atol=2)
    assert (result.high - result.low < 8).all()  # a share of .05 itself is known to 27 of 1,000


@pytest.mark.parametrize(("groups", "reason"), [(0, "no labelled image"), (1, "has 1 group")])
def test_too_few_test_groups_give_no_interval_and_the_reason(groups, reason):
    labels = np.arange(40 * groups) % 2
    confusions = prevalence.confusions(labels, labels, np.zeros(40 * groups), classes=2)
    result = prevalence.estimate(np.array([30, 10, 0]), confusions, new_groups=1)
    assert np.isnan(result.low).all() and np.isnan(result.high).all()
    assert np.isnan(result.adjusted).all() == (not groups)
    assert reason in prevalence.missing_interval(confusions)
    two = prevalence.confusions(np.arange(8) % 2, np.arange(8) % 2, np.arange(8) // 4, classes=2)
    assert prevalence.missing_interval(two) is None


@pytest.mark.slow
@pytest.mark.parametrize("concentration", [15, 1e6])
def test_counts_are_covered_whether_runs_differ_or_not(concentration):
    """Raw rates of few examples differ, though runs do not: taken for runs, all was covered."""
    rng, inside = np.random.default_rng(2), []

    def run(labels):
        rates = np.stack([rng.dirichlet(concentration * row) for row in RATES])
        drawn = rng.random((len(labels), 1)) > rates[labels].cumsum(axis=1)
        return np.minimum(drawn.sum(axis=1), 2)

    for seed in range(80):
        labels = rng.choice(3, (12, 60), p=[0.5, 0.3, 0.2])
        named = np.concatenate([run(part) for part in labels])
        confusions = prevalence.confusions(
            labels.ravel(), named, np.repeat(np.arange(12), 60), classes=3
        )
        truth = rng.choice(3, 400, p=[0.8, 0.15, 0.05])
        new = np.concatenate([run(part) for part in np.array_split(truth, 4)])
        counts = prevalence.count_predictions(new, classes=3)
        result = prevalence.estimate(counts, confusions, new_groups=4, seed=seed)
        real = np.bincount(truth, minlength=3)
        inside.append((result.low <= real) & (real <= result.high))
    # Of 240 that depend on each other; the old interval covered all of runs that do not differ.
    assert 0.88 <= np.mean(inside) <= (0.99 if concentration > 100 else 0.985)


@pytest.mark.slow
def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Evaluated on equally many of each class, asked of runs that are nine tenths of one."""
    inside, plain = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels, new = rng.integers(0, 3, 400), rng.choice(3, 1000, p=[0.9, 0.08, 0.02])
        groups = np.arange(400) // 5
        confusions = prevalence.confusions(labels, called(labels, rng), groups, classes=3)
        counts = prevalence.count_predictions(called(new, rng), classes=3)
        found, truth = (
            prevalence.estimate(counts, confusions, new_groups=200, seed=seed),
            np.bincount(new, minlength=3),
        )
        inside.append((found.low <= truth) & (truth <= found.high))
        plain.append(np.abs(counts[:3] - truth) - np.abs(found.adjusted - truth))
    # 180 intervals at 95 %; those of one draw depend on each other, so count them as 60.
    assert stats.binom.ppf(0.001, 60, 0.95) / 60 <= np.mean(inside) <= 0.995
    assert np.mean(plain) > 0  # nearer to the truth than what is called


def test_groups_that_differ_make_the_interval_wide():
    labels = np.zeros(400, int)
    said = np.repeat([0, 1], 200)
    alike, unlike = np.tile(np.arange(10), 40), np.repeat(np.arange(10), 40)
    widths = []
    for groups in (alike, unlike):
        labels_too, said_too = (
            np.append(labels, np.ones(400, int)),
            np.append(said, np.ones(400, int)),
        )
        both = np.append(groups, np.tile(np.arange(10), 40))
        confusions = prevalence.confusions(labels_too, said_too, both, classes=2)
        found = prevalence.estimate(np.array([300, 700, 0]), confusions, new_groups=10)
        widths.append(found.high[0] - found.low[0])
    assert widths[1] > 2 * widths[0]


def test_one_new_run_is_less_certain_than_ten():
    """Half of the runs see one class as the other; one new run may be of either kind."""
    labels = np.tile(np.repeat([0, 1], 20), 10)
    groups = np.arange(10).repeat(40)
    named = np.where((labels == 0) & (groups % 2 == 0), np.tile([0, 1], 200), labels)
    confusions = prevalence.confusions(labels, named, groups, classes=2)
    counts = np.array([300, 700, 0])
    one, ten = (prevalence.estimate(counts, confusions, new_groups=n) for n in (1, 10))
    assert one.high[0] - one.low[0] > 1.5 * (ten.high[0] - ten.low[0])
    np.testing.assert_array_equal(one.adjusted, ten.adjusted)


def test_unsure_answers_are_counted_beside_the_classes():
    labels, said = np.array([0, 0, 1, 1]), np.array([0, -1, 1, -1])
    confusions = prevalence.confusions(labels, said, np.array(["a", "a", "b", "b"]), classes=2)
    np.testing.assert_array_equal(confusions, [[[1, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 1, 1]]])
    counts = prevalence.count_predictions(said, classes=2)
    np.testing.assert_array_equal(counts, [1, 1, 2])
    assert prevalence.estimate(counts, confusions, new_groups=2).adjusted.sum() == pytest.approx(4)


def test_of_nothing_there_is_nothing():
    confusions = prevalence.confusions(np.array([0, 1]), np.array([0, 1]), np.arange(2), classes=2)
    found = prevalence.estimate(np.zeros(3, int), confusions, new_groups=1)
    np.testing.assert_array_equal(np.stack(found), 0)
