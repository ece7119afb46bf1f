"""Figures of the tutorial on folds."""

from pathlib import Path

import numpy as np
import pandas as pd

from figures import drawing
from tfpipe.base.figures import COLOURS

N_BEST = 5


def draw(folder: Path) -> None:
    """Draws into build/figures/folds/."""
    work = folder / "work"
    board = pd.read_csv(work / "saved_models" / "folds" / "leaderboard" / "leaderboard.csv")
    board = board.sort_values("validation_accuracy", ascending=False)
    shown = board.head(N_BEST)[["classifier", "validation_accuracy", "test_accuracy"]]
    drawing.write_table(
        folder / "leaderboard.md",
        [(name, f"{first:.2f}", f"{last:.2f}") for name, first, last in shown.to_numpy()],
        headings=("classifier", "validation accuracy", "test accuracy"),
    )
    version = drawing.version(work, task="folds", model="resnet9")
    card = drawing.card(version)
    frame, probabilities = drawing.test_predictions(version)
    labels, predicted = frame["label"].to_numpy(int), probabilities.argmax(axis=1)
    with drawing.figure(folder / "confusion.png", height_in=3.0) as axes:
        drawing.confusion(axes, labels, predicted, classes=card["classes"])
    sheet = sorted((work / "folds").glob("*chevron*.png"))[0]
    drawing.reduce(sheet, folder / "sheet.png", height_px=420)
    best, accuracy = board.iloc[0], card["metrics"]["test"]["accuracy"]
    outcrops = frame["group"].nunique()
    _draw_compared(folder / "compared.png", best, accuracy, outcrops)
    drawing.write_sentence(
        folder / "sentence.md",
        f"On {len(frame)} images of {outcrops} outcrops that took no part in training, "
        f"{best['classifier']} on texture was right in {100 * best['test_accuracy']:.0f} % and a "
        f"residual network (ResNet-9, {card['parameters']:,} parameters, random at first) in "
        f"{100 * accuracy:.0f} %; chance is 33 %.",
    )


def _draw_compared(path: Path, best: pd.Series, accuracy: float, outcrops: int) -> None:
    """Draws both test accuracies, with 95 % intervals that count each outcrop as one image."""
    names = (f"{best['classifier']}\non texture", "ResNet-9\non pixels", "chance")
    scores = np.array((best["test_accuracy"], accuracy, 1 / 3))
    errors = 1.96 * np.sqrt(scores * (1 - scores) / outcrops) * (1, 1, 0)
    with drawing.figure(path, height_in=2.6) as axes:
        axes.barh(names[::-1], scores[::-1], 0.6, xerr=errors[::-1], color=COLOURS[0])
        axes.set(xlabel="accuracy on test outcrops", xlim=(0, 1))
