"""Which classes there are, in a fixed order, and which particles count as unlabelled."""

import numpy as np
import pandas as pd

from tfpipe.base.choose import choose
from tfpipe.tasks.insolubles.options import Options, names
from tfpipe.tasks.insolubles.particle_table import Particles, in_words


def settle(
    found: list[Particles], options: Options
) -> tuple[tuple[str, ...], list[np.ndarray], list[str]]:
    """Finds the classes of all runs together.

    Args:
      found: the runs.
      options: the user's; `min_class`, `classes` and `unlabelled` count here.

    Returns:
      The classes, sorted; the labels [particles] int of each of `found`, -1 for none; and notes on
      what is set aside.

    Raises:
      UserError: the user wants a class that is not there, and which is nearest.
    """
    nobody = {name.casefold() for name in names(options.unlabelled)}
    written = [_cleaned(one.rows["label"], nobody=nobody) for one in found]
    counts = pd.concat(written).value_counts().sort_index().drop("", errors="ignore")
    wanted = names(options.classes) or tuple(counts.index)
    for name in wanted:
        choose(name, counts.index, noun="class in the raw folder")
    notes = []
    unwanted = [f"{name} ({count})" for name, count in counts.items() if name not in wanted]
    if unwanted:
        notes.append(f"Classes not asked for count as unlabelled: {in_words(unwanted)}.")
    counts = counts[[name in wanted for name in counts.index]]
    small = [f"{name} ({n})" for name, n in counts.items() if n < options.min_class]
    if small:
        notes.append(
            f"Classes of fewer than {options.min_class} labelled particles count as unlabelled: "
            f"{in_words(small, most=40)}. --option min_class=... says how many are enough."
        )
    classes = tuple(str(name) for name, n in counts.items() if n >= options.min_class)
    numbers = {name: i for i, name in enumerate(classes)}
    labels = [one.map(numbers).fillna(-1).to_numpy(np.int64) for one in written]
    return classes, labels, [*notes, *_alike(classes), *_confounded(found, labels)]


def _cleaned(labels: pd.Series, *, nobody: set[str]) -> pd.Series:
    """Returns class names [n] str without stray whitespace, "" for those that name nothing."""
    labels = labels.astype("str").str.split().str.join(" ")
    return labels.mask(labels.str.casefold().isin(nobody), "")


def _alike(classes: tuple[str, ...]) -> list[str]:
    """Returns a note for each class whose name another has in other capitals."""
    first: dict[str, str] = {}
    return [
        f"The classes {first[name.casefold()]} and {name} differ by capitals only."
        for name in classes
        if first.setdefault(name.casefold(), name) != name
    ]


def _confounded(found: list[Particles], labels: list[np.ndarray]) -> list[str]:
    """Returns a note where every run shows one class only: a model may learn the runs instead."""
    runs = pd.concat([one.rows["run"] for one in found], ignore_index=True)
    known = pd.Series(np.concatenate(labels))
    known, runs = known[known >= 0], runs[known >= 0]
    if known.nunique() < 2 or known.groupby(runs).nunique().max() > 1:
        return []
    return [
        "Each run has particles of one class only, so that light and focus of a run may pass for "
        "its class: scores say less than with mixed runs."
    ]
