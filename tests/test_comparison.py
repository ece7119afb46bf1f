"""Whether a version is worse than the one before, beyond what other groups would change."""

import numpy as np
import pytest

from tfpipe import comparison, model_card, resampling
from tfpipe.comparison import Answers


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(resampling, "DRAWS", 100)


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


def compared(given: Answers, *, known=range(20), classes=("a", "b"), objective="average_precision"):
    known = {str(group) for group in known}
    return comparison.compare(given, known=known, classes=classes, objective=objective)


def test_the_same_skill_is_no_difference_and_more_or_less_of_it_is():
    assert compared(answers())["sets"]["old"]["verdict"] == comparison.SAME
    worse = compared(answers(after=0.6))
    assert worse["is_worse"] and worse["sets"]["old"]["high"] < 0
    assert worse["classes"]["a"]["verdict"] == comparison.WORSE
    better = compared(answers(before=0.6))
    assert not better["is_worse"] and better["sets"]["old"]["low"] > 0
    assert "Classes that gained: a, b." in comparison.in_words(better)


def test_old_and_new_groups_are_judged_each_for_itself():
    good, bad = answers(groups=24), answers(groups=24, after=0.3)
    new = np.arange(len(good.labels)) >= 16 * 15  # groups 16 to 23
    mixed = Answers(*(np.where(_wide(new, a), b, a) for a, b in zip(good, bad, strict=True)))
    told = compared(mixed, known=range(16))
    verdicts = {name: one["verdict"] for name, one in told["sets"].items()}
    assert verdicts["old"] == comparison.SAME and verdicts["new"] == comparison.WORSE
    assert told["is_worse"] and told["sets"]["new"]["groups"] == 8


def _wide(rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, *[1] * (like.ndim - 1))


def test_a_loss_is_the_better_the_lower():
    rng = np.random.default_rng(0)
    errors, groups = rng.random(200), np.arange(20).repeat(10).astype(str)
    for factor, verdict in ((0.5, comparison.BETTER), (2.0, comparison.WORSE)):
        given = Answers(np.zeros(200, int), groups, errors, factor * errors)
        told = compared(given, objective="loss")
        assert told["sets"]["old"]["verdict"] == verdict and told["classes"] == {}


def test_what_cannot_be_told_is_said_and_refuses_nothing():
    told = compared(answers())  # no new groups
    assert told["sets"]["new"]["verdict"] == comparison.UNKNOWN
    assert "0 new test groups: there are none." in comparison.in_words(told)
    one = answers(after=0.3)
    one = one.only((one.labels == 0) | (np.arange(300) < 285))  # the last group lacks a class
    told = compared(one, known=range(19))
    assert "lack a class" in told["sets"]["new"]["why"]


def test_few_new_groups_are_judged_by_their_pictures():
    told = compared(answers(after=0.2), known=range(18))
    assert told["sets"]["new"]["of"] == "picture" and told["sets"]["old"]["of"] == "group"
    assert told["sets"]["new"]["verdict"] == comparison.WORSE


def test_as_good_a_version_is_seldom_refused_whatever_the_groups():
    refused, rng = 0, np.random.default_rng(0)
    names = np.arange(12).repeat(10).astype(str)
    for _ in range(60):
        # What one version finds harder than the other goes by groups, as pictures of one are alike.
        before, after = rng.random((2, 12)).repeat(10, axis=1) + rng.random((2, 120))
        given = Answers(np.zeros(120, int), names, before, after)
        refused += compared(given, objective="loss")["is_worse"]
    # 2.5 % is asked for; of 12 groups a bootstrap is somewhat too sure. Draws of pictures, not of
    # groups, refuse a third.
    assert refused <= 7


def test_intervals_are_as_wide_as_those_of_means_of_groups():
    rng = np.random.default_rng(0)
    of_group = rng.normal(0, 1, 40)
    values, groups = of_group.repeat(25), np.arange(40).repeat(25)
    low, high = resampling.interval(lambda rows: values[rows].mean(), groups, draws=2000)
    expected = 2 * 1.96 * of_group.std() / np.sqrt(40)  # not the 5 times smaller one of pictures
    assert abs((high - low) / expected - 1) < 0.1


def test_a_card_shows_names_as_they_are():
    card = {"task": "<b>", "model": "a|b", "version": 1, "kind": "classifier", "inputs": ["image"]}
    text = model_card.text(card | {"limits": ["[x](http://y) `z`\n# w"]})
    assert "\\<b\\>" in text and "a\\|b" in text
    assert "- \\[x\\](http://y) \\`z\\` \\# w" in text
