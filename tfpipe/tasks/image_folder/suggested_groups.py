"""Suggested groups: recordings that the names of images tell, such as rec7 of rec7_000123.png."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfpipe.tasks.splits import DEFAULT_SPLIT
from tfpipe.tasks.task import Source

if TYPE_CHECKING:
    import pandas as pd

# What may name a recording: the first word, the first two, all before the last number.
PATTERNS = (
    r"^([^_\s-]+)[_\s-]",
    r"^([^_\s-]+[_\s-][^_\s-]+)[_\s-]",
    r"^(.+?)[_\s-]*\d+\.[^.]+$",
)
LEAST_GROUPS, LEAST_IMAGES = 5, 3  # groups in all, and images a group on average


def suggest(files: Sequence[str], classes: Sequence[str]) -> str:
    """Returns a sentence that suggests groups by the names of files, "" where there is no sign.

    Args:
      files: [images] paths within the folder, each a group of its own so far.
      classes: [images], the class of each, "" for none.
    """
    import pandas as pd

    frame = pd.DataFrame({"file": files, "class": classes})
    names = frame["file"].map(lambda file: Path(file).name)
    for pattern in PATTERNS:
        groups = names.str.extract(pattern)[0]
        if groups.isna().any() or not _is_recording(groups, frame["class"]):
            continue
        pairs = zip(frame["file"], frame["class"], strict=True)
        sources = [Source(file, file, Path(file), strata=(name,)) for file, name in pairs]
        split = frame["file"].map(DEFAULT_SPLIT.assigned(sources).by_group)
        in_training = set(groups[split == "train"])
        is_test = split == "test"
        n_beside = int(groups[is_test].isin(in_training).sum())
        return (
            f"The names share {groups.nunique()} prefixes, such as {groups.iloc[0]!r}. Images of "
            "one recording share light and focus: if these are recordings, --option "
            f"group_from='{pattern}' makes them the groups. Without it, {n_beside} of "
            f"{int(is_test.sum())} test images have a neighbour of their prefix in training."
        )
    return ""


def _is_recording(groups: pd.Series, classes: pd.Series) -> bool:
    """Returns whether prefixes may be recordings: of several images each, and no class names."""
    count = groups.nunique()
    if count < LEAST_GROUPS or len(groups) < LEAST_IMAGES * count:
        return False
    n_classes_of = classes.groupby(groups).nunique()
    is_class_name = count <= classes.nunique() and (n_classes_of <= 1).all()
    return not is_class_name and bool(re.search(r"\d", " ".join(groups.unique())))
