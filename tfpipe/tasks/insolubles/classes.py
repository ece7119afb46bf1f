"""Classes of all runs together, in a fixed order, and the label of each particle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfpipe.base.choose import choose, listed
from tfpipe.tasks.insolubles.options import InsolublesOptions, names
from tfpipe.tasks.insolubles.particle_table import Particles

if TYPE_CHECKING:
    import pandas as pd


def determine(
    tables: list[Particles], options: InsolublesOptions
) -> tuple[tuple[str, ...], list[np.ndarray], list[str]]:
    """Determines the classes of all runs together.

    Args:
      tables: the particles of the runs.
      options: the user's; only `min_class`, `classes` and `unlabelled` matter here.

    Returns:
      The classes, sorted; the labels [particles] int of each table, -1 for unlabelled; and notes on
      classes that are not used.

    Raises:
      UserError: the options name a class that no run has; the message names the nearest.
    """
    import pandas as pd

    no_class = {name.casefold() for name in names(options.unlabelled)}
    written = [_cleaned(table.rows["label"], no_class=no_class) for table in tables]
    counts = pd.concat(written).value_counts().sort_index().drop("", errors="ignore")
    selected = names(options.classes) or tuple(counts.index)
    for name in selected:
        choose(name, counts.index, noun="class in the raw folder")
    notes = []
    others = [f"{name} ({count})" for name, count in counts.items() if name not in selected]
    if others:
        notes.append(f"Classes that are not used count as unlabelled: {listed(others, most=12)}.")
    counts = counts[[name in selected for name in counts.index]]
    small = [f"{name} ({count})" for name, count in counts.items() if count < options.min_class]
    if small:
        notes.append(
            f"Classes of fewer than {options.min_class} labelled particles count as unlabelled: "
            f"{listed(small, most=40)}. Change this number by --option min_class=N."
        )
    classes = tuple(str(name) for name, count in counts.items() if count >= options.min_class)
    index_of = {name: i for i, name in enumerate(classes)}
    labels = [column.map(index_of).fillna(-1).to_numpy(np.int64) for column in written]
    return classes, labels, [*notes, *_similar_names(classes), *_confounded(tables, labels)]


def _cleaned(labels: pd.Series, *, no_class: set[str]) -> pd.Series:
    """Returns class names [n] str without stray whitespace, "" for those that mean no class."""
    labels = labels.astype("str").str.split().str.join(" ")
    return labels.mask(labels.str.casefold().isin(no_class), "")


def _similar_names(classes: tuple[str, ...]) -> list[str]:
    """Returns a note for each two classes whose names differ in capitals only."""
    first: dict[str, str] = {}
    return [
        f"The classes {first[name.casefold()]} and {name} differ by capitals only."
        for name in classes
        if first.setdefault(name.casefold(), name) != name
    ]


def _confounded(tables: list[Particles], labels: list[np.ndarray]) -> list[str]:
    """Returns a note if every run has one class only: a model may learn the runs instead."""
    import pandas as pd

    runs = pd.concat([table.rows["run"] for table in tables], ignore_index=True)
    label = pd.Series(np.concatenate(labels))
    label, runs = label[label >= 0], runs[label >= 0]
    if label.nunique() < 2 or label.groupby(runs).nunique().max() > 1:
        return []
    return [
        "Each run has particles of one class only, so a model may recognise light and focus of a "
        "run instead of the class. Scores are less reliable than with mixed runs."
    ]
