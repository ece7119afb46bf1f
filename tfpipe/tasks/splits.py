"""Splits: which of train, validation and test a group belongs to.

A hash of the group's name decides, so that order and other data change nothing. Where a class would
lack a split by it, or nearly so, groups of that class change theirs. Groups that are packed already
keep their split.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tfpipe.base.errors import UserError
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
        return source.split or self.of_group(source.group)

    def assigned(
        self, sources: Iterable[Source], before: Mapping[str, str] | None = None
    ) -> "AssignedSplits":
        """Returns the split of each group of sources.

        Of the groups of a class, as `Source.stratum` names it, each split gets at least half of its
        share, and one where there are three groups or more. A group that is packed already never
        moves; of the others those move that the hash puts nearest to the split in need.

        Args:
          sources: of the raw folder.
          before: name of a source -> its split in the records so far.
        """
        free = [source for source in sources if not source.split]
        packed = {s.group: before[s.name] for s in free if before and s.name in before}
        by_group = {s.group: packed.get(s.group) or self.of_group(s.group) for s in free}
        groups_of: dict[str, set[str]] = defaultdict(set)
        strata_of: dict[str, set[str]] = defaultdict(set)
        for source in free:
            groups_of[source.stratum].add(source.group)
            strata_of[source.group].add(source.stratum)

        counts = Counter((one, by_group[g]) for g, strata in strata_of.items() for one in strata)
        for stratum in sorted(groups_of, key=lambda name: (len(groups_of[name]), name)):
            for split in SPLITS:
                least = self._least(len(groups_of[stratum]), split)
                if counts[stratum, split] >= least:
                    continue
                others = [g for g in groups_of[stratum] if g not in packed and by_group[g] != split]
                for group in sorted(others, key=lambda g: (self._distance(g, split), g)):
                    old = by_group[group]
                    if counts[stratum, split] >= least:
                        break
                    if any(
                        counts[one, old] <= self._least(len(groups_of[one]), old)
                        for one in strata_of[group]
                    ):
                        continue
                    by_group[group] = split
                    for one in strata_of[group]:
                        counts[one, old] -= 1
                        counts[one, split] += 1
        return AssignedSplits(by_group)

    def _least(self, count: int, split: str) -> int:
        """Returns how many of a class's groups a split must have."""
        share = self.shares[SPLITS.index(split)]
        if not share or count < sum(part > 0 for part in self.shares):
            return 0
        return max(1, int(share * count / 2))

    def _distance(self, group: str, split: str) -> float:
        """Returns how far a group's hash is from the range of a split."""
        number = SPLITS.index(split)
        low, high = sum(self.shares[:number]), sum(self.shares[: number + 1])
        position = self.position(group)
        return max(low - position, position - high, 0.0)


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
