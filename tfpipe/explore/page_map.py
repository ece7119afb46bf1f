"""The map of an exploration that a reader can move in: rest on a point and see its picture."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfpipe.base import files, html
from tfpipe.base.html import Html, joined, tag
from tfpipe.explore import map_plots
from tfpipe.explore.result import Findings

MOST_GROUPS = 24  # names that colours can tell apart, more or less
PICTURE = (
    '<img id="picture" alt="the picture of the point" hidden '
    'style="width: 9rem; image-rendering: pixelated">'
)

DRAW = """
const plot = document.getElementById('map'), menu = document.getElementById('colour');
const picture = document.getElementById('picture'), said = document.getElementById('said');
const everything = told.x.map((_, i) => i);
function points(rows, more) {
  return Object.assign({type: 'scatter', mode: 'markers', x: rows.map(i => told.x[i]),
    y: rows.map(i => told.y[i]), customdata: rows, hoverinfo: 'none'}, more);
}
function traces(field) {
  if (field.kinds === null) {
    const marker = {size: 6, color: field.values, colorscale: 'Viridis', showscale: true};
    return [points(everything, {marker: marker, name: field.name})];
  }
  return field.kinds.map((kind, k) => points(everything.filter(i => field.values[i] === k),
    {name: kind, marker: {size: 6, color: field.colours[k]}}));
}
function show(row) {
  picture.src = 'data:image/jpeg;base64,' + told.pictures[row];
  picture.hidden = false;
  said.textContent = told.said[row];
}
function draw() {
  const field = told.fields[menu.selectedIndex];
  told.layout.showlegend = field.kinds !== null;
  Plotly.react(plot, traces(field), told.layout,
    {responsive: true, displayModeBar: false, scrollZoom: true});
}
draw();
menu.addEventListener('change', draw);
plot.on('plotly_hover', event => show(event.points[0].customdata));
"""


def told(known: Findings, pictures: dict[int, bytes]) -> dict[str, Any]:
    """Returns what `DRAW` takes: an item for each row that has its JPEG."""
    rows = sorted(pictures)
    frame = known.frame.iloc[rows]
    labels, clusters = known.labels[rows], known.clusters[rows]
    fields = [_of_names("class", labels)]
    if (frame["predicted"] != "").any():
        fields.append(_of_names("prediction", frame["predicted"].to_numpy(str)))
    fields.append(_of_names("cluster", clusters))
    for name in (*known.scores, *known.nuisances):
        values = frame[name].to_numpy()
        if values.dtype.kind == "f":
            fields.append(_of_numbers(name.replace("_", " "), values))
        elif len(np.unique(values.astype(str))) <= MOST_GROUPS:
            fields.append(_of_names(name, values.astype(str)))
    said = [
        f"{row.key}: {label}, {f'predicted {row.predicted}, ' if row.predicted else ''}{cluster}"
        for row, label, cluster in zip(frame.itertuples(), labels, clusters, strict=True)
    ]
    plain = {"showgrid": False, "zeroline": False, "showticklabels": False}
    layout = {
        "height": 560,
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "plot_bgcolor": "#f4f7f8",
        "hovermode": "closest",
        "xaxis": plain,
        "yaxis": plain | {"scaleanchor": "x"},
        "legend": {"itemsizing": "constant"},
    }
    return {
        "x": _short(frame["x"]),
        "y": _short(frame["y"]),
        "fields": fields,
        "pictures": [html.data_uri(pictures[row], kind="").partition(",")[2] for row in rows],
        "said": [files.shown(text) for text in said],
        "layout": layout,
    }


def _of_names(name: str, values: np.ndarray) -> dict[str, Any]:
    kinds, places = np.unique(values, return_inverse=True)
    colours = [
        map_plots.PALE if kind.startswith(("(", "no ")) else colour
        for kind, colour in zip(kinds, map_plots.colours(len(kinds)), strict=True)
    ]
    escaped = [html.escaped(str(kind)) for kind in kinds]  # plotly reads markup in a legend
    return {"name": name, "values": places.tolist(), "kinds": escaped, "colours": colours}


def _of_numbers(name: str, values: np.ndarray) -> dict[str, Any]:
    return {"name": name, "values": _short(values), "kinds": None, "colours": None}


def _short(values: Iterable[float]) -> list[float | None]:
    """Returns numbers with the digits that a figure can show."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def section(told: dict[str, Any], *, total: int) -> Html:
    """Returns the elements that `DRAW` draws in; `total` is the number of all pictures."""
    menu = tag("select", *(tag("option", field["name"]) for field in told["fields"]), id="colour")
    says = f"A point is a picture; {len(told['x']):,} of {total:,} are drawn. "
    beside = tag(
        "figure",
        Html(PICTURE),
        tag("figcaption", "", id="said"),
        style="min-height: 12rem; width: 10rem; flex: none",
    )
    plot = tag("div", id="map", style="flex: 1; min-width: 20rem")
    return joined(
        tag("p", says, "Rest on one to see it.", class_="soft"),
        tag("p", "Colour by ", menu),
        tag("div", plot, beside, style="display: flex; gap: 1rem; flex-wrap: wrap"),
    )
