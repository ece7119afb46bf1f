"""Parts of all figures: style, size of pictures, tables as Markdown, and cards of versions."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tfpipe.base.figures import STYLE

DPI = 110
WIDTH_PX = 860  # of a picture: the text of a page is no wider


@contextmanager
def figure(path: Path, *, panels: int = 1, height_in: float = 3.2) -> Iterator[Any]:
    """Yields the axes of a new figure, one or several beside each other, and saves it."""
    with plt.rc_context(STYLE):
        drawn, axes = plt.subplots(1, panels, figsize=(7.2, height_in), layout="constrained")
        yield axes
        drawn.savefig(path, dpi=DPI)
        plt.close(drawn)


def reduce(source: Path, path: Path, *, height_px: int = 0, width_px: int = 0) -> None:
    """Copies a picture with a page's width at most, and perhaps only its upper left part."""
    image = cv2.imread(str(source))
    factor = min(1.0, WIDTH_PX / image.shape[1])
    if factor < 1:
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    cv2.imwrite(
        str(path), image[: height_px or None, : width_px or None], [cv2.IMWRITE_PNG_COMPRESSION, 9]
    )


def write_table(path: Path, rows: Iterable[Iterable[Any]], *, headings: Iterable[str]) -> None:
    """Writes a table in Markdown."""
    lines = [list(headings)]
    lines.append(["---"] * len(lines[0]))
    lines += [[str(cell) for cell in row] for row in rows]
    path.write_text("\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n")


def write_sentence(path: Path, sentence: str) -> None:
    """Writes a sentence that could be published, as a quotation."""
    path.write_text(f"> {sentence}\n")


def version(work: Path, *, task: str, model: str) -> Path:
    """Returns the folder of the files that describe a tutorial's version."""
    return work / "saved_models" / task / model / "1" / "assets.extra"


def card(folder: Path) -> dict[str, Any]:
    """Returns the card of a version."""
    return json.loads((folder / "card.json").read_text())


def with_interval(card: dict[str, Any], metric: str) -> str:
    """Returns a test score with its interval, such as "0.86 (0.81 to 0.91)"."""
    text = f"{card['metrics']['test'][metric]:.2f}"
    bounds = card["confidence_intervals"].get(metric)
    return f"{text} ({bounds[0]:.2f} to {bounds[1]:.2f})" if bounds else text


def test_predictions(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns the labelled test rows of a version, and their probabilities [n, classes]."""
    frame = pd.read_csv(folder / "predictions.csv")
    frame = frame[(frame["split"] == "test") & (frame["label"] >= 0)]
    names = [f"p_{name}" for name in card(folder)["classes"]]
    return frame, frame[names].to_numpy()


def confusion(axes: Axes, labels: np.ndarray, predicted: np.ndarray, *, classes: list[str]) -> None:
    """Draws how many examples of each class were predicted as which."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.3)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=ink)
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="labelled")
    axes.grid(False)


def output_of(folder: Path, command: str) -> str:
    """Returns what the first of a tutorial's commands that begins so printed."""
    name = command.replace(" ", "-")
    return next(iter(sorted((folder / "outputs").glob(f"*-{name}.txt")))).read_text()
