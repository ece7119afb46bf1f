"""Figures of the tutorial on tracks."""

from pathlib import Path

import numpy as np
import pandas as pd

from figures import drawing
from tfpipe.base.figures import COLOURS


def draw(folder: Path) -> None:
    """Draws into build/figures/tracks/."""
    work = folder / "work"
    version = drawing.version(work, task="ccd-tracks", model="columns-mlp")
    card = drawing.card(version)
    frame, probabilities = drawing.test_predictions(version)
    with drawing.figure(folder / "confusion.png", height_in=3.6) as axes:
        labels, predicted = frame["label"].to_numpy(int), probabilities.argmax(axis=1)
        drawing.confusion(axes, labels, predicted, classes=card["classes"])
    scores, random = card["metrics"]["test"], card["random_split_scores"]
    assert not card["random_split_version"], "the scores are another version's"
    (folder / "random.md").write_text(
        f"{scores['accuracy']:.3f} of {scores['examples']} test tracks are right. Had copies "
        f"of one track been in training and test, the report would have claimed "
        f"{random['accuracy']:.3f}.\n"
    )
    exposure = sorted((work / "tracks").glob("ccd_*.png"))[0]
    drawing.reduce(exposure, folder / "exposure.png")
    tracks = pd.read_csv(work / "tracks.csv")
    _draw_energies(folder / "energies.png", tracks)
    counts = pd.read_csv(work / "tracks" / "counts.csv").set_index("class")
    muons, n_exposures = counts.loc["muon"], tracks["file"].nunique()
    is_muon = labels == card["classes"].index("muon")
    recognized = int((predicted[is_muon] == labels[is_muon]).sum())
    drawing.write_sentence(
        folder / "sentence.md",
        f"{muons['predicted']:.0f} of {len(tracks)} tracks in {n_exposures} exposures were "
        f"classified as muons. Corrected by the errors on {card['data']['groups']['test']} test "
        f"exposures these are {muons['adjusted']:.0f} ({muons['low']:.0f} to {muons['high']:.0f}, "
        f"95 % for new exposures), or {muons['adjusted'] / n_exposures:.1f} an exposure. Of "
        f"the {is_muon.sum()} labelled muons of the test exposures {recognized} were recognized.",
    )


def _draw_energies(path: Path, tracks: pd.DataFrame) -> None:
    """Draws the distribution of energy of each class of which there are enough tracks."""
    edges = np.geomspace(tracks["energy"].min(), tracks["energy"].max(), 40)
    with drawing.figure(path) as axes:
        for name, colour in zip(("x-ray", "electron", "muon"), COLOURS, strict=False):
            energies = tracks.loc[tracks["label"] == name, "energy"]
            axes.hist(energies, edges, histtype="step", linewidth=2, color=colour, label=name)
        axes.set(xscale="log", xlabel="energy of a track, ADU", ylabel="tracks")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.legend()
