"""The split of a group: by the hash of its name and by its classes; nothing packed ever moves."""

import itertools
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from tfpipe.base.errors import UserError
from tfpipe.tasks.splits import PackedSplits, SplitConfig
from tfpipe.tasks.task import SPLITS, Source

GROUPS = some.lists(some.text(), max_size=40)
SHARES = some.tuples(*[some.integers(1, 98)] * 2).filter(lambda two: sum(two) < 100)
FRACTIONS = SHARES.map(lambda two: (two[0] / 100, two[1] / 100, 1 - sum(two) / 100))
fast = settings(max_examples=60, deadline=None)


def splits_of(groups, fractions, salt=""):
    """Returns the split of each example, given its group."""
    config = SplitConfig(fractions, salt)
    return [config.of_group(group) for group in groups]


@fast
@given(GROUPS, FRACTIONS, some.text())
def test_no_group_is_in_two_splits_and_order_is_nothing(groups, fractions, salt):
    forth, back = splits_of(groups, fractions, salt), splits_of(groups[::-1], fractions, salt)
    assert forth == back[::-1] and set(forth) <= set(SPLITS)
    assert len(set(zip(groups, forth, strict=True))) == len(set(groups))


@fast
@given(GROUPS, GROUPS, FRACTIONS)
def test_appended_groups_move_no_old_one(old, new, fractions):
    assert splits_of(old + new, fractions)[: len(old)] == splits_of(old, fractions)


@fast
@given(FRACTIONS, some.text(max_size=8), some.text(max_size=8))
def test_shares_come_out_as_asked(fractions, salt, prefix):
    count = 1500
    found = Counter(splits_of([f"{prefix}{i}" for i in range(count)], fractions, salt))
    for split, share in zip(SPLITS, fractions, strict=True):
        # Six standard deviations, of at most sqrt(1/4 / count) each.
        assert abs(found[split] / count - share) < 6 * 0.5 / count**0.5


@fast
@given(some.text(max_size=8), some.text(max_size=8))
def test_another_salt_draws_another_split(salt, other):
    assume(salt != other)
    groups = [f"photo {i}" for i in range(200)]
    one, two = (splits_of(groups, (0.6, 0.2, 0.2), word) for word in (salt, other))
    same = sum(a == b for a, b in zip(one, two, strict=True))
    assert 40 < same < 140  # 0.44 * 200 expected


@pytest.mark.parametrize(("share", "split"), list(enumerate(SPLITS)))
def test_a_share_of_one_takes_all(share, split):
    fractions = tuple(float(i == share) for i in range(3))
    assert set(splits_of(map(str, range(100)), fractions)) == {split}


def test_a_share_that_grows_keeps_what_it_had():
    groups = [str(i) for i in range(500)]
    small, large = (splits_of(groups, (train, 0.1, 0.9 - train)) for train in (0.3, 0.7))
    kept = [b for a, b in zip(small, large, strict=True) if a == "train"]
    assert set(kept) == {"train"} and large.count("train") > small.count("train")


def test_the_split_is_the_one_of_the_first_release():
    # Groups of records already packed must not move with a new version.
    groups = ["core_001.png", "core_002.png", "core_003.png", "core_006.png", "é"]
    packed = [
        "train",
        "test",
        "train",
        "validation",
        "train",
    ]
    assert splits_of(groups, (0.5, 0.25, 0.25), "a") == packed


def sources_of(groups: dict[str, str]) -> list[Source]:
    """Returns a source for each group, of its class."""
    return [
        Source(name, name, Path(name), strata=(label,) if label else ())
        for name, label in groups.items()
    ]


CLASSES = some.dictionaries(
    some.text("abcdefgh0123456789", min_size=1, max_size=6), some.sampled_from("xyz"), min_size=1,
    max_size=40,
)  # fmt: skip


@fast
@given(CLASSES, some.sampled_from(["", "a", "b"]), some.randoms())
def test_each_class_with_three_groups_is_in_all_splits_in_any_order(groups, salt, random):
    config = SplitConfig(salt=salt)
    sources = sources_of(groups)
    split = dict(config.assigned(sources).by_group)
    random.shuffle(sources)
    assert dict(config.assigned(sources).by_group) == split
    for label in set(groups.values()):
        own = [split[name] for name in groups if groups[name] == label]
        assert len(own) < 3 or set(own) == set(SPLITS)


@fast
@given(CLASSES, CLASSES)
def test_what_is_appended_never_moves_what_is_packed(first, more):
    config = SplitConfig()
    before = dict(config.assigned(sources_of(first)).by_group)
    sources = sources_of({**more, **first})
    for packed in (PackedSplits(by_source=before), PackedSplits(by_group=before)):
        after = config.assigned(sources, packed).by_group
        assert {name: after[name] for name in first} == before


def test_a_group_keeps_its_split_when_its_files_are_others():
    config = SplitConfig()
    before = PackedSplits({"old.png": "test"}, {"run 1": "test"})
    new = [Source(f"new{i}.png", "run 1", Path("a")) for i in range(3)]
    assert config.assigned(new, before).by_group == {"run 1": "test"}
    renamed = [Source("old.png", "run 7", Path("a"))]
    assert config.assigned(renamed, before).by_group == {"run 7": "test"}


def test_two_classes_of_sixteen_pictures_give_three_usable_splits():
    for salt in "abcdefghijklmnopqrst":
        groups = {f"{salt}{label}{i}": label for label in "xy" for i in range(16)}
        split = SplitConfig(salt=salt).assigned(sources_of(groups)).by_group
        for label in "xy":
            own = [split[name] for name in groups if groups[name] == label]
            # 60, 20 and 20 % of 16 are 9.6, 3.2 and 3.2.
            assert own.count("train") >= 9 and min(map(own.count, SPLITS)) >= 3


def classes_in_all_splits(split: dict[str, str], strata: dict[str, set[str]]) -> int:
    """Returns how many classes have a group in every split."""
    classes = set().union(*strata.values())
    return sum(
        {split[group] for group in split if one in strata[group]} == {*SPLITS} for one in classes
    )


def test_groups_of_several_classes_leave_no_class_without_a_split_where_that_is_possible():
    draws = random.Random(5)
    for number in range(40):
        names = [f"{number} {i}" for i in range(draws.randint(4, 6))]
        strata = {name: set(draws.sample("wxyz", draws.randint(1, 3))) for name in names}
        sources = [
            Source(f"{name} {one}", name, Path("a"), strata=(one,))
            for name in names
            for one in sorted(strata[name])
        ]
        every = itertools.product(SPLITS, repeat=len(names))
        best = max(
            classes_in_all_splits(dict(zip(names, splits, strict=True)), strata) for splits in every
        )
        split = dict(SplitConfig().assigned(sources).by_group)
        assert classes_in_all_splits(split, strata) == best


def test_a_group_is_only_in_the_splits_that_the_user_has_left_it():
    sources = [
        Source(f"{label}{i}", f"{label}{i}", Path("a"), strata=(label,), allowed_splits=two)
        for two in (("train", "validation"), ("train", "test"))
        for label in (f"x{two[1]}", f"y{two[1]}")
        for i in range(8)
    ]
    split = SplitConfig().assigned(sources).by_group
    for source in sources:
        assert split[source.name] in source.allowed_splits
    for label in ("xvalidation", "yvalidation", "xtest", "ytest"):
        own = [split[s.name] for s in sources if s.strata == (label,)]
        assert own.count("train") >= 6 and len(own) - own.count("train") >= 2  # 6 and 2 of 8


def test_five_groups_do_not_all_fall_into_train():
    for salt in map(str, range(40)):
        split = SplitConfig(salt=salt).assigned(sources_of(dict.fromkeys("abcde", ""))).by_group
        assert set(split.values()) == set(SPLITS)


def test_many_groups_are_divided_by_their_hash_up_to_what_a_class_lacks():
    config, groups = SplitConfig(), {f"g{i}": "xy"[i % 2] for i in range(400)}
    split = config.assigned(sources_of(groups)).by_group
    counts = Counter((groups[name], split[name]) for name in groups)
    for label in "xy":
        assert counts[label, "train"] >= 120
        assert min(counts[label, "validation"], counts[label, "test"]) >= 40
    # Of 200 groups a share of 0.2 is 40 give or take 6, so a few percent move.
    assert sum(split[name] != config.of_group(name) for name in groups) <= 20


def test_groups_of_unknown_classes_are_divided_by_their_hash_alone():
    config, groups = SplitConfig(), {f"g{i}": "" for i in range(400)}
    split = config.assigned(sources_of(groups)).by_group
    assert split == {name: config.of_group(name) for name in groups}


def test_a_split_that_the_survey_settles_goes_before_that_of_the_name():
    config = SplitConfig((0.0, 0.0, 1.0))
    assert config.of_source(Source("a", "group", Path("a"))) == "test"
    assert config.of_source(Source("a", "group", Path("a"), split="train")) == "train"


def test_shares_are_parsed_as_users_type_them():
    assert SplitConfig.parse("60/20/20") == SplitConfig()
    assert SplitConfig.parse("50/30/20", salt="a") == SplitConfig((0.5, 0.3, 0.2), "a")


@pytest.mark.parametrize(
    "text", ["60/40", "60/20/30", "a/b/c", "100/0/0", "120/-10/-10", "60/20/nan", ""]
)
def test_shares_that_are_none_are_refused(text):
    with pytest.raises(UserError, match="--split is .*, expected three shares"):
        SplitConfig.parse(text)


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5), (0.6, 0.2, 0.3), (1.2, -0.1, -0.1), (0.6, 0.2, float("nan"))]
)
def test_a_configuration_of_wrong_shares_is_refused(shares):
    with pytest.raises(UserError, match="three numbers from 0 to 1 that add up to 1"):
        SplitConfig(shares)
