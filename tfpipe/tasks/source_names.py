"""Names of new files: those that the user sees, and unique however the files were given."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tfpipe.base import files


def unique_names(named: Iterable[tuple[Path, str]]) -> dict[Path, str]:
    """Returns a unique name for each file; a file that is given twice is there once.

    Files of equal names, such as exp_001.fits of two nights, are called by their paths from the
    deepest folder that holds them all: night1/exp_001.fits. Other names stay as they are.

    Args:
      named: (file, its name), in order. What is not valid text in a name becomes "?"; only files
        that differ by this alone keep equal names.
    """
    first: dict[str, tuple[Path, str]] = {}
    for path, name in named:
        first.setdefault(os.path.abspath(path), (path, files.shown(name)))
    names = {place: name for place, (_, name) in first.items()}
    by_path: set[str] = set()
    while more := _repeated(names) - by_path:
        by_path |= more
        root = os.path.commonpath([os.path.dirname(place) for place in by_path])
        names |= {place: files.shown(os.path.relpath(place, root)) for place in by_path}
    return {path: names[place] for place, (path, _) in first.items()}


def _repeated(names: dict[str, str]) -> set[str]:
    counts = Counter(names.values())
    return {place for place, name in names.items() if counts[name] > 1}
