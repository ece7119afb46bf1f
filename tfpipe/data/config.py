"""Packing configuration: task options, split, and how many unreadable files may be left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfpipe.tasks.splits import SplitConfig


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
