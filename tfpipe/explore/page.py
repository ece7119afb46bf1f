"""Page of an exploration: the map with its images, the queue, and what to trust."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfpipe.base import figures, files, html, tables
from tfpipe.base.errors import UserError
from tfpipe.base.figures import StyledFigure
from tfpipe.explore import confounders, umap
from tfpipe.explore.novelty_benchmark import MEAN
from tfpipe.explore.queue import Entry
from tfpipe.explore.result import UNLABELLED, Findings, class_names, cluster_names

STYLES = (html.STYLE, "explore/assets/explore.css")
SCRIPTS = ("explore/assets/d3.js", "explore/assets/map.js")
MAX_POINTS = 100_000  # of the page's map
MAX_IMAGES = 6_000  # of points, each of some 3 KB
MAX_QUEUED = 48  # entries of the queue that are shown
MAX_CATEGORIES = 24  # that colours can distinguish, more or less
MAX_LEGEND = 20  # names in the legend of the PNG
NO_CATEGORY = "#c3ccd2"  # colour of images without a class or cluster
MAP_SIZE_IN, MAP_DPI = (11.0, 5.2), 200


def shown_rows(result: Findings, *, seed: int) -> tuple[list[int], list[int]]:
    """Returns the rows whose images the page needs, and the rows of the queue that it shows."""
    entries = result.queue[:MAX_QUEUED]
    queued = {row for entry in entries for row in (entry.row, *entry.nearest)} | {
        entry.row for entry in result.queue[: MAX_IMAGES // 4]
    }
    drawn = umap.sample_rows(len(result.frame), most=MAX_IMAGES - len(queued), seed=seed)
    return sorted({*queued, *drawn.tolist()}), [entry.row for entry in entries]


def write(
    path: Path,
    result: Findings,
    *,
    thumbnails: dict[int, bytes],
    reconstructions: dict[int, bytes],
) -> Path:
    """Writes an exploration as one HTML file that needs no network.

    Args:
      path: path of the page.
      result: the exploration.
      thumbnails: row -> JPEG, of `shown_rows`.
      reconstructions: row -> JPEG of the autoencoder's reconstruction, of the queue; {} without an
        autoencoder.

    Returns:
      The path.

    Raises:
      UserError: if the folder cannot be written.
    """
    data = map_data(result, thumbnails)
    queue = _queue(result, thumbnails=thumbnails, reconstructions=reconstructions)
    notes = html.bullets(result.notes) if result.notes else Markup("")
    sections = [
        ("Map", html.joined(_map(data, total=len(result.frame)), _trust(result.trust))),
        ("Queue", queue),
        ("Which score to trust", _benchmark(result.benchmark)),
        ("Clusters: real, or light and crop?", _clusters(result)),
        ("Scores: new, or light and crop?", _scores(result)),
        ("Notes", notes),
    ]
    text = html.page(
        "base/templates/document.html",
        title=result.title,
        styles=STYLES,
        scripts=[html.asset(path) for path in SCRIPTS],
        data=data,
        lead=_headline(result),
        sections=sections,
    )
    files.replace(path, text.encode("utf-8", "replace"))
    return path


def map_data(result: Findings, thumbnails: dict[int, bytes]) -> dict[str, Any]:
    """Returns what assets/map.js draws: an item for each row, with its thumbnail if it has one.

    Of more than `MAX_POINTS` rows, it is those with a thumbnail and some others.
    """
    drawn = umap.sample_rows(len(result.frame), most=MAX_POINTS, seed=0)
    rows = sorted({*thumbnails, *drawn.tolist()})
    frame = result.frame.iloc[rows]
    labels, clusters = result.labels[rows], result.clusters[rows]
    columns = [_category_column("class", labels)]
    if (frame["predicted"] != "").any():
        columns.append(_category_column("prediction", frame["predicted"].to_numpy(str)))
    columns.append(_category_column("cluster", clusters))
    for name in (*result.scores, *result.nuisances):
        values = frame[name].to_numpy()
        if values.dtype.kind == "f":
            columns.append(_numeric_column(name.replace("_", " "), values))
        elif len(np.unique(values.astype(str))) <= MAX_CATEGORIES:
            columns.append(_category_column(name, values.astype(str)))
    captions = [
        f"{key}: {label}, {f'predicted {predicted}, ' if predicted else ''}{cluster}"
        for key, label, predicted, cluster in zip(
            frame["key"], labels, frame["predicted"], clusters, strict=True
        )
    ]
    return {
        "x": _rounded(frame["x"]),
        "y": _rounded(frame["y"]),
        "columns": columns,
        "thumbnails": [
            html.base64_text(thumbnails[row]) if row in thumbnails else "" for row in rows
        ],
        "keys": [tables.escaped(files.shown(key)) for key in frame["key"]],
        "captions": [files.shown(text) for text in captions],
    }


def map_figure(frame: pd.DataFrame) -> StyledFigure:
    """Returns the map coloured by class, and beside it by cluster.

    Args:
      frame: as `Findings.frame` has it, or map.csv.
    """

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        _scatter(left, frame, class_names(frame), without=UNLABELLED, title="By class")
        _scatter(right, frame, cluster_names(frame), without="no cluster", title="By cluster")

    return figures.styled(draw, size=MAP_SIZE_IN)


def read_map(path: Path) -> pd.DataFrame:
    """Returns map.csv as `map_figure` takes it.

    Raises:
      UserError: it is missing or no map.
    """
    try:
        frame = tables.read_csv(path, text={"key", "split", "group", "label", "predicted"})
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a map. Run tfpipe explore again.") from error
    if missing := [name for name in ("label", "cluster", "x", "y") if name not in frame]:
        raise UserError(f"{path} has no column {missing[0]}. Run tfpipe explore again.")
    return frame


def map_png(result: Findings) -> bytes:
    """Returns `map_figure` as a PNG for papers."""
    return figures.png(map_figure(result.frame), dpi=MAP_DPI)


def _scatter(
    axes: Axes, frame: pd.DataFrame, names: np.ndarray, *, without: str, title: str
) -> None:
    """Draws the map; points named `without` are pale, the commonest of the others come first."""
    x, y = frame["x"].to_numpy(), frame["y"].to_numpy()

    def points(inside: np.ndarray, colour: str, label: str | None) -> None:
        axes.scatter(x[inside], y[inside], s=6, lw=0, alpha=0.8, color=colour, label=label)

    is_without = names == without
    if is_without.any():
        points(is_without, NO_CATEGORY, without)
    categories, counts = np.unique(names[~is_without], return_counts=True)
    ranked = categories[np.argsort(-counts, kind="stable")]
    for rank, (category, colour) in enumerate(zip(ranked, _colours(len(ranked)), strict=True)):
        points(names == category, colour, str(category) if rank < MAX_LEGEND else None)
    axes.legend(markerscale=2.5, fontsize=8, loc="best")
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)


def _colours(count: int) -> list[str]:
    """Returns so many colours: first those of all figures, then paler and darker ones."""
    more = [matplotlib.colors.to_hex(matplotlib.colormaps["tab20"](i)) for i in range(20)]
    every = [*figures.COLOURS, *more]
    return [every[i % len(every)] for i in range(count)]


def _category_column(name: str, values: np.ndarray) -> dict[str, Any]:
    categories, indices = np.unique(values, return_inverse=True)
    colours = [
        NO_CATEGORY if category.startswith(("(", "no ")) else colour
        for category, colour in zip(categories, _colours(len(categories)), strict=True)
    ]
    return {
        "name": name,
        "values": indices.tolist(),
        "categories": [files.shown(str(category)) for category in categories],
        "colours": colours,
    }


def _numeric_column(name: str, values: np.ndarray) -> dict[str, Any]:
    return {"name": name, "values": _rounded(values), "categories": None, "colours": None}


def _rounded(values: Iterable[float]) -> list[float | None]:
    """Returns numbers with the digits that a figure can show; None for missing ones."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def _headline(result: Findings) -> Markup:
    counts = [
        ("images", len(result.frame)),
        ("of them labelled", int((result.frame["label"] != "").sum())),
        ("clusters", int(result.frame["cluster"].max()) + 1),
        ("in the queue", len(result.queue)),
    ]
    return html.joined(
        html.title(result.title),
        html.paragraph(result.reason, style="lead"),
        html.tiles([(name, f"{count:,}") for name, count in counts]),
    )


def _map(data: dict[str, Any], *, total: int) -> Markup:
    return html.render(
        "explore/templates/map.html",
        columns=[column["name"] for column in data["columns"]],
        classes=[
            tables.escaped(name)
            for column in data["columns"][:1]
            for name in column["categories"]
            if name != UNLABELLED
        ],
        shown=f"{len(data['x']):,}",
        total=f"{total:,}",
    )


def _trust(trust: pd.DataFrame) -> Markup:
    why = "chosen by umap-learn"
    rows = [
        (name, training, new, html.number(steps, digits=0, why=why))
        for name, training, new, steps in zip(
            trust["map"], trust["training"], trust["new"], trust["steps"], strict=True
        )
    ]
    headings = ("map", "trustworthiness, training", "trustworthiness, new", "gradient steps")
    return html.table(headings, rows)


def _queue(
    result: Findings, *, thumbnails: dict[int, bytes], reconstructions: dict[int, bytes]
) -> Markup:
    entries = [
        {
            "large": _large_images(result, entry, thumbnails, reconstructions),
            "small": [
                (_jpeg_uri(thumbnails[row]), f"labelled: {result.labels[row]}")
                for row in entry.nearest
            ],
            "lines": _entry_lines(result, rank, entry),
        }
        for rank, entry in enumerate(result.queue[:MAX_QUEUED], start=1)
    ]
    return html.render(
        "explore/templates/queue.html",
        entries=entries,
        total=f"{len(result.queue):,}",
        has_reconstructions=bool(reconstructions),
    )


def _large_images(
    result: Findings,
    entry: Entry,
    thumbnails: dict[int, bytes],
    reconstructions: dict[int, bytes],
) -> list[tuple[str, str]]:
    """Returns (address, text) of the image, and of its reconstruction if there is one."""
    images = [(_jpeg_uri(thumbnails[entry.row]), str(result.frame["key"].iloc[entry.row]))]
    if entry.row in reconstructions:
        images.append((_jpeg_uri(reconstructions[entry.row]), "reconstruction"))
    return images


def _entry_lines(result: Findings, rank: int, entry: Entry) -> list[str]:
    row = result.frame.iloc[entry.row]
    score = f"{result.ranked_by.replace('_', ' ')} {row[result.ranked_by]:.3g}"
    lines = [
        f"{rank}. {row['key']}",
        f"predicted {row['predicted']}" if row["predicted"] else "",
        f"{result.clusters[entry.row]}, {score}",
        f"near-duplicates left out: {len(entry.copies)}" if entry.copies else "",
        f"nearest labelled: {', '.join(result.labels[i] for i in entry.nearest)}",
    ]
    return [line for line in lines if line]


def _jpeg_uri(jpeg: bytes) -> str:
    return html.data_uri(jpeg, kind="image/jpeg")


def _benchmark(table: pd.DataFrame) -> Markup:
    if not len(table):
        return html.paragraph(
            "No class was left out yet. `--leave-out each` measures which score finds new classes."
        )
    wide = table.pivot(index="score", columns="class", values="auroc")
    means = table[table["class"] == MEAN].set_index("score")
    ranked = means["auroc"].sort_values(ascending=False, kind="stable").index
    classes = [name for name in table["class"].unique() if name != MEAN]
    rows = [
        (
            score.replace("_", " "),
            float(means.loc[score, "auroc"]),
            float(means.loc[score, "precision_at_100"]),
            *(float(wide.loc[score, name]) for name in classes),
        )
        for score in ranked
    ]
    text = (
        "Each class in turn was left out of training, and searched for among the labelled images "
        "of held-out groups. AUROC: how often an image of this class scores above another image "
        "(0.5 is chance). Precision at 100: the share of this class among the first hundred, or "
        "among as many as it has images if these are fewer."
    )
    auroc_headings = [f"AUROC, {name}" for name in classes]
    headings = ("score", "mean AUROC", "mean precision at 100", *auroc_headings)
    return html.joined(html.paragraph(text), html.table(headings, rows))


def _clusters(result: Findings) -> Markup:
    if not len(result.of_clusters):
        return html.paragraph("There is no cluster: too few images lie close enough together.")
    explanations = confounders.in_words(result.of_clusters)
    numbers = result.frame["cluster"].to_numpy()
    rows = []
    for number in range(numbers.max() + 1):
        labels = result.labels[numbers == number]
        counts = pd.Series(labels).value_counts().head(3)
        commonest = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        explanation = explanations[f"cluster {number}"]
        rows.append((str(number), len(labels), commonest, explanation))
    text = (
        "Each cluster is tested against light, crop, place and run: how well does such a number "
        "alone separate the images of the cluster from the others?"
    )
    headings = ("cluster", "images", "commonest classes", "explained by")
    table = html.table(headings, rows)
    return html.joined(html.paragraph(text), table, _direction(result.of_direction))


def _direction(table: pd.DataFrame) -> Markup:
    rows = [
        (f"{what}, images {shown}", measure, value, "yes" if explained else "no")
        for what, shown, measure, value, explained in zip(
            table["what"],
            table["shown"],
            table["measure"],
            table["value"],
            table["explained"],
            strict=True,
        )
    ]
    text = (
        "How much of each cluster is only the direction in which a particle lies. The angle is "
        "doubled, because half a turn changes nothing. AUROC: 0.5 is chance."
    )
    if table["shown"].nunique() < 2:
        text += (
            " With --normalize-orientation, models see every image turned to the same direction."
        )
    headings = ("clusters", "measure", "value", "explained")
    return html.joined(html.paragraph(text), html.table(headings, rows))


def _scores(result: Findings) -> Markup:
    return html.bullets(confounders.in_words(result.of_scores).values())
