"""Which split a group is of: a function of its name alone, so that new data never moves old."""

import hashlib

from tfpipe.tasks.task import SPLITS, Source


def split_of(group: str, *, fractions: tuple[float, float, float], salt: str = "") -> str:
    """Returns the split of a group: "train", "validation" or "test"."""
    digest = hashlib.sha256(f"{salt}/{group}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    train, validation, _ = fractions
    return SPLITS[0 if position < train else 1 if position < train + validation else 2]


def placed(source: Source, *, fractions: tuple[float, float, float], salt: str = "") -> str:
    """Returns the split of a source: the user's where there is one, else that of its group."""
    return source.split or split_of(source.group, fractions=fractions, salt=salt)
