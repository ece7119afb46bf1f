"""Report of an autoencoder: errors of reconstruction, and originals beside reconstructions."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from tfpipe.base import figures, html, images
from tfpipe.data import dataset
from tfpipe.evaluation.metric_names import title_of
from tfpipe.evaluation.reconstruction import UNLABELLED
from tfpipe.models import calls
from tfpipe.registry import load
from tfpipe.report import gallery, opening, opening_figures, plots, sections
from tfpipe.report.opening import Panel
from tfpipe.report.opening_figures import Tile
from tfpipe.report.report_data import ReportData
from tfpipe.report.sections import Section
from tfpipe.tasks.task import SPLITS

MAX_IMAGES = 8  # of a list
GAP = 0.03  # between original and reconstruction, as a share of the image's side
WIDE = 1.5  # from this ratio of width to height on, the reconstruction is below the original
METRICS = ("mean_squared_error", "error_of_mean_image", "variance_explained")


def titled_sections(data: ReportData) -> tuple[Section, ...]:
    """Returns (title, function of the data) of each section."""
    return (
        ("Errors of reconstruction", errors),
        (f"Originals beside reconstructions of test {data.example_noun}s", originals),
    )


def tiles(data: ReportData) -> list[tuple[str, Markup]]:
    """Returns (name, value) of the most important scores."""
    scores = data.card.metrics["test"]
    return [(title_of(metric), sections.score(metric, scores)) for metric in METRICS]


def panels(data: ReportData, *, summary: str) -> list[Panel]:
    """Returns what the model reconstructs, how well for new groups, and what it does not."""
    frame, noun = data.of_split("test"), data.group_column
    error = frame["error"].to_numpy()
    middle = gallery.select(frame, np.abs(error - np.median(error)), limit=opening.MAX_TILES)
    worst = gallery.select(frame, -error, limit=opening.MAX_TILES)
    pairs = _pairs(data, sorted({*middle, *worst}))

    def shown(rows: list[int], *, are_good: bool, caption: str) -> Markup:
        tiles = [Tile(pairs[row], (f"error {error[row]:.5f}",), is_right=are_good) for row in rows]
        return opening.tiled(tiles, caption=f"{caption} The original is first.")

    means = frame.groupby(noun)["error"].mean()
    of_mean_image = float(frame["error_of_mean_image"].mean())
    example = data.example_noun
    groups = opening_figures.group_errors(
        means.to_numpy(float), noun=noun, of_mean_image=of_mean_image
    )
    group_caption = (
        f"A dot is a test {noun}: the nearer to 0, the more alike are original and reconstruction. "
        "On the dashed line, the model is no better than showing the mean image each time."
    )
    failure = (
        f"The worst {example} has an error of {error.max():.5f}, the middle one of "
        f"{np.median(error):.5f}. The worst {noun} is {means.idxmax()}, with a mean error of "
        f"{means.max():.5f}."
    )
    found = shown(middle, are_good=True, caption=f"Test {example}s of the middle error.")
    failed = shown(worst, are_good=False, caption=f"The test {example}s of the largest errors.")
    return [
        Panel(opening.FINDS, summary, found),
        Panel(opening.SURE, opening.expected_score(data), html.plot(groups, caption=group_caption)),
        Panel(opening.FAILS, failure, failed),
    ]


def summary(data: ReportData) -> str:
    """Returns the result on the test split, the end of a sentence."""
    scores = data.card.metrics["test"]
    error, variance = scores["mean_squared_error"], scores["error_of_mean_image"]
    return (
        f"it reconstructs {scores['examples']:,} {data.example_noun}s with a mean squared error of "
        f"{error:.5f}, where black is 0 and white is 1. The mean image of the training split has "
        f"an error of {variance:.5f}."
    )


def errors(data: ReportData) -> Markup:
    """Returns the errors of reconstruction by split, class and group."""
    test = data.of_split("test")
    high = max(data.frame["error"].max(), 1e-12)
    by_split = {split: data.of_split(split)["error"].to_numpy() for split in SPLITS}
    x = "mean squared error of an image"
    split_svg = plots.histograms(by_split, title="Errors by split", x=x, high=high)
    class_svg = plots.histograms(
        _errors_by_class(data, test), title="Errors by class, test split", x=x, high=high
    )
    split_caption = "Errors of single images. The model was fitted on those of the training split."
    return html.joined(
        sections.by_split(data, (*METRICS, "examples")),
        html.plots(
            [
                html.plot(split_svg, caption=split_caption),
                html.plot(class_svg, caption="The model was trained without the classes."),
            ]
        ),
        html.plots([_class_table(data), _group_table(data, test)]),
    )


def originals(data: ReportData) -> Markup:
    """Returns the best, median and worst images of the test split beside their originals."""
    frame = data.of_split("test")
    error = frame["error"].to_numpy()
    lists = [
        ("Best", gallery.select(frame, error, limit=MAX_IMAGES)),
        ("Median", gallery.select(frame, np.abs(error - np.median(error)), limit=MAX_IMAGES)),
        ("Worst", gallery.select(frame, -error, limit=MAX_IMAGES)),
    ]
    pairs = _pairs(data, sorted({row for _, rows in lists for row in rows}))
    classes = data.card.classes
    galleries = []
    for title, rows in lists:
        images_of_list = []
        for row in rows:
            lines = [f"error {error[row]:.5f}"]
            if frame["label"].iloc[row] >= 0:
                lines.append(f"is {classes[frame['label'].iloc[row]]}")
            images_of_list.append(
                gallery.image(frame.iloc[row], lines, png=images.encode_png(pairs[row]))
            )
        galleries.append(html.gallery(title, images_of_list))
    text = "The original is first, then the reconstruction."
    return html.joined(html.paragraph(text), *galleries)


def _errors_by_class(data: ReportData, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Returns class -> errors, for as many of the commonest classes as there are colours."""
    commonest = frame["label"].value_counts().index[: len(figures.COLOURS)]
    names = [*data.card.classes, UNLABELLED]  # UNLABELLED is at -1
    return {
        names[label]: frame.loc[frame["label"] == label, "error"].to_numpy()
        for label in sorted(commonest)
    }


def _class_table(data: ReportData) -> Markup:
    rows = [
        (name, *(sections.score(metric, scores) for metric in METRICS), scores["examples"])
        for name, scores in data.card.class_metrics["test"].items()
    ]
    return html.table(("class (test)", "error", "variance", "explained", "images"), rows)


def _group_table(data: ReportData, frame: pd.DataFrame) -> Markup:
    grouped = frame.groupby(data.group_column)
    means = grouped[["error", "error_of_mean_image"]].mean()
    means["examples"] = grouped.size()
    means = means.sort_values("error", ascending=False)
    rows = [
        (str(name), html.number(error, digits=5), html.number(variance, digits=5), count)
        for name, error, variance, count in zip(
            means.index,
            means["error"].tolist(),
            means["error_of_mean_image"].tolist(),
            means["examples"].tolist(),
            strict=True,
        )
    ]
    headings = (f"{data.group_column} (test), worst first", "error", "variance", "images")
    return html.joined(sections.first_rows(headings, rows, rest="predictions.csv"))


def _pairs(data: ReportData, rows: list[int]) -> dict[int, np.ndarray]:
    """Returns row -> the original and the reconstruction, see `pair`, of test examples."""
    is_selected = np.zeros(len(data.of_split("test")), bool)
    is_selected[rows] = True
    model = load.read_model(data.version)
    with_target = calls.with_target(model)
    pictures: list[np.ndarray] = []
    subset = dataset.Subset(("test",), is_selected)
    for features, _ in dataset.batches(data.records, subset, manifest=data.manifest):
        inputs = {name: features[name] for name in model.input}
        targets, reconstructions = with_target(inputs, training=False)
        pairs = zip(targets.numpy(), reconstructions.numpy(), strict=True)
        pictures += [pair(target, reconstruction) for target, reconstruction in pairs]
    return dict(zip(rows, pictures, strict=True))


def pair_png(target: np.ndarray, reconstruction: np.ndarray) -> bytes:
    """Returns the PNG of a `pair`."""
    return images.encode_png(pair(target, reconstruction))


def pair(target: np.ndarray, reconstruction: np.ndarray) -> np.ndarray:
    """Returns two images [height, width, channels] float32 in 0..1 side by side, as uint8.

    Wide images are one below the other.
    """
    first, second = (
        images.to_display(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8))
        for image in (target, reconstruction)
    )
    axis = 0 if first.shape[1] > WIDE * first.shape[0] else 1
    line = np.full_like(first[:1] if axis == 0 else first[:, :1], 255)
    gap = np.repeat(line, max(1, round(GAP * first.shape[axis])), axis=axis)
    return np.concatenate([first, gap, second], axis=axis)
