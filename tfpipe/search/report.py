"""Page of a search: parallel coordinates, the best score so far, importance, all trials."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tfpipe.base import files, html
from tfpipe.search.importance import Importance
from tfpipe.search.results import SearchResult, format_value

STYLES = (html.STYLE, "search/assets/search.css")
SCRIPT = "search/assets/figures.js"
AXIS_PX = 110  # width of a page for each axis, so that their names stay readable
INK, GRID, FIRST, SECOND = "#33424d", "#e3e9ec", "#2f6690", "#e07a1f"
FONT = {"family": 'system-ui, "Segoe UI", Roboto, Arial, sans-serif', "size": 13, "color": INK}
MAX_TICKS = 8
MAX_LETTERS = 14  # of a word at an axis
MISSING = "\N{EM DASH}"


def write(path: Path, search: SearchResult, importance: Importance, *, task: str) -> Path:
    """Writes a search as one HTML file that needs no network.

    Args:
      path: path of the page.
      search: the search.
      importance: the importance of its hyperparameters.
      task: name of the task, for the title.

    Returns:
      The path.

    Raises:
      UserError: if the folder cannot be written.
    """
    figures = {}
    if search.completed:
        figures = {"trials": coordinates(search), "best": best_so_far(search)}
    sections = [
        ("Importance of hyperparameters", _importance(importance)),
        ("Trials", _trials(search)),
    ]
    if figures:
        axes = len(figures["trials"]["data"][0]["dimensions"])
        sections = [
            ("Parallel coordinates", _coordinates_figure(axes)),
            ("Best score so far", _figure("best")),
            *sections,
        ]
    title = f"{task}: search of {search.model}"
    text = html.page(
        "base/templates/document.html",
        title=title,
        styles=STYLES,
        scripts=[html.plotly_script(), html.asset(SCRIPT)] if figures else [],
        data=figures or None,
        # plotly.js compiles the functions that call the shaders of parallel coordinates.
        may_compile=True,
        lead=_headline(search, title=title),
        sections=sections,
    )
    files.replace(path, text.encode("utf-8", "replace"))
    return path


def coordinates(search: SearchResult) -> dict[str, Any]:
    """Returns Plotly's parallel coordinates: a line for each completed trial, the best on top.

    The axes are the hyperparameters and epochs that vary, and the score.
    """
    rows = sorted(search.completed, key=lambda row: search.sign * row["score"])
    names = [name for name in (*search.names, "epochs") if search.varies(name)]
    axes = [
        axis([row.get(name) for row in rows], name=name, is_log=name in search.logarithmic)
        for name in names
    ]
    scores = [row["score"] for row in rows]
    axes.append(axis(scores, name="score", is_log=spans_decades(scores)))
    line = {
        "color": axes[-1]["values"],
        "colorscale": "Viridis",
        "showscale": False,
        "reversescale": search.sign < 0,
    }
    trace = {
        "type": "parcoords",
        "dimensions": axes,
        "line": line,
        "labelside": "top",
        "labelfont": FONT,
        "tickfont": FONT | {"size": 12},
    }
    margin = {"l": 70, "r": 70, "t": 50, "b": 25}
    return {"data": [trace], "layout": {"height": 430, "margin": margin, "font": FONT}}


def best_so_far(search: SearchResult) -> dict[str, Any]:
    """Returns Plotly's figure of each completed trial's score in order, and the best so far."""
    rows = search.completed
    scores = [row["score"] for row in rows]
    better = max if search.sign > 0 else min
    best = [better(scores[: i + 1]) for i in range(len(scores))]
    order = list(range(1, len(rows) + 1))
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "trial",
        "x": order,
        "y": scores,
        "text": [_hover_text(search, row) for row in rows],
        "hovertemplate": "%{y:.4f}<br>%{text}<extra></extra>",
        "marker": {"color": FIRST, "size": 8, "opacity": 0.75},
    }
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "x": order,
        "y": best,
        "line": {"shape": "hv", "color": SECOND, "width": 2},
        "hoverinfo": "skip",
    }
    plain = {"gridcolor": GRID, "zeroline": False, "linecolor": INK}
    scale = "log" if spans_decades(scores) else "linear"
    layout = {
        "height": 360,
        "margin": {"l": 70, "r": 20, "t": 20, "b": 55},
        "font": FONT,
        "plot_bgcolor": "#fff",
        "xaxis": plain | {"title": {"text": "completed trial"}},
        "yaxis": plain | {"title": {"text": html.escaped(search.objective)}, "type": scale},
        "legend": {"orientation": "h", "y": 1.08, "x": 0},
        "showlegend": True,
    }
    return {"data": [line, dots], "layout": layout}


def axis(values: Sequence[Any], *, name: str, is_log: bool) -> dict[str, Any]:
    """Returns an axis of parallel coordinates.

    Plotly's axes have no words, logarithms or gaps. So words are whole numbers, logarithmic values
    are exponents of ten, and a missing value is below all others. Plotly reads a label as markup,
    but not the texts of ticks.

    Args:
      values: of the trials; None for missing ones.
      name: of the axis.
      is_log: whether the scale is logarithmic.
    """
    present = [value for value in values if value is not None]
    if all(_is_number(value) for value in present):
        positions, ticks, texts = _numeric_axis(values, is_log=is_log)
    else:
        positions, ticks, texts = _word_axis(values)
    placed = [position for position in positions if position is not None]
    low, high = min([*placed, *ticks]), max([*placed, *ticks])
    if low == high:
        low, high = low - 0.5, high + 0.5
    if len(placed) < len(positions):
        low -= 0.12 * (high - low)
        positions = [low if position is None else position for position in positions]
        ticks, texts = [low, *ticks], [MISSING, *texts]
    return {
        "label": html.escaped(_short(name.replace("_", " "))),
        "values": positions,
        "range": [low, high],
        "tickvals": ticks,
        "ticktext": [_short(text) for text in texts],
    }


def spans_decades(scores: Sequence[float]) -> bool:
    """Returns whether scores need a logarithmic scale, such as losses of which some diverged."""
    return min(scores) > 0 and max(scores) > 100 * min(scores)


def _numeric_axis(
    values: Sequence[Any], *, is_log: bool
) -> tuple[list[float | None], list[float], list[str]]:
    """Returns positions of the values, positions of the ticks, and the texts of the ticks."""
    ticks = _ticks([value for value in values if value is not None], is_log=is_log)
    texts = [f"{tick:g}" for tick in ticks]
    if not is_log:
        return list(values), ticks, texts
    positions = [None if value is None else math.log10(value) for value in values]
    return positions, [math.log10(tick) for tick in ticks], texts


def _word_axis(values: Sequence[Any]) -> tuple[list[float | None], list[float], list[str]]:
    """Returns as `_numeric_axis`, with the words at whole numbers in alphabetical order."""
    words = sorted({str(value) for value in values if value is not None})
    position_of = {word: float(i) for i, word in enumerate(words)}
    positions = [None if value is None else position_of[str(value)] for value in values]
    return positions, list(position_of.values()), words


def _hover_text(search: SearchResult, row: dict[str, Any]) -> str:
    names = [name for name in ("trial", *search.names, "epochs") if name in row]
    return "<br>".join(html.escaped(f"{name} {format_value(row, name)}") for name in names)


def _ticks(values: Sequence[float], *, is_log: bool) -> list[float]:
    """Returns the ticks of a numeric axis: the values if they are few, else round numbers."""
    distinct = sorted(set(values))
    if len(distinct) <= MAX_TICKS and all(isinstance(value, int) for value in distinct):
        return distinct
    low, high = distinct[0], distinct[-1]
    if is_log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        round_numbers = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    else:
        step = _round_step((high - low) / MAX_TICKS)
        first, last = math.floor(low / step), math.ceil(high / step)
        round_numbers = [step * n for n in range(first, last + 1)]
    tolerance = 1 + 1e-9
    within = [
        tick for tick in round_numbers if low <= tick * tolerance and tick <= high * tolerance
    ]
    decades = [tick for tick in within if is_log and f"{tick:e}"[0] == "1"]
    if len(within) > MAX_TICKS and len(decades) > 2:
        return decades
    return within or distinct


def _round_step(least: float) -> float:
    """Returns the smallest of 1, 2, 5, 10, ... times a power of ten that is at least this."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least)


def _short(word: str) -> str:
    """Returns a word that fits between two axes."""
    if len(word) <= MAX_LETTERS:
        return word
    return f"{word[: MAX_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _headline(search: SearchResult, *, title: str) -> Markup:
    summary = search.summary
    state = f"{summary['algorithm']}, {summary['state']}; last change at {summary['changed']}."
    tiles = [("trials completed", f"{summary['completed']} of {summary['n_trials']}")]
    lead = "No trial has a score yet."
    if search.completed:
        best = search.ranked[0]
        values = [f"{n} {format_value(best, n)}" for n in search.names if best.get(n) is not None]
        lead = f"Best: trial {best['trial']}, with {', '.join(values)}."
        tiles.insert(0, (f"best {search.objective}", f"{best['score']:.4f}"))
    return html.joined(
        html.title(title),
        html.paragraph(state.capitalize(), style="soft"),
        html.paragraph(lead, style="lead"),
        html.tiles(tiles),
    )


def _coordinates_figure(axes: int) -> Markup:
    caption = (
        "A line is a completed trial; the brighter, the better. Drag along an axis to see only the "
        "lines through that part. Drag a name to move its axis."
    )
    return _figure("trials", caption=caption, min_width_px=AXIS_PX * axes)


def _figure(name: str, *, caption: str = "", min_width_px: int = 0) -> Markup:
    template = "search/templates/figure.html"
    return html.render(template, name=name, caption=caption, min_width_px=min_width_px)


def _importance(importance: Importance) -> Markup:
    longest = max(importance.shares.values(), default=0) or 1
    rows = [
        (name.replace("_", " "), html.joined(html.bar(share / longest), f" {share:.0%}"))
        for name, share in importance.shares.items()
    ]
    headings = ("hyperparameter", "share of how trials rank")
    table = html.table(headings, rows) if rows else None
    return html.joined(html.paragraph(importance.note), table)


def _trials(search: SearchResult) -> Markup:
    columns = list(search.columns)
    if any(row.get("message") for row in search.content["trials"]):
        columns.append("message")
    rows = [[_cell(row, name) for name in columns] for row in search.ranked]
    table = html.table([name.replace("_", " ") for name in columns], rows)
    return html.render("search/templates/trials.html", trials=table)


def _cell(row: dict[str, Any], name: str) -> str | Markup:
    text, value = format_value(row, name), row.get(name)
    if name == "message":
        return html.render("search/templates/message.html", text=text)
    is_number = isinstance(value, int | float | None) and not isinstance(value, bool)
    return html.Number(text) if is_number else text
