"""How well a version predicts ready-cut clusters that come without a table: halves of real ones.

    python benchmarks/ccd_clusters.py FOLDER
    python benchmarks/ccd_clusters.py FOLDER --model columns-mlp --halves 3

FOLDER has clusters/<id>.csv and labels.csv (id, label, energy_adu). Each round draws half of the
clusters by class, trains on them with their labels and energies by `tfpipe train ccd-tracks`, and
predicts the other half as bare matrices by `tfpipe predict`. Beside the accuracy stands what the
version's own report claims for its test split.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedShuffleSplit

CLASSES = ("x-ray,electron,muon", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--halves", type=int, default=3, help="rounds, each with other halves")
    parser.add_argument("--model", help="a model of the task; its default without this")
    arguments = parser.parse_args()
    print(json.dumps(machine.about()))
    labels = pd.read_csv(arguments.folder / "labels.csv", dtype={"id": str})
    halves = StratifiedShuffleSplit(arguments.halves, test_size=0.5, random_state=0)
    for classes in CLASSES:
        accuracies = []
        for number, (known, new) in enumerate(halves.split(labels, labels["label"])):
            with tempfile.TemporaryDirectory() as home:
                result = measure(
                    arguments.folder,
                    labels.iloc[known],
                    labels.iloc[new],
                    classes=classes,
                    model=arguments.model,
                    home=Path(home),
                )
            print(f"{classes or 'all five'}, halves {number}: {result}", flush=True)
            accuracies.append(result["accuracy"])
        print(f"{classes or 'all five'}: {np.mean(accuracies):.3f}, {machine.spread(accuracies)}")


def measure(
    folder: Path,
    known: pd.DataFrame,
    new: pd.DataFrame,
    *,
    classes: str,
    model: str | None,
    home: Path,
) -> dict:
    """Returns the accuracy on new clusters, and what the report claims."""
    raw, bare = home / "data" / "raw" / "ccd-tracks", home / "bare"
    for place, rows in ((raw / "clusters", known), (bare, new)):
        place.mkdir(parents=True)
        for name in rows["id"]:
            shutil.copy(folder / "clusters" / f"{name}.csv", place)
    known.to_csv(raw / "labels.csv", index=False)
    options = ["-o", f"classes={classes}"] if classes else []
    choice = ["--model", model] if model else []
    tfpipe(home, "train", "ccd-tracks", *choice, *options, "--no-random-split")
    tfpipe(home, "predict", "ccd-tracks", str(bare), "--out", str(home / "out.csv"))
    table = pd.read_csv(home / "out.csv", dtype={"file": str})
    true = new.set_index("id")["label"]
    table["true"] = table["file"].str.removesuffix(".csv").map(true)
    if classes:
        table = table[table["true"].isin(classes.split(","))]
    probabilities = table.filter(regex="^p_")
    best = probabilities.columns.str.removeprefix("p_")[probabilities.to_numpy().argmax(axis=1)]
    (card,) = (home / "saved_models").rglob("assets.extra/card.json")
    claimed = json.loads(card.read_text())["metrics"]["test"]
    return {
        "accuracy": round(float((best == table["true"]).mean()), 3),
        "clusters": len(table),
        "labels": table["label"].nunique(),
        "claimed accuracy": round(claimed["accuracy"], 3),
        "claimed balanced accuracy": round(claimed["balanced_accuracy"], 3),
    }


def tfpipe(home: Path, *words: str) -> None:
    """Runs a command in a folder of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tfpipe", *words], cwd=home, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"tfpipe {' '.join(words)}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
