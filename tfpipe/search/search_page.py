"""A search as one page of HTML: trials side by side, the best so far, what mattered, a table."""

from pathlib import Path
from typing import Any

from tfpipe.base import files, html, html_scripts
from tfpipe.base.html import Html, joined, tag
from tfpipe.search import parallel_coordinates
from tfpipe.search.importance import Importance
from tfpipe.search.results import Known, shown

DRAW = """
for (const [name, figure] of Object.entries(told)) {
  Plotly.newPlot('figure-' + name, figure.data, figure.layout,
                 {responsive: true, displayModeBar: false});
}
"""
LEAST_PX = 110  # of a page's width for an axis, so that names side by side stay readable


def write(path: Path, known: Known, mattered: Importance, *, task: str) -> Path:
    """Writes what is known of a search as one file that needs no network.

    Args:
      path: of the page.
      known: the search.
      mattered: its hyperparameters' importance.
      task: the task's name, for the title.

    Returns:
      The path.

    Raises:
      UserError: if the folder cannot be written.
    """
    figures = {}
    if known.completed:
        figures = {
            "trials": parallel_coordinates.coordinates(known),
            "best": parallel_coordinates.best_so_far(known),
        }
    scripts = html_scripts.scripts(figures, DRAW) if figures else []
    named = (
        ("Trials side by side", _side_by_side(known, figures)),
        ("Best so far", _chart("best") if figures else None),
        ("What mattered", _mattered(mattered)),
        ("Trials", joined(_trials(known), *(tag("script", script) for script in scripts))),
    )
    title = f"{task}: search of {known.model}"
    parts = [(name, content) for name, content in named if content is not None]
    lead = _headline(known, title=title)
    # It may compile: plotly.js makes the shaders' callers of its parallel coordinates from text.
    policy = html_scripts.policy(scripts, may_compile=True)
    text = html.document(title, lead, parts, policy=policy)
    files.replace(path, text.encode("utf-8", "replace"))
    return path


def _headline(known: Known, *, title: str) -> Html:
    told = known.summary
    about = f"{told['algorithm']}, {told['state']}; last written to at {told['changed']}."
    tiles = [("trials completed", f"{told['completed']} of {told['asked']}")]
    lead = "No trial has a score yet."
    if known.completed:
        best = known.ranked[0]
        values = [f"{n} {shown(best, n)}" for n in known.names if best.get(n) is not None]
        lead = f"Best: trial {best['trial']}, with {', '.join(values)}."
        tiles.insert(0, (f"best {known.objective}", f"{best['score']:.4f}"))
    return joined(
        tag("h1", title),
        tag("p", about.capitalize(), class_="soft"),
        tag("p", lead, class_="lead"),
        html.tiles(tiles),
    )


def _side_by_side(known: Known, figures: dict[str, Any]) -> Html | None:
    if not figures:
        return None
    axes = len(figures["trials"]["data"][0]["dimensions"])
    says = (
        "A line is a completed trial, the brighter the better. Drag along an axis to keep only the "
        "lines through there; drag a name to move its axis."
    )
    chart = _chart("trials", style=f"min-width: {LEAST_PX * axes}px")
    return joined(tag("p", says, class_="soft"), tag("div", chart, class_="wide"))


def _mattered(mattered: Importance) -> Html:
    longest = max(mattered.shares.values(), default=0) or 1
    rows = [
        (name.replace("_", " "), joined(html.bar(share / longest), f" {share:.0%}"))
        for name, share in mattered.shares.items()
    ]
    table = html.table(("hyperparameter", "share of how trials rank"), rows) if rows else None
    return joined(tag("p", mattered.note), table)


def _trials(known: Known) -> Html:
    columns = list(known.columns)
    if any(row.get("message") for row in known.told["trials"]):
        columns.append("message")
    rows = [[_cell(row, name) for name in columns] for row in known.ranked]
    table = html.table([name.replace("_", " ") for name in columns], rows)
    return tag("div", table, style="white-space: nowrap")


def _cell(row: dict[str, Any], name: str) -> Any:
    said, value = shown(row, name), row.get(name)
    if name == "message":
        return tag("div", said, style="white-space: normal; min-width: 20rem")
    is_number = isinstance(value, int | float | None) and not isinstance(value, bool)
    return html.Number(said) if is_number else said


def _chart(name: str, *, style: str | None = None) -> Html:
    return tag("div", id=f"figure-{name}", style=style)
