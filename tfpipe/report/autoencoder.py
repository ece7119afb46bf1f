"""What a report tells of an autoencoder: how near to the originals it comes."""

import numpy as np
import pandas as pd

from tfpipe.base import figures as base_figures
from tfpipe.base import html, images
from tfpipe.base.html import Html, joined, tag
from tfpipe.data import dataset
from tfpipe.evaluation.metric_names import title_of
from tfpipe.evaluation.reconstruction import UNLABELLED
from tfpipe.models import calls
from tfpipe.registry import load
from tfpipe.report import gallery, plots, sections
from tfpipe.report.report_data import ReportData
from tfpipe.tasks.task import SPLITS

SHOWN = 8  # pictures of a list
GAP = 0.03  # of a picture's side, between it and what was made of it
WIDE = 1.5  # times as wide as high, from which on the two stand one below the other
NAMES = ("mean_squared_error", "error_of_mean_picture", "variance_explained")


def titled(known: ReportData):
    """Returns (title, function of the facts) of each section."""
    return (
        ("Errors of reconstruction", errors),
        (f"Originals beside reconstructions of test {known.window}s", originals),
    )


def tiles(known: ReportData) -> list[tuple[str, Html]]:
    """Returns (name, value) of the scores that matter most."""
    scores = known.card["scores"]["test"]
    return [(title_of(name), sections.score(name, scores)) for name in NAMES]


def in_words(known: ReportData) -> str:
    """Returns what it did on the test split, the end of a sentence."""
    scores = known.card["scores"]["test"]
    error, variance = scores["mean_squared_error"], scores["error_of_mean_picture"]
    return (
        f"it gives {scores['examples']:,} {known.window}s back with a mean squared error of "
        f"{error:.5f}, where black is 0 and white is 1; giving the training split's mean picture "
        f"every time would err by {variance:.5f}."
    )


def errors(known: ReportData) -> Html:
    """How large the errors are, by split, class and group."""
    frames = {split: known.of_split(split) for split in SPLITS}
    high = max(known.frame["error"].max(), 1e-12)
    by_split = {split: frame["error"].to_numpy() for split, frame in frames.items()}
    by_class = _by_class(known, frames["test"])
    x = "mean squared error of a picture"
    drawn = [
        html.plot(
            plots.histograms(by_split, title="Errors by split", x=x, high=high),
            caption="Errors of single images. The model was fitted on those of the training split.",
        ),
        html.plot(
            plots.histograms(by_class, title="Errors by class, test split", x=x, high=high),
            caption="What a class shows, the model was never told.",
        ),
    ]
    return joined(
        sections.by_split(known, (*NAMES, "examples")),
        tag("div", *drawn, class_="plots"),
        tag("div", _class_table(known), _group_table(known, frames["test"]), class_="plots"),
    )


def originals(known: ReportData) -> Html:
    """The best, the middling and the worst pictures of the test split, each beside its original."""
    frame = known.of_split("test")
    error = frame["error"].to_numpy()
    lists = [
        ("Best", gallery.chosen(frame, error, most=SHOWN)),
        ("In the middle", gallery.chosen(frame, np.abs(error - np.median(error)), most=SHOWN)),
        ("Worst", gallery.chosen(frame, -error, most=SHOWN)),
    ]
    pairs = _pairs(known, sorted({i for _, rows in lists for i in rows}))
    classes = known.card["classes"]
    parts = []
    for title, rows in lists:
        figures = []
        for i in rows:
            told = [f"error {error[i]:.5f}"]
            told += [f"is {classes[frame['label'].iloc[i]]}"] if frame["label"].iloc[i] >= 0 else []
            figures.append(gallery.figure(frame.iloc[i], told, png=pairs[i]))
        parts.append(gallery.titled(title, figures))
    return joined(tag("p", "The original comes first, then what the model made of it."), *parts)


def _by_class(known: ReportData, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Returns the errors of each class, of the commonest ones that a figure can tell apart."""
    counted = frame["label"].value_counts().index[: len(base_figures.COLOURS)]
    names = [*known.card["classes"], UNLABELLED]  # at -1
    return {names[i]: frame.loc[frame["label"] == i, "error"].to_numpy() for i in sorted(counted)}


def _class_table(known: ReportData) -> Html:
    rows = [
        (name, *(sections.score(metric, scores) for metric in NAMES), scores["examples"])
        for name, scores in known.card["by_class"]["test"].items()
    ]
    return html.table(("class (test)", "error", "variance", "explained", "pictures"), rows)


def _group_table(known: ReportData, frame: pd.DataFrame) -> Html:
    means = frame.groupby(known.photo)[["error", "error_of_mean_picture"]].mean()
    means["examples"] = frame.groupby(known.photo).size()
    means = means.sort_values("error", ascending=False)
    rows = [
        (
            str(name),
            html.number(float(row["error"]), digits=5),
            html.number(float(row["error_of_mean_picture"]), digits=5),
            int(row["examples"]),
        )
        for name, row in means.iterrows()
    ]
    headings = (f"{known.photo} (test), worst first", "error", "variance", "pictures")
    return sections.listed(headings, rows, rest="predictions.csv")


def _pairs(known: ReportData, rows: list[int]) -> dict[int, bytes]:
    """Returns row number -> PNG of the original and the reconstruction, of test examples."""
    wanted = np.zeros(len(known.of_split("test")), bool)
    wanted[rows] = True
    model = load.read_model(known.version)
    both = calls.with_target(model)
    pngs = []
    for features, _ in dataset.batches(
        known.records, dataset.Subset(("test",), wanted), manifest=known.manifest
    ):
        target, given = both({name: features[name] for name in model.input}, training=False)
        pngs += [_beside(a, b) for a, b in zip(target.numpy(), given.numpy(), strict=True)]
    return dict(zip(rows, pngs, strict=True))


def _beside(target: np.ndarray, given: np.ndarray) -> bytes:
    """Returns the PNG of two pictures [height, width, channels] float32 in 0..1."""
    one, other = (
        images.to_display(np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8))
        for image in (target, given)
    )
    axis = 0 if one.shape[1] > WIDE * one.shape[0] else 1
    gap = np.full_like(one[:1] if axis == 0 else one[:, :1], 255)
    gap = np.repeat(gap, max(1, round(GAP * one.shape[axis])), axis=axis)
    return images.encode_png(np.concatenate([one, gap, other], axis=axis))
