"""Packing configuration: task options, split, unreadable files left out, shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfpipe.base.errors import UserError

if TYPE_CHECKING:
    from tfpipe.tasks.splits import SplitConfig

AUTO = "auto"
MOST_SHARDS = 99_999  # of a split: names have five digits


def sharding(shards: int | str | None) -> str:
    """Returns how records are to be divided into shards: "8", "auto", or "" for None.

    Raises:
      UserError: it is neither a number from 1 to `MOST_SHARDS` nor "auto".
    """
    text = "" if shards is None else str(shards).strip()
    if shards is None or text == AUTO:
        return text
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MOST_SHARDS):
        raise UserError(
            f"--shards {text!r} is neither auto nor a number from 1 to {MOST_SHARDS}. Give the "
            "shards of each split, such as 8, or auto for 100 to 200 MB a shard."
        )
    return str(int(text))


@dataclass(frozen=True)
class PackingConfig:
    """How raw files are packed before a model is trained on them.

    Attributes:
      options: task options by name; None for those of the packed records.
      split: how groups are assigned to splits; None for that of the packed records.
      skip_bad: unreadable files that may be left out; None for as many as the packed records lack.
    """

    options: Mapping[str, Any] | None = None
    split: SplitConfig | None = None
    skip_bad: int | None = None
