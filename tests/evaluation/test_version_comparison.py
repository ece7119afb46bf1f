"""Whether a version is worse than the one before, beyond what other groups would change."""

import json

import numpy as np
import pytest
from made_card import made_card

from tfpipe.evaluation import bootstrap, group_intervals, version_comparison
from tfpipe.evaluation.version_comparison import Answers, Files, Score
from tfpipe.registry import model_card
from tfpipe.tasks.melt_layer import layer_metrics

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS", 40)


def answers(*, groups=20, each=15, before=2.0, after=2.0, seed=0, classes=2) -> Answers:
    """Returns what two versions say, each telling classes apart by so many deviations."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, groups * each)
    easy = rng.normal(0, 0.5, (len(labels), classes))  # what both find easy or hard

    def said(apart: float) -> np.ndarray:
        logits = easy + rng.normal(0, 0.3, easy.shape) + apart * np.eye(classes)[labels]
        likely = np.exp(logits)
        return likely / likely.sum(axis=1, keepdims=True)

    one, other = said(before), said(after)
    names = np.arange(groups).repeat(each).astype(str)
    return Answers(labels, names, one, other, one.argmax(axis=1), other.argmax(axis=1))


def compared(
    given: Answers, *, old_groups=range(20), classes=("a", "b"), objective="average_precision"
):
    old_groups = {str(group) for group in old_groups}
    return version_comparison.compare(
        given, old_groups=old_groups, classes=classes, objective=objective
    )


def test_the_same_skill_is_no_difference_and_more_or_less_of_it_is():
    assert compared(answers())["sets"]["old"]["verdict"] == version_comparison.SAME
    worse = compared(answers(after=0.6))
    assert worse["is_worse"] and worse["sets"]["old"]["high"] < 0
    assert worse["classes"]["a"]["verdict"] == version_comparison.WORSE
    better = compared(answers(before=0.6))
    assert not better["is_worse"] and better["sets"]["old"]["low"] > 0
    assert "Classes that gained: a, b." in version_comparison.in_words(better)


def test_old_and_new_groups_are_judged_each_for_itself():
    good, bad = answers(groups=24), answers(groups=24, after=0.3)
    new = np.arange(len(good.labels)) >= 16 * 15  # groups 16 to 23
    mixed = Answers(*(np.where(_wide(new, a), b, a) for a, b in zip(good, bad, strict=True)))
    told = compared(mixed, old_groups=range(16))
    verdicts = {name: one["verdict"] for name, one in told["sets"].items()}
    assert (
        verdicts["old"] == version_comparison.SAME and verdicts["new"] == version_comparison.WORSE
    )
    assert told["is_worse"] and told["sets"]["new"]["groups"] == 8


def _wide(rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, *[1] * (like.ndim - 1))


def test_a_loss_is_the_better_the_lower():
    rng = np.random.default_rng(0)
    errors, groups = rng.random(200), np.arange(20).repeat(10).astype(str)
    for factor, verdict in ((0.5, version_comparison.BETTER), (2.0, version_comparison.WORSE)):
        given = Answers(np.zeros(200, int), groups, errors, factor * errors)
        told = compared(given, objective="loss")
        assert told["sets"]["old"]["verdict"] == verdict and told["classes"] == {}


def test_what_cannot_be_told_is_said_and_refuses_nothing():
    told = compared(answers())  # no new groups
    assert told["sets"]["new"]["verdict"] == version_comparison.UNKNOWN
    assert "0 new test groups: average_precision unknown, there are none." in (
        version_comparison.in_words(told)
    )
    one = answers(after=0.3)
    one = one.only((one.labels == 0) | (np.arange(300) < 285))  # the last group lacks a class
    told = compared(one, old_groups=range(19))
    assert "lack a class" in told["sets"]["new"]["why"]


def test_of_few_groups_only_a_great_loss_is_told():
    great = compared(answers(after=0.2), old_groups=range(18))
    assert great["sets"]["new"]["of"] == "example" and great["sets"]["old"]["of"] == "group"
    assert great["sets"]["new"]["verdict"] == version_comparison.WORSE
    # Worse beyond chance among its 360 pictures, by less than a tenth: other groups may differ.
    little = compared(answers(before=2.0, after=1.2, groups=3, each=120), old_groups=range(3))
    one = little["sets"]["old"]
    assert -0.1 < one["after"] - one["before"] < 0 and one["high"] < 0
    assert one["verdict"] == version_comparison.UNKNOWN and not little["is_worse"]
    assert "fewer than 5 groups show only a great loss" in version_comparison.in_words(little)[0]
    assert {own["verdict"] for own in little["classes"].values()} == {version_comparison.UNKNOWN}
    better = compared(answers(before=0.2, groups=3, each=50), old_groups=range(3))
    assert better["sets"]["all"]["verdict"] == version_comparison.UNKNOWN
    errors = np.repeat([[1.0, 2.0, 3.0]], 20, axis=0).ravel()
    for factor, is_worse in ((1.09, False), (1.11, True)):  # a tenth of an error is of what it was
        given = Answers(np.zeros(60, int), np.zeros(60).astype(str), errors, factor * errors)
        assert compared(given, old_groups=[0.0], objective="loss")["is_worse"] == is_worse


def test_where_nothing_was_wrong_before_any_error_is_a_great_one():
    def score(after: float) -> Score:
        return Score("error", np.array(["a", "b", "c"]), lambda _, new: after * new, is_error=True)

    for after, verdict in ((0.3, version_comparison.WORSE), (0.0, version_comparison.UNKNOWN)):
        told = version_comparison.compare_sets(score(after), old_groups={"a", "b", "c"})
        assert told["old"]["verdict"] == verdict


def test_too_few_new_groups_are_judged_together_with_the_old_ones():
    rng = np.random.default_rng(0)

    def judged(old: list[float], new: list[float]) -> tuple[str, str, bool]:
        count = len(old) + len(new)
        groups = np.arange(count).repeat(40).astype(str)
        levels = np.stack([np.zeros(count), [*old, *new]]).repeat(40, axis=1)
        levels += rng.normal(0, 0.01, levels.shape)
        score = Score("s", groups, lambda rows, is_new: -levels[int(is_new), rows].mean())
        sets = version_comparison.compare_sets(score, old_groups=set(map(str, range(len(old)))))
        return sets["old"]["verdict"], sets["new"]["verdict"], _refused(sets)

    unknown = version_comparison.UNKNOWN
    # A twentieth everywhere: too little for four groups, enough for all eight.
    assert judged([0.05] * 4, [0.05] * 4) == (unknown, unknown, True)
    assert judged([0.05, -0.05] * 2, [0.05, -0.05] * 2) == (unknown, unknown, False)
    # By Student: 0.05 of old ones is 2.2 deviations, of 2.4; 0.065 of all is 4, of 2.7 at 1 %.
    assert judged([0.11, -0.01] * 4, [0.095] * 4) == (version_comparison.SAME, unknown, True)
    assert judged([0.11, -0.01] * 4, []) == (version_comparison.SAME, unknown, False)


def _refused(sets) -> bool:
    return version_comparison.is_worse(version_comparison.deciding_sets(sets))


def refusals(old: int, new: int, *, skill: float, runs: int = 100) -> float:
    """Returns how often a version is refused that is right so often; the one before is at 85 %."""
    rng, count = np.random.default_rng(1), 0
    names = np.arange(old + new).repeat(40).astype(str)
    for _ in range(runs):
        # What a version finds hard goes by groups: from one to another it varies by 4 %.
        levels = np.array([[0.85], [skill]]) + rng.normal(0, 0.04, (2, old + new))
        right = rng.random((2, len(names))) < levels.repeat(40, axis=1)
        of = lambda rows, is_new, right=right: right[int(is_new), rows].mean()  # noqa: E731
        sets = version_comparison.compare_sets(
            Score("s", names, of), old_groups={str(i) for i in range(old)}
        )
        count += _refused(sets)
    return count / runs


@pytest.mark.parametrize(("old", "new"), [(12, 0), (12, 12)])
@pytest.mark.parametrize("scores", [1, 2])
def test_equal_versions_with_skewed_differences_are_seldom_refused(old, new, scores):
    """A little worse in most groups, much better in a few, equal on average.

    Student's t and a look at each set refused up to 22 % of them. 5 % are 15 of 300; 23 or more
    have a chance of 3 %.
    """
    rng, count = np.random.default_rng(3), 0
    groups = np.arange(old + new).astype(str)
    for _ in range(300):
        deciding = []
        for _ in range(scores):
            gain = 0.02 * (rng.exponential(1, old + new) - 1)
            of = lambda rows, is_new, gain=gain: 0.8 + is_new * gain[rows].mean()  # noqa: E731
            sets = version_comparison.compare_sets(
                Score("s", groups, of), old_groups={str(i) for i in range(old)}
            )
            deciding += version_comparison.deciding_sets(sets)
        count += version_comparison.is_worse(deciding)
    assert count <= 23


@pytest.mark.parametrize(("old", "new"), [(1, 0), (5, 0), (2, 2), (8, 2), (8, 8)])
def test_as_good_a_version_is_seldom_refused_and_a_bad_one_always(old, new):
    assert refusals(old, new, skill=0.85) <= 0.1
    assert refusals(old, new, skill=0.45, runs=10) == 1


def test_few_groups_make_an_interval_as_wide_as_student_has_it():
    values = np.array([0.3, -1.2, 0.4, 2.0, 0.1])  # of five groups
    bounds = bootstrap.student_interval(lambda rows: values[rows].mean(), np.arange(5), draws=2000)
    # Student's t of four degrees of freedom, from its table; of two, 12.71.
    expected = values.mean() + 2.776 * values.std(ddof=1) / np.sqrt(5) * np.array([-1, 1])
    np.testing.assert_allclose(bounds, expected, atol=0.03 * (expected[1] - expected[0]))
    two = bootstrap.student_interval(lambda rows: values[rows].mean(), np.arange(2), draws=2000)
    assert (two[1] - two[0]) / 2 == pytest.approx(12.71 * 0.75, rel=0.05)  # half of 0.3 + 1.2
    assert bootstrap.student_interval(lambda rows: 1.0, np.zeros(9)) is None


def matches(hits: int, misses: int, false: int, error_mm: float) -> layer_metrics.LayerCounts:
    return layer_metrics.LayerCounts(
        hits, misses, false, (error_mm,) * hits, ("other",) * false, hits + false
    )


def test_whole_files_are_compared_by_the_score_that_the_task_has():
    same = answers()
    groups = np.arange(20).astype(str)
    good = [matches(3, i % 2, 0, 0.2) for i in range(20)]
    lost = [matches(1, 2, 1, 0.2) for _ in range(20)]
    off = [matches(3, i % 2, 0, 2.0) for i in range(20)]

    def told(after):
        files = Files(groups, good, after, "layer_f1", "layer_depth_error_mm")
        old_groups = {str(i) for i in range(12)}
        return version_comparison.compare(
            same,
            old_groups=old_groups,
            classes=("a", "b"),
            objective="average_precision",
            files=files,
        )

    worse = told(lost)
    assert worse["is_worse"] and worse["sets"]["old"]["verdict"] == version_comparison.SAME
    by, beside = worse["files"]
    assert (by["score"], by["decides"]) == ("layer_f1", True)
    # By hand, of the 12 old photos: 36 hits and 6 misses; 12 hits, 24 misses and 12 false ones.
    old = by["sets"]["old"]
    assert old["before"] == pytest.approx(72 / 78) and old["after"] == pytest.approx(24 / 60)
    assert old["verdict"] == by["sets"]["new"]["verdict"] == version_comparison.WORSE
    assert any(
        s.startswith("8 new test groups: worse, layer_f1 ")
        for s in version_comparison.in_words(worse)
    )
    farther = told(off)
    beside = farther["files"][1]["sets"]["all"]
    assert (beside["before"], beside["after"]) == (0.2, 2.0) and beside["verdict"] == "worse"
    assert not farther["is_worse"]  # millimetres are told, and decide nothing
    assert any(
        "layer_depth_error_mm (does not decide)" in s for s in version_comparison.in_words(farther)
    )
    new = np.arange(20) >= 12
    only_new = told([lost[i] if new[i] else good[i] for i in range(20)])
    assert (
        only_new["is_worse"]
        and only_new["files"][0]["sets"]["old"]["verdict"] == version_comparison.SAME
    )


def test_files_in_which_there_is_nothing_to_find_are_not_told():
    none = [matches(0, 0, 0, 0.0)] * 6
    files = Files(np.arange(6).astype(str), none, none, "layer_f1")
    told = version_comparison.compare(
        answers(), old_groups=set(), classes=("a", "b"), objective="macro_f1", files=files
    )
    assert told["files"][0]["sets"]["new"]["verdict"] == version_comparison.UNKNOWN
    json.dumps(told, allow_nan=False)


def test_intervals_are_as_wide_as_those_of_means_of_groups():
    rng = np.random.default_rng(0)
    of_group = rng.normal(0, 1, 40)
    values, groups = of_group.repeat(25), np.arange(40).repeat(25)
    low, high = group_intervals.score_interval(
        lambda rows: values[rows].mean(), groups, is_share=False
    )
    expected = 2 * 1.96 * of_group.std() / np.sqrt(40)  # not the 5 times smaller one of pictures
    assert abs((high - low) / expected - 1) < 0.1


def test_a_card_shows_names_as_they_are():
    limitations = ("[x](http://y) `z`\n# w",)
    text = model_card.text(made_card(task="<b>", model="a|b", version=1, limitations=limitations))
    assert "\\<b\\>" in text and "a\\|b" in text
    assert "- \\[x\\](http://y) \\`z\\` \\# w" in text
