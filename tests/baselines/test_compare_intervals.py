"""The figure of a comparison's intervals: which model is the best, and what is not there."""

import pandas as pd
import pytest
from matplotlib.axes import Axes

from tfpipe.baselines import compare_intervals


def frame_of(*names: str) -> pd.DataFrame:
    return pd.DataFrame({"model": names, "fold": 1, "accuracy": 0.5, "examples": 4})


def groups_of(*names: str) -> pd.DataFrame:
    """Two groups, too few for an interval, in which all models are equally good."""
    rows = [
        {"model": name, "fold": 1, "group": group, "right": 1, "images": 2}
        for name in names
        for group in "ab"
    ]
    return compare_intervals.group_rows([]) if not rows else pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("names", "stored", "notes"),
    [
        (("a", "b"), ("a", "b"), ["best", ""]),
        (("a", "b"), ("b",), ["not stored: of an older release", "best"]),
        (("a",), (), ["not stored: of an older release"]),
    ],
)
def test_one_model_is_called_the_best_and_missing_groups_are_no_other_images(
    names, stored, notes, monkeypatch
):
    drawn = []
    monkeypatch.setattr(Axes, "annotate", lambda axes, text, *place, **how: drawn.append(text))
    assert compare_intervals.plot(frame_of(*names), groups_of(*stored)).startswith(b"\x89PNG")
    assert drawn == notes
