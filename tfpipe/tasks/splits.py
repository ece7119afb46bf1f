"""Splits: which of train, validation and test a group belongs to.

A hash of the group's name decides, so that order and other data change nothing. Where a class has
less than its share of a split by it, groups of that class change theirs. Groups that are packed
already keep their split.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfpipe.base.errors import UserError
from tfpipe.tasks import stratification
from tfpipe.tasks.task import SPLITS, Source


@dataclass(frozen=True)
class SplitConfig:
    """How groups are divided among train, validation and test: `--split` and `--salt`.

    Attributes:
      shares: of groups in (train, validation, test), each 0 to 1, together 1.
      salt: any word; another word draws another split.

    Raises:
      UserError: the shares are not three numbers from 0 to 1 that add up to 1.
    """

    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    salt: str = ""

    def __post_init__(self) -> None:
        are_shares = len(self.shares) == 3 and all(0 <= share <= 1 for share in self.shares)
        if not (are_shares and abs(sum(self.shares) - 1) < 1e-6):
            raise UserError(
                f"Split shares are {self.shares}, expected three numbers from 0 to 1 that add up "
                "to 1, for train, validation and test."
            )

    @classmethod
    def parse(cls, text: str, *, salt: str = "") -> "SplitConfig":
        """Returns the split of per cent as users type them, such as `60/20/20`.

        Raises:
          UserError: the text is not three numbers above 0 that add up to 100.
        """
        try:
            train, validation, test = (float(part) / 100 for part in text.split("/"))
        except ValueError:
            train = validation = test = 0.0
        if not (min(train, validation, test) > 0 and abs(train + validation + test - 1) < 1e-8):
            raise UserError(
                f"--split is {text!r}, expected three shares above 0 that add up to 100."
            )
        return cls((train, validation, test), salt)

    def of_group(self, group: str) -> str:
        """Returns the split of a group: "train", "validation" or "test"."""
        position = self.position(group)
        train, validation, _ = self.shares
        return SPLITS[0 if position < train else 1 if position < train + validation else 2]

    def position(self, group: str) -> float:
        """Returns the hash of a group, 0 to 1."""
        digest = hashlib.sha256(f"{self.salt}/{group}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def of_source(self, source: Source) -> str:
        """Returns the split of a source: the user's where it has one, else that of its group."""
        return source.split or self.among(source.allowed_splits).of_group(source.group)

    def among(self, splits: Iterable[str]) -> "SplitConfig":
        """Returns the configuration that divides groups among some of the splits only."""
        names = set(splits)
        if names >= set(SPLITS):
            return self
        parts = [
            share if name in names else 0.0 for name, share in zip(SPLITS, self.shares, strict=True)
        ]
        train, validation, test = (part / (sum(parts) or 1.0) for part in parts)
        return SplitConfig((train, validation, test), self.salt)

    def assigned(
        self, sources: Iterable[Source], before: "PackedSplits | None" = None
    ) -> "AssignedSplits":
        """Returns the split of each group of sources.

        Of the groups of a class, as `Source.strata` names it, each split gets at least its share,
        rounded down, and one where there are three groups or more. Of groups whose classes are
        unknown half of the share is enough. A group that is packed already never moves; of the
        others those move that the hash puts nearest to the split in need.

        Args:
          sources: of the raw folder.
          before: splits in the records so far.
        """
        groups: dict[str, list[Source]] = defaultdict(list)
        for source in sources:
            if not source.split:
                groups[source.group].append(source)
        allowed = {
            group: tuple(name for name in SPLITS if all(name in s.allowed_splits for s in own))
            for group, own in groups.items()
        }
        configs = {names: self.among(names) for names in {*allowed.values()}}
        packed = {group: before.of(group, own) for group, own in groups.items()} if before else {}
        movable = {g: names for g, names in allowed.items() if packed.get(g) not in names}
        splits = {
            group: configs[names].of_group(group) if group in movable else packed[group]
            for group, names in allowed.items()
        }
        strata = {g: {one for s in own for one in s.strata or ("",)} for g, own in groups.items()}
        members = defaultdict(list)
        for group in groups:
            for one in strata[group]:
                members[one].append(configs[allowed[group]].shares)
        least = {
            (one, split): count
            for one, shares in members.items()
            for split, count in zip(SPLITS, _least(shares, is_known=bool(one)), strict=True)
        }
        return AssignedSplits(
            stratification.stratify(
                splits,
                strata=strata,
                allowed=movable,
                least=least,
                distance=lambda group, split: configs[allowed[group]].distance(group, split),
            )
        )

    def distance(self, group: str, split: str) -> float:
        """Returns how far a group's hash is from the range of a split, 0 to 1."""
        number = SPLITS.index(split)
        low, high = sum(self.shares[:number]), sum(self.shares[: number + 1])
        position = self.position(group)
        return max(low - position, position - high, 0.0)


def _least(shares: list[tuple[float, float, float]], *, is_known: bool) -> list[int]:
    """Returns how many of a class's groups each split must have.

    Args:
      shares: of each group of the class, its chance of each split.
      is_known: whether it is a class, not the groups of which none is known.
    """
    expected = [sum(column) for column in zip(*shares, strict=True)]
    if len(shares) < sum(part > 0 for part in expected):
        return [0] * len(expected)
    factor = 1.0 if is_known else 0.5
    least = [max(1, int(factor * part + 1e-9)) if part else 0 for part in expected]
    largest = expected.index(max(expected))
    least[largest] = min(least[largest], len(shares) - sum(least) + least[largest])
    return least


@dataclass(frozen=True)
class PackedSplits:
    """Splits of records that were packed before: they hold for groups, also of other files.

    Attributes:
      by_source: name of a source -> its split.
      by_group: group -> its split.
      by_checksum: SHA-256 of a raw file -> its split, of files that a version was adapted with.
      are_binding: whether they hold against the records so far, too, as those of the windows of a
        task do for its strips.
    """

    by_source: Mapping[str, str] = field(default_factory=dict)
    by_group: Mapping[str, str] = field(default_factory=dict)
    by_checksum: Mapping[str, str] = field(default_factory=dict)
    are_binding: bool = False

    def over(self, packed: "PackedSplits") -> "PackedSplits":
        """Returns the splits of the records so far; where these are binding, they come first.

        Args:
          packed: splits of the records so far.
        """
        if not self.are_binding:
            return replace(packed, by_checksum=self.by_checksum)
        return replace(self, by_source={**packed.by_source, **self.by_source})

    def allow(self, sources: Mapping[str, Iterable[str]]) -> bool:
        """Returns whether records may stay as they are: binding splits hold in them.

        Args:
          sources: split -> names of the sources in it.
        """
        return not self.are_binding or all(
            self.by_source.get(name, split) == split
            for split, names in sources.items()
            for name in names
        )

    def with_files(
        self, sources: Iterable[Source], checksum: Callable[[Path], str]
    ) -> "PackedSplits":
        """Returns the splits with those of groups that hold a file of `by_checksum`.

        A group is a training one if any of its files is.

        Args:
          sources: of the raw folder.
          checksum: computes the SHA-256 of a raw file.
        """
        if not self.by_checksum:
            return self
        added: dict[str, str] = {}
        for source in sources:
            split = self.by_checksum.get(checksum(source.path), "")
            if split and added.get(source.group) != SPLITS[0]:
                added[source.group] = split
        return replace(self, by_group={**added, **self.by_group})

    def of(self, group: str, sources: Iterable[Source]) -> str:
        """Returns the split of a group of sources, "" where neither it nor they were packed."""
        split = self.by_group.get(group)
        return split or next(filter(None, (self.by_source.get(s.name) for s in sources)), "")


@dataclass(frozen=True)
class AssignedSplits:
    """The split of each group of a raw folder, by `SplitConfig.assigned`.

    Attributes:
      by_group: group -> "train", "validation" or "test".
    """

    by_group: Mapping[str, str] = field(default_factory=dict)

    def of_source(self, source: Source) -> str:
        """Returns the split of a source: the user's where it has one, else that of its group."""
        return source.split or self.by_group[source.group]


DEFAULT_SPLIT = SplitConfig()
NOTHING_PACKED = PackedSplits()
