"""Figures of a search that a reader can move lines in, as plotly.js takes them: data and layout."""

import math
from collections.abc import Sequence
from typing import Any

from tfpipe.base.html import escaped
from tfpipe.search.results import Known, shown

INK, GRID, FIRST, SECOND = "#33424d", "#e3e9ec", "#2f6690", "#e07a1f"
FONT = {"family": 'system-ui, "Segoe UI", Roboto, Arial, sans-serif', "size": 13, "color": INK}
MOST_TICKS = 8
MOST_LETTERS = 14  # of a word that stands at an axis
NONE = "\N{EM DASH}"


def coordinates(known: Known) -> dict[str, Any]:
    """Returns parallel coordinates: a line a completed trial, an axis a value that varies."""
    rows = sorted(known.completed, key=lambda row: known.sign * row["score"])  # the best on top
    names = [name for name in (*known.names, "epochs") if known.varies(name)]
    axes = [
        axis([row.get(name) for row in rows], name=name, is_log=name in known.logarithmic)
        for name in names
    ]
    scores = [row["score"] for row in rows]
    axes.append(axis(scores, name="score", is_log=spans_decades(scores)))
    line = {"color": axes[-1]["values"], "colorscale": "Viridis", "showscale": False}
    line["reversescale"] = known.sign < 0
    data = [{"type": "parcoords", "dimensions": axes, "line": line, "labelside": "top"}]
    data[0] |= {"labelfont": FONT, "tickfont": FONT | {"size": 12}}
    room = {"l": 70, "r": 70, "t": 50, "b": 25}
    return {"data": data, "layout": {"height": 430, "margin": room, "font": FONT}}


def best_so_far(known: Known) -> dict[str, Any]:
    """Returns the score of each completed trial as it came, and the best until then."""
    rows = known.completed
    scores = [row["score"] for row in rows]
    better = max if known.sign > 0 else min
    best = [better(scores[: i + 1]) for i in range(len(scores))]
    said = [
        "<br>".join(
            escaped(f"{name} {shown(row, name)}")
            for name in ("trial", *known.names, "epochs")
            if name in row
        )
        for row in rows
    ]
    order = list(range(1, len(rows) + 1))
    dots = {"type": "scatter", "mode": "markers", "name": "a trial", "x": order, "y": scores}
    dots |= {"text": said, "hovertemplate": "%{y:.4f}<br>%{text}<extra></extra>"}
    dots["marker"] = {"color": FIRST, "size": 8, "opacity": 0.75}
    line = {"type": "scatter", "mode": "lines", "name": "best so far", "x": order, "y": best}
    line |= {"line": {"shape": "hv", "color": SECOND, "width": 2}, "hoverinfo": "skip"}
    plain = {"gridcolor": GRID, "zeroline": False, "linecolor": INK}
    kind = "log" if spans_decades(scores) else "linear"
    layout = {
        "height": 360,
        "margin": {"l": 70, "r": 20, "t": 20, "b": 55},
        "font": FONT,
        "plot_bgcolor": "#fff",
        "xaxis": plain | {"title": {"text": "completed trial"}},
        "yaxis": plain | {"title": {"text": escaped(known.objective)}, "type": kind},
        "legend": {"orientation": "h", "y": 1.08, "x": 0},
        "showlegend": True,
    }
    return {"data": [line, dots], "layout": layout}


def axis(values: Sequence[Any], *, name: str, is_log: bool) -> dict[str, Any]:
    """Returns one axis of parallel coordinates.

    Plotly's has neither words nor logarithms nor gaps: words stand at whole numbers, powers of ten
    at their exponents, and what a trial has no value of stands below the rest. Of its texts, the
    label is read as markup and the ticks are not.
    """
    known = [value for value in values if value is not None]
    if not all(_is_number(value) for value in known):
        words = sorted({str(value) for value in known})
        ticks = list(range(len(words)))
        places = dict(zip(words, ticks, strict=True))
        placed = [None if value is None else places[str(value)] for value in values]
    else:
        ticks = _ticks(known, is_log=is_log)
        words = [f"{tick:g}" for tick in ticks]
        if is_log:
            ticks = [math.log10(tick) for tick in ticks]
        placed = [math.log10(value) if is_log and value is not None else value for value in values]
    there = [place for place in placed if place is not None]
    low, high = min([*there, *ticks]), max([*there, *ticks])
    if low == high:
        low, high = low - 0.5, high + 0.5
    if len(there) < len(placed):
        low -= 0.12 * (high - low)
        placed = [low if place is None else place for place in placed]
        ticks, words = [low, *ticks], [NONE, *words]
    told = {
        "label": escaped(_short(name.replace("_", " "))),
        "values": placed,
        "range": [low, high],
    }
    return told | {"tickvals": ticks, "ticktext": [_short(word) for word in words]}


def spans_decades(scores: Sequence[float]) -> bool:
    """Returns whether scores, such as losses of which some diverged, are read better as powers."""
    return min(scores) > 0 and max(scores) > 100 * min(scores)


def _ticks(values: Sequence[float], *, is_log: bool) -> list[float]:
    """Returns where an axis of numbers has its marks: at the values if few, else at round ones."""
    few = sorted(set(values))
    if len(few) <= MOST_TICKS and all(isinstance(value, int) for value in few):
        return few
    low, high = few[0], few[-1]
    if is_log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        round_ones = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    else:
        step = _round_step((high - low) / MOST_TICKS)
        first = math.floor(low / step)
        round_ones = [step * n for n in range(first, math.ceil(high / step) + 1)]
    within = [tick for tick in round_ones if low <= tick * (1 + 1e-9) and tick <= high * (1 + 1e-9)]
    decades = [tick for tick in within if is_log and f"{tick:e}"[0] == "1"]
    return decades if len(within) > MOST_TICKS and len(decades) > 2 else within or few


def _short(word: str) -> str:
    """Returns a word that fits between two axes."""
    return (
        word if len(word) <= MOST_LETTERS else f"{word[: MOST_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def _round_step(least: float) -> float:
    """Returns the smallest of 1, 2, 5, 10, ... times a power of ten that is at least this."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
