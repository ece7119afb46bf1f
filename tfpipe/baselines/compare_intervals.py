"""Intervals of a comparison: each model's accuracy in new groups, and its difference to the best.

All models are evaluated on the same groups, so the difference itself has an interval: whole groups
are left out in turn, see `group_intervals`.
"""

import io
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfpipe.base import figures
from tfpipe.base.figures import COLOURS, INK
from tfpipe.evaluation import group_intervals

DPI = 160
COLUMNS = (
    "accuracy_low", "accuracy_high", "difference", "difference_low", "difference_high",
)  # fmt: skip


def group_rows(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Returns a row for each model and group: model, fold or split, group, right, images.

    Args:
      rows: as `compare` stores them, each with `groups`, group -> [right, images]; rows of older
        releases have none.
    """
    places = [
        {key: row[key] for key in ("model", "fold", "split") if key in row}
        | {"group": group, "right": right, "images": count}
        for row in rows
        for group, (right, count) in (row.get("groups") or {}).items()
    ]
    return pd.DataFrame(places, columns=None if places else ["model", "group", "right", "images"])


def summarize(groups: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each model, `COLUMNS` by model; nan where there are too few groups.

    Differences are to the model with the most images right, on the same images. With validation and
    test splits, only the test split counts.

    Args:
      groups: by `group_rows`.
    """
    by_model = _by_model(groups)
    if not by_model:
        return pd.DataFrame(columns=["model", *COLUMNS])
    best = _best(by_model)
    rows = []
    for name, table in by_model.items():
        right, group = _images(table)
        bounds = group_intervals.share_interval(right, group)
        low, high = bounds or (np.nan, np.nan)
        differences = _difference(table, by_model[best])
        rows.append((name, low, high, *differences))
    return pd.DataFrame(rows, columns=["model", *COLUMNS])


def _by_model(groups: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Returns model -> images right and images by group; with splits, of the test split."""
    if "split" in groups:
        groups = groups[groups["split"] == "test"]
    return {
        str(name): rows.groupby("group")[["right", "images"]].sum()
        for name, rows in groups.groupby("model", sort=False)
    }


def _best(by_model: dict[str, pd.DataFrame]) -> str:
    """Returns the model with the highest share of images right, the first one of several."""
    return max(
        by_model, key=lambda name: by_model[name]["right"].sum() / by_model[name]["images"].sum()
    )


def _difference(table: pd.DataFrame, best: pd.DataFrame) -> tuple[float, float, float]:
    """Returns a model's accuracy minus the best one's, and its interval."""
    if not table["images"].equals(best["images"]):
        return np.nan, np.nan, np.nan  # other images of the same raw files
    right, group = _images(table)
    right_of_best, _ = _images(best)
    gains = right.astype(float) - right_of_best
    test = group_intervals.difference_test(lambda rows: float(gains[rows].mean()), group)
    difference = float(gains.mean())
    if table is best or test is None:
        return difference, np.nan, np.nan
    return difference, float(test.low), float(test.high)


def _images(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether each image is right [n] bool, in some order in its group, and its group."""
    right = np.concatenate(
        [np.arange(count) < hits for hits, count in table[["right", "images"]].to_numpy(int)]
    )
    return right, np.repeat(table.index.to_numpy(), table["images"].to_numpy(int))


def plot(frame: pd.DataFrame, groups: pd.DataFrame) -> bytes:
    """Draws each model's accuracy with its interval, and beside it the difference to the best.

    Args:
      frame: as `compare` returns it; a small dot is a fold.
      groups: by `group_rows`; models without rows have no interval.

    Returns:
      A PNG.
    """
    names = list(dict.fromkeys(frame["model"]))
    if "split" in frame:
        frame = frame[frame["split"] == "test"]
    by_model = summarize(groups).set_index("model").astype(float).reindex(names)
    tables = _by_model(groups)
    notes = {name: "not stored: of an older release" for name in names if name not in tables}
    if tables:
        notes[_best(tables)] = "best"
    with matplotlib.rc_context(figures.STYLE):
        height = 1.9 + 0.5 * len(names)
        figure = Figure(figsize=(9.5, height), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.3, 1))
        _draw_scores(left, frame, by_model, names)
        _draw_differences(right, by_model, notes)
        left.set_yticks(range(len(names)), names)
        left.set_ylim(len(names) - 0.5, -0.5)
        file = io.BytesIO()
        canvas.print_png(file, metadata={"Software": None}, pil_kwargs={})
        return file.getvalue()


def _draw_scores(axes: Axes, frame: pd.DataFrame, by_model: pd.DataFrame, names: list[str]) -> None:
    for place, name in enumerate(names):
        rows = frame[frame["model"] == name]
        values, counts = rows["accuracy"].to_numpy(float), rows["examples"].to_numpy(float)
        if len(values) > 1:
            axes.plot(values, np.full(len(values), place + 0.18), "o", ms=3, color=COLOURS[5])
        axes.plot(np.average(values, weights=counts), place, "o", ms=7, color=COLOURS[0])
    places = np.arange(len(names))
    axes.hlines(
        places, by_model["accuracy_low"], by_model["accuracy_high"], color=COLOURS[0], lw=2.5
    )
    axes.set_xlabel("share of held-out images classified rightly")
    axes.set_title("Accuracy, 95 % for new groups")


def _draw_differences(axes: Axes, by_model: pd.DataFrame, notes: dict[str, str]) -> None:
    """Draws the differences to the best model, and the notes of some models at theirs."""
    places = np.arange(len(by_model))
    axes.axvline(0, color=INK, lw=1, ls="--")
    low, high = by_model["difference_low"], by_model["difference_high"]
    axes.hlines(places, low, high, color=COLOURS[1], lw=2.5)
    axes.plot(by_model["difference"], places, "o", ms=7, color=COLOURS[1])
    for place, (name, difference) in enumerate(by_model["difference"].items()):
        note = notes.get(str(name), "other images" if np.isnan(difference) else "")
        offset = (6, -3 if np.isnan(difference) else 5)
        axes.annotate(note, (0, place), xytext=offset, textcoords="offset points")
    axes.set_xlabel("difference on the same images")
    axes.set_title("Difference to the best, 95 %")
