"""Splits: which of train, validation and test a group belongs to.

The split is a function of the group's name alone, so new data never moves old examples.
"""

import hashlib
from dataclasses import dataclass

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
        digest = hashlib.sha256(f"{self.salt}/{group}".encode()).digest()
        position = int.from_bytes(digest[:8], "big") / 2**64
        train, validation, _ = self.shares
        return SPLITS[0 if position < train else 1 if position < train + validation else 2]

    def of_source(self, source: Source) -> str:
        """Returns the split of a source: the user's where it has one, else that of its group."""
        return source.split or self.of_group(source.group)


DEFAULT_SPLIT = SplitConfig()
