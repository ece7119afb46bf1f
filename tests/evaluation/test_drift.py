"""What has left the training split is named; what differs only by chance is not."""

import threading

import numpy as np
import pytest
from made_card import made_card

from tfpipe.evaluation import drift

CLASSES = ("few", "many")


def drawn(rng, *, groups: int, examples: int = 40, spread: float = 1.0, brighter: float = 0.0):
    """Returns images [n, 8, 8, 1], columns [n, 2], classes [n] and groups [n]; groups differ."""
    n, own = groups * examples, rng.normal(0, spread, (groups, 2)).repeat(examples, axis=0)
    light = 100 + brighter + 8 * (own[:, 0] + rng.normal(size=n))
    images = light[:, None, None, None] + rng.normal(0, 10, (n, 8, 8, 1))
    columns = np.stack([own[:, 1] + rng.normal(size=n), rng.normal(size=n)], axis=1)
    said = (rng.random(n) < 0.2).astype(int)
    names = np.arange(groups).repeat(examples).astype(str)
    return np.clip(images, 0, 255).astype(np.uint8), columns.astype(np.float32), said, names


@pytest.fixture(scope="module")
def card():
    images, columns, said, groups = drawn(np.random.default_rng(0), groups=40)
    columns[::50, 1] = np.nan
    values = drift.measure(images, columns, ("area", "width"))
    learnt = drift.histograms(
        values, groups, predictions=said, prediction_groups=groups, classes=CLASSES
    )
    return made_card(drift=learnt, columns=("area", "width"), thresholds={"decision": 0.5})


def found(card, images, columns, said, groups) -> dict[str, drift.Finding]:
    watch = drift.Watch(card)
    likely = np.eye(2)[said]
    for i in range(0, len(images), 17):
        part = slice(i, i + 17)
        told = {"columns": columns[part], "probabilities": likely[part], "groups": groups[part]}
        watch.update(images[part], **told)
    return {one.name: one for one in watch.findings()}


def test_sets_like_the_training_split_are_not_told_of(card):
    rng = np.random.default_rng(1)
    alarms = [
        bool(found(card, *drawn(rng, groups=groups))) for groups in (1, 2, 5, 12) for _ in range(10)
    ]
    # One in twenty is asked for; binomial, 40 sets: more than seven come once in two thousand.
    assert sum(alarms) <= 7


@pytest.mark.parametrize("groups", [1, 3, 12])
def test_pictures_that_are_much_brighter_are_named_even_when_few(card, groups):
    new = drawn(np.random.default_rng(2), groups=groups, brighter=90)
    told = found(card, *new)
    assert told["brightness"].is_far and not {"column area", "class mix"} & set(told)
    assert "brightness is far outside" in told["brightness"].sentence
    assert f"{new[0].mean():.4g} on average" in told["brightness"].sentence


def test_columns_missing_values_and_the_mix_of_classes_are_named(card):
    images, columns, said, groups = drawn(np.random.default_rng(3), groups=12)
    assert list(found(card, images, columns + np.float32([6, 0]), said, groups)) == ["column area"]
    lacking = columns.copy()
    lacking[:, 1] = np.nan
    told = found(card, images, lacking, said, groups)
    assert list(told) == ["column width"] and "have no value" in told["column width"].sentence
    told = found(card, images, columns, (np.arange(len(said)) % 5 > 0).astype(int), groups)
    assert list(told) == ["class mix"] and "many is 80.0% of them" in told["class mix"].sentence


def test_few_pictures_are_held_against_the_chance_of_so_few(card):
    images, columns, said, groups = drawn(np.random.default_rng(4), groups=40)
    few = np.arange(0, len(images), 40)[:6]  # six pictures of six groups
    own = [field[few] for field in (images, columns, said, groups)]
    raw = drift.index(
        drift.counts(own[0].mean(axis=(1, 2, 3)), card.drift["brightness"]["edges"]),
        np.array(card.drift["brightness"]["counts"]),
    )
    assert raw > drift.FAR and not found(card, *own)


def test_the_index_is_that_of_the_formula():
    # By hand: 10 and 30 of 40 against 20 and 20, half a picture added to each.
    a, e = np.array([10.5, 30.5]) / 41, np.array([0.5, 0.5])
    expected = sum((a - e) * np.log(a / e))
    assert np.isclose(drift.index(np.array([10, 30]), np.array([20, 20])), expected)
    assert drift.index(np.array([7, 7]), np.array([7, 7])) == 0


def test_one_training_group_tells_nothing_of_others():
    images, columns, said, groups = drawn(np.random.default_rng(5), groups=1)
    learnt = drift.histograms(drift.measure(images, None), groups)
    watch = drift.Watch(made_card(drift=learnt))
    watch.update(np.full((50, 8, 8, 1), 255, np.uint8))
    assert watch.findings() == []


def test_light_is_numpys_and_counts_do_not_depend_on_how_pictures_come(card):
    images, columns, said, groups = drawn(np.random.default_rng(6), groups=3)
    told = drift.measure(images, columns, ("area", "width"))
    np.testing.assert_allclose(told["brightness"], images.mean(axis=(1, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(told["contrast"], images.std(axis=(1, 2, 3)), rtol=1e-9)
    whole, parts = drift.Watch(card), drift.Watch(card)
    whole.update(images, columns=columns, groups=groups)
    for i in range(0, len(images), 7):
        parts.update(images[i : i + 7], columns=columns[i : i + 7], groups=groups[i : i + 7])
    for name in card.drift:
        np.testing.assert_array_equal(whole.state()["counts"][name], parts.state()["counts"][name])
    assert whole.state()["groups"] == parts.state()["groups"] == 3


def test_threads_add_up(card):
    images, columns, _, _ = drawn(np.random.default_rng(7), groups=1)
    watch = drift.Watch(card)
    threads = [
        threading.Thread(target=lambda: watch.update(images, columns=columns)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(watch.state()["counts"]["brightness"]) == 8 * len(images) == watch.state()["groups"]


def test_the_highest_value_is_inside_and_the_bins_have_equal_shares():
    known = drift.continuous(np.arange(100.0), np.arange(100) // 10, alarms=0.05)
    assert known["counts"] == [0, *[10] * 10, 0, 0]


def test_a_further_group_of_three_is_expected_as_far_as_student_has_it():
    histograms = np.array([[30, 10], [22, 18], [25, 15]])
    others = histograms.sum(axis=0) - histograms
    logs = [np.log(drift.index(*two)) for two in zip(histograms, others, strict=True)]
    # A prediction interval: t of two degrees of freedom at 95 %, from its table.
    expected = np.mean(logs) + 2.920 * np.std(logs, ddof=1) * np.sqrt(1 + 1 / 3)
    ((drawn, found),) = drift.group_limits(histograms, alarms=0.05)
    assert drawn == 1 and np.log(found) == pytest.approx(expected, rel=1e-3)


def test_more_groups_must_be_nearer_and_more_pictures_of_as_many_need_not(card):
    known = card.drift["brightness"]
    each = sum(known["counts"]) // known["groups"]
    limits = [drift.limit(known, examples=n * each, groups=n) for n in (16, 32, 64, 640)]
    assert limits == sorted(limits, reverse=True) and len(set(limits)) == 4
    # The training's own 40 groups are off the truth, however many new ones there are.
    assert limits[-1] > limits[0] / 6
    more = drift.limit(known, examples=100 * each, groups=4)
    assert more == drift.limit(known, examples=4 * each, groups=4)
    assert drift.limit(known, examples=each // 2, groups=4) > more
