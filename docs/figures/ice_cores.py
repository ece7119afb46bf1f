"""Figures of the tutorial on ice cores."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from figures import drawing
from tfpipe.base.figures import COLOURS

BIN_M = 0.1
COLUMNS = ("photo", "depth_from_m", "depth_to_m", "thickness_mm", "probability", "uncertain")


def draw(folder: Path) -> None:
    """Draws into build/figures/ice-cores/."""
    work = folder / "work"
    check = drawing.output_of(folder, "tfpipe check")
    (folder / "check.md").write_text(f"```console\n{check.strip()}\n```\n")
    records = work / "data" / "records" / "melt-layer"
    shifts = pd.read_csv(records / "alignment.csv")
    aligned = shifts[shifts["status"] == "aligned"]
    clear = aligned.loc[aligned["shift_mm"].abs().sort_values().index[-1], "photo"]
    shift = next((records / "alignment").glob(f"{clear}*"))
    drawing.reduce(shift, folder / "shift.png", height_px=480, width_px=456)

    layers = pd.read_csv(work / "layers.csv")
    photos = pd.read_csv(work / "new" / "raw" / "melt-layer" / "photos.csv")
    fullest = layers["photo"].value_counts().index[0]
    overlay = next((work / "layers").glob(f"{Path(fullest).stem}.*"))
    drawing.reduce(overlay, folder / "overlay.png", height_px=620)
    rows = layers.head(5)[list(COLUMNS)].itertuples(index=False)
    drawing.write_table(
        folder / "table.md",
        [(r[0], f"{r[1]:.4f}", f"{r[2]:.4f}", f"{r[3]:.1f}", f"{r[4]:.2f}", r[5]) for r in rows],
        headings=COLUMNS,
    )
    _draw_profile(folder / "profile.png", layers, photos)
    _write_sentence(folder / "sentence.md", layers, photos, work)


def _draw_profile(path: Path, layers: pd.DataFrame, photos: pd.DataFrame) -> None:
    """Draws the share of melt by depth, and the layers below it."""
    top, bottom = photos["top_m"].min(), photos["bottom_m"].max()
    edges = np.arange(np.floor(top / BIN_M) * BIN_M, bottom + BIN_M, BIN_M)
    depths = np.arange(top, bottom, 1e-4)
    is_melt = np.zeros(len(depths), bool)
    for start, stop in layers[["depth_from_m", "depth_to_m"]].to_numpy():
        is_melt |= (depths >= start) & (depths < stop)
    melt, _ = np.histogram(depths[is_melt], edges)
    ice, _ = np.histogram(depths, edges)
    with drawing.figure(path) as axes:
        share = 100 * melt / ice.clip(1)
        axes.bar(edges[:-1], share, BIN_M * 0.92, align="edge", color=COLOURS[0])
        certain = ~layers["uncertain"].astype(bool)
        middle = layers[["depth_from_m", "depth_to_m"]].mean(axis=1)
        for shown, colour, name in (
            (certain, COLOURS[0], "layer"),
            (~certain, COLOURS[1], "uncertain layer"),
        ):
            low = np.full(int(shown.sum()), -0.06 * max(share.max(), 1))
            axes.plot(middle[shown], low, "|", color=colour, markersize=11, label=name)
        axes.legend(loc="upper right")
        axes.set(xlabel="depth, m", ylabel="melt in 10 cm of core, %", xlim=(top, bottom))


def _write_sentence(path: Path, layers: pd.DataFrame, photos: pd.DataFrame, work: Path) -> None:
    """Writes what was found, and how good the version is on its test photos."""
    (model,) = (work / "saved_models" / "melt-layer").glob("*")
    version = drawing.version(work, task="melt-layer", model=model.name)
    card, scores = drawing.card(version), drawing.card(version)["metrics"]["test"]
    tested = drawing.test_predictions(version)[0]["group"].nunique()
    length_m = (photos["bottom_m"] - photos["top_m"]).sum()
    melt_mm = layers["thickness_mm"].sum()
    error_mm = math.ceil(100 * scores["layer_depth_error_mm"]) / 100
    drawing.write_sentence(
        path,
        f"In {len(photos)} sections ({length_m:.2f} m of ice, {photos['top_m'].min():.2f} to "
        f"{photos['bottom_m'].max():.2f} m) {len(layers)} melt layers were detected, "
        f"{melt_mm:.0f} mm in all or {melt_mm / length_m / 10:.1f} % of the core; "
        f"{int(layers['uncertain'].sum())} of them are uncertain. On {tested} sections that took "
        f"no part in training, {scores['layers_found']} of {scores['layers_tabled']} logged layers "
        f"were detected, precision {scores['layer_precision']:.2f}; half of them lie within "
        f"{error_mm:.2f} mm of their aligned depth (tfpipe {card['packages']['tfpipe']}, "
        f"{card['model']}).",
    )
