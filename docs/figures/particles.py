"""Figures of the tutorial on particles."""

from pathlib import Path

import numpy as np
import pandas as pd

from figures import drawing
from tfpipe.base.figures import COLOURS

N_COLUMNS = 8
MODELS = {
    "xgboost": "boosted trees on the measurements",
    "compact-resnet": "network on images and measurements",
}


def draw(folder: Path) -> None:
    """Draws into build/figures/particles/."""
    work = folder / "work"
    versions = {name: drawing.version(work, task="insolubles", model=name) for name in MODELS}
    cards = {name: drawing.card(path) for name, path in versions.items()}
    tests = {name: card["metrics"]["test"] for name, card in cards.items()}
    drawing.write_table(
        folder / "models.md",
        [
            (text, f"{tests[name]['accuracy']:.2f}", f"{tests[name]['balanced_accuracy']:.2f}")
            for name, text in MODELS.items()
        ],
        headings=("model", "test accuracy", "balanced"),
    )
    _draw_columns(folder / "columns.png", versions["xgboost"], cards["xgboost"]["columns"])
    counts = pd.read_csv(work / "particles" / "counts.csv")
    commonest = counts.loc[counts["predicted"].idxmax(), "class"]
    sheet = next((work / "particles").glob(f"*{commonest}*.png"))
    drawing.reduce(sheet, folder / "sheet.png", height_px=420)
    _draw_counts(folder / "counts.png", counts)
    row = counts[counts["class"] == commonest].iloc[0]
    n = int(counts["predicted"].sum())
    groups = cards["xgboost"]["data"]["groups"]
    runs = len(list((work / "new" / "raw" / "insolubles").glob("peru_*")))
    tested = tests["xgboost"]
    drawing.write_sentence(
        folder / "sentence.md",
        f"Of {n:,} particles in {runs} runs of the field, {row['predicted']:.0f} "
        f"({100 * row['predicted'] / n:.0f} %) were classified as {commonest}; corrected by the "
        f"errors on {groups['test']} test runs, {row['adjusted']:.0f} ({row['low']:.0f} to "
        f"{row['high']:.0f}, 95 % for new runs). Accuracy on the test runs was "
        f"{tested['accuracy']:.2f} over {len(cards['xgboost']['classes'])} classes (boosted trees "
        f"on {len(cards['xgboost']['columns'])} measurements).",
    )


def _draw_columns(path: Path, version: Path, columns: list[str]) -> None:
    """Draws the mean size of the SHAP values of the columns that matter most."""
    with np.load(version / "contributions.npz") as stored:
        added = stored["added"]  # [examples, classes, columns]
    sizes = np.abs(added).mean(axis=0).sum(axis=0)
    best = np.argsort(sizes)[-N_COLUMNS:]
    with drawing.figure(path) as axes:
        axes.barh([columns[i] for i in best], sizes[best], color=COLOURS[0])
        axes.set_xlabel("mean size of what it adds to the log-odds, summed over the classes")
        axes.grid(False, axis="y")


def _draw_counts(path: Path, counts: pd.DataFrame) -> None:
    """Draws counts as predicted and as corrected, with intervals."""
    places = np.arange(len(counts))
    spread = (counts["adjusted"] - counts["low"], counts["high"] - counts["adjusted"])
    with drawing.figure(path) as axes:
        axes.bar(places - 0.2, counts["predicted"], 0.38, color=COLOURS[5], label="predicted")
        axes.bar(
            places + 0.2,
            counts["adjusted"],
            0.38,
            color=COLOURS[0],
            yerr=np.clip(spread, 0, None),
            label="corrected, 95 %",
        )
        axes.set_xticks(places, counts["class"], rotation=20, ha="right")
        axes.set_ylabel("particles in the new runs")
        axes.legend()
