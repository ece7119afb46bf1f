"""Figures of the page Why your accuracy fell."""

import re
from pathlib import Path

import cv2
import numpy as np

from figures import drawing
from tfpipe.base.figures import COLOURS

PAGE = Path(__file__).parents[1] / "any-folder.md"
BINS = 8


def draw(folder: Path) -> None:
    """Draws into build/figures/accuracy/."""
    _draw_splits(folder / "splits.png")
    _draw_groups(folder / "groups.png", folder.parent / "ice-cores" / "work")
    _draw_calibration(folder / "calibration.png", folder.parent / "particles" / "work")
    _draw_drift(folder / "drift.png", folder.parent / "ice-cores" / "work")


def _measured(pattern: str) -> float:
    """Returns a number of docs/any-folder.md, so that the bars follow its tables."""
    found = re.search(pattern, PAGE.read_text())
    assert found, f"{PAGE.name} has nothing like {pattern}"
    return float(found[1])


def _draw_splits(path: Path) -> None:
    """Draws what two published sets of pictures claim by their splits."""
    bars = (
        ("volcanic ash,\nrandom split", _measured(r"each image a group \| ([\d.]+)"), COLOURS[5]),
        ("volcanic ash,\nnew samples", _measured(r"the samples \| ([\d.]+)"), COLOURS[0]),
        ("ice crystals,\nits report", _measured(r"claimed an accuracy of ([\d.]+)"), COLOURS[5]),
        ("ice crystals,\nlater flights", _measured(r"\| tfpipe \| ([\d.]+)"), COLOURS[0]),
    )
    with drawing.figure(path, height_in=2.8) as axes:
        for place, (name, score, colour) in enumerate(bars):
            axes.bar(place, score, 0.6, color=colour)
            axes.text(place, score + 0.02, f"{score:.2f}", ha="center")
            axes.text(place, -0.05, name, ha="center", va="top")
        axes.set(ylim=(0, 1), ylabel="accuracy", xticks=[])


def _draw_groups(path: Path, work: Path) -> None:
    """Draws the recall of layer windows in each test photo, and the score of all."""
    (model,) = (work / "saved_models" / "melt-layer").glob("*")
    version = drawing.version(work, task="melt-layer", model=model.name)
    card = drawing.card(version)
    frame, probabilities = drawing.test_predictions(version)
    is_layer = probabilities[:, -1] >= card["thresholds"]["decision"]
    right = frame.assign(right=is_layer == (frame["label"] == 1), layer=frame["label"] == 1)
    recalls = (
        right[right["layer"]].groupby("group")["right"].agg(["mean", "size"]).sort_values("mean")
    )
    with drawing.figure(path, height_in=2.8) as axes:
        axes.plot(recalls["mean"], range(len(recalls)), "o", color=COLOURS[0])
        axes.axvline(right.loc[right["layer"], "right"].mean(), color=COLOURS[1], label="all")
        axes.set_yticks(range(len(recalls)), recalls.index)
        axes.set(xlabel="recall of windows with a layer", xlim=(-0.02, 1.02))
        axes.legend()
    score = drawing.with_interval(card, "average_precision")
    path.with_suffix(".md").write_text(
        f"The windows of all {len(recalls)} photos have an average precision of {score}. The "
        f"brackets hold the range in which the score of new photos lies, in 95 of 100 cases. More "
        f"windows of the same photos do not make it narrower.\n"
    )


def _draw_calibration(path: Path, work: Path) -> None:
    """Draws the share of right predictions in bins of their probability."""
    version = drawing.version(work, task="insolubles", model="xgboost")
    frame, probabilities = drawing.test_predictions(version)
    highest = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == frame["label"].to_numpy(int)
    bins = np.array_split(np.argsort(highest), BINS)
    shares = np.array([right[rows].mean() for rows in bins])
    errors = np.array(
        [np.sqrt(s * (1 - s) / len(rows)) for s, rows in zip(shares, bins, strict=True)]
    )
    with drawing.figure(path, height_in=3.2) as axes:
        axes.plot((0.3, 1), (0.3, 1), color=COLOURS[5], linewidth=1, label="calibrated")
        places = [highest[rows].mean() for rows in bins]
        axes.errorbar(places, shares, 1.96 * errors, fmt="o", color=COLOURS[0], label="test runs")
        axes.set(xlabel="probability of the predicted class", ylabel="share that is right")
        axes.legend()


def _draw_drift(path: Path, work: Path) -> None:
    """Draws the brightness of the photos, and of the same photos a third darker."""
    photos = sorted((work / "data" / "raw" / "melt-layer" / "photos").iterdir())
    rows = [cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE)[::10].mean(axis=1) for photo in photos]
    light = np.concatenate(rows)
    with drawing.figure(path, height_in=2.6) as axes:
        edges = np.linspace(0, light.max(), 60)
        axes.hist(light, edges, color=COLOURS[0], alpha=0.7, label="photos of the training")
        axes.hist(light * 2 / 3, edges, color=COLOURS[1], alpha=0.7, label="a third darker")
        axes.set(xlabel="brightness of a row of the photo", ylabel="rows")
        axes.legend()
