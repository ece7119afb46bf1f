"""Figures of the tutorial on 21 cm cubes."""

from pathlib import Path

import numpy as np
import pandas as pd

from figures import drawing
from tfpipe.base.figures import COLOURS

TASK = "ionization-redshift"
MODELS = {"xgboost": "boosted trees on the power spectrum", "simple-cnn": "network on the slices"}


def draw(folder: Path) -> None:
    """Draws into build/figures/cubes/."""
    work = folder / "work"
    rows = []
    for name, text in MODELS.items():
        scores = drawing.card(drawing.version(work, task=TASK, model=name))["metrics"]["test"]
        numbers = [scores[key] for key in ("accuracy", "accuracy_of_others")]
        error = scores["mean_absolute_error_of_others"]
        rows.append((text, *(f"{number:.2f}" for number in numbers), f"{error:.2f}"))
    headings = ("model", "test accuracy", "of slices with a signal", "their mean error in z")
    drawing.write_table(folder / "models.md", rows, headings=headings)
    cubes = sorted((work / "new" / "raw" / TASK).glob("*fesc0.100*.npy"))
    shown = [cubes[i] for i in np.linspace(4, len(cubes) - 1, 4).astype(int)]
    with drawing.figure(folder / "slices.png", panels=len(shown), height_in=2.1) as panels:
        for axes, path in zip(panels, shown, strict=True):
            axes.imshow(np.load(path)[0], cmap="magma", vmin=0, vmax=30)
            axes.set_title(path.name.split("_")[2].replace("z00", "z = ").replace("z0", "z = "))
            axes.set_axis_off()
    slices = pd.read_csv(work / "z.csv")
    slices["signal"] = slices["no_signal"] == 0
    _draw_redshift(folder / "redshift.png", slices)
    used = slices[slices["signal"]]
    error = (used["expected_z"] - used["z"]).abs()
    drawing.write_sentence(
        folder / "sentence.md",
        f"From one slice of a simulation that no model was trained on, the redshift is read with a "
        f"mean error of {error.mean():.2f} ({len(used)} slices with a signal, z = "
        f"{used['z'].min():.1f} to {used['z'].max():.1f}, three escape fractions); half of the "
        f"errors are below {error.median():.2f}. {len(slices) - len(used)} slices of "
        f"{len(slices)} are empty and not counted.",
    )


def _draw_redshift(path: Path, slices: pd.DataFrame) -> None:
    """Draws the expected redshift of each slice against the true one."""
    with drawing.figure(path, height_in=3.6) as axes:
        ends = (slices["z"].min(), slices["z"].max())
        axes.plot(ends, ends, color=COLOURS[5], linewidth=1)
        for i, (f_esc, group) in enumerate(slices[slices["signal"]].groupby("f_esc")):
            places = group["z"] + 0.12 * (i - 1)
            axes.plot(
                places,
                group["expected_z"],
                "o",
                color=COLOURS[i],
                alpha=0.5,
                markersize=4,
                label=f"escape fraction {f_esc:.2f}",
            )
        nothing = slices[~slices["signal"]]
        axes.plot(nothing["z"], nothing["expected_z"], "x", color=COLOURS[5], label="empty slice")
        axes.set(xlabel="true redshift", ylabel="redshift from one slice")
        axes.legend()
