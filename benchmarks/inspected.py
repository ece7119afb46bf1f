"""Agreement with people on pictures of real flights, against a published network's own.

    python benchmarks/inspected.py ice-crystals --out FOLDER

The folder is that of Jaffeux et al. (2022, doi:10.5194/amt-15-5141-2022): `pip/` has labelled
pictures in class folders, and `pip_inspected/CNN:<a> Hum:<b>/` pictures of later flights, drawn by
the published network's answer `a` and judged by people as `b`. A version is trained on `pip/` with
the defaults, unless FOLDER has one, and predicts the inspected pictures. They choose nothing.
"""

import argparse
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

import tfpipe
from tfpipe.evaluation import group_intervals, inspection
from tfpipe.evaluation.inspection import Estimate
from tfpipe.registry import predictions

UNIDENTIFIED = "Unidentified"
PACKING = tfpipe.PackingConfig(options={"conflicts": "leave-out"})  # pip/ has pictures twice


def main() -> None:
    """Prints the agreement of both networks with people, and what the version's report claims."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of pip/ and pip_inspected/")
    parser.add_argument("--out", type=Path, required=True, help="folder of records and versions")
    arguments = parser.parse_args()
    out = arguments.out
    project = tfpipe.Project(data=out / "data", saved_models=out / "saved_models")
    task = str(arguments.folder / "pip")
    try:
        version = project.version(task)
    except tfpipe.UserError:
        version = project.train(task, packing=PACKING)
    table = inspected(version.predict([arguments.folder / "pip_inspected"]), version.card.classes)
    copies = shared_pixels(arguments.folder / "pip", table["key"])
    print(f"{version}: {len(table)} inspected pictures, {copies} of them also in pip/")
    named = table["person"] != UNIDENTIFIED
    print(f"people could name {named.sum()}")
    for pictures, rows in (("named", named), ("all", named | True)):
        ours = {"tfpipe": rows, "tfpipe, unsure left out": rows & ~table["abstain"]}
        is_sure = table["published"] != UNIDENTIFIED
        theirs = {"published": rows, "published, unidentified left out": rows & is_sure}
        for column, subsets in (("label", ours), ("published", theirs)):
            for name, chosen in subsets.items():
                results = shown(agreement(table[chosen], column))
                print(f"{pictures}: {name}: {results} of {chosen.sum()}")
    print(f"named: tfpipe less published: {shown(paired_difference(table[named]))}")
    report_claims(version, table[named])
    print(per_class(table, version.card.classes).to_string(index=False))


def inspected(table: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Returns predictions with the published network's answer and the person's, as classes."""

    def whole(name: str) -> str:
        return next((one for one in classes if one.startswith(name[:4])), UNIDENTIFIED)

    answers = table["key"].map(lambda key: re.search(r"CNN:(.*?) Hum:(.*?)/", key).groups())
    return table.assign(
        published=[whole(network) for network, _ in answers],
        person=[whole(person) for _, person in answers],
    )


def agreement(table: pd.DataFrame, column: str) -> Estimate:
    """Returns how often a column is the person's class."""
    hits = (table[column] == table["person"]).to_numpy()
    return inspection.accuracy(hits, np.arange(len(hits)))


def paired_difference(table: pd.DataFrame) -> Estimate:
    """Returns the difference of both networks' agreement on the same pictures."""
    hits = [(table[name] == table["person"]).to_numpy(float) for name in ("label", "published")]
    gain = hits[0] - hits[1]
    test = group_intervals.difference_test(lambda rows: gain[rows].mean(), np.arange(len(gain)))
    return Estimate(float(gain.mean()), float(test.low), float(test.high))


def report_claims(version: tfpipe.Version, named: pd.DataFrame) -> None:
    """Prints the accuracy of the version's report, and whether the difference is chance."""
    classes = version.card.classes
    tested = predictions.predictions(version.path, {}, classes=classes)
    tested = tested[(tested["split"] == "test") & (tested["label"] >= 0)]
    predicted = tested[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)
    hits = predicted == tested["label"].to_numpy()
    claimed = inspection.accuracy(hits, tested["group"].to_numpy(str))
    difference = agreement(named, "label").minus(claimed)
    is_chance = difference.low <= 0 <= difference.high
    print(f"the report claims {shown(claimed)} on {len(tested)} test pictures")
    sure = pd.DataFrame(version.card.abstention["test"]).loc[["correct", "predicted"]].sum(axis=1)
    share = sure["correct"] / sure["predicted"]
    print(f"without unsure it claims {share:.3f} on {sure['predicted']:.0f}")
    print(f"difference {shown(difference)}: {'may be' if is_chance else 'more than'} chance")


def per_class(table: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Returns for each class how often people agree, of both networks' named pictures."""
    named = table[table["person"] != UNIDENTIFIED]
    rows = []
    for name in classes:
        cells: dict[str, object] = {"class": name, "people": int((named["person"] == name).sum())}
        for title, column in (("tfpipe", "label"), ("published", "published")):
            chosen = named[named[column] == name]
            cells[f"{title} predicted"] = len(chosen)
            cells[f"{title} precision"] = round(float((chosen["person"] == name).mean()), 3)
        rows.append(cells)
    return pd.DataFrame(rows)


def shared_pixels(folder: Path, keys: pd.Series) -> int:
    """Returns how many pictures have the pixels of one in a folder."""
    expected = {cv2.imread(str(path)).tobytes() for path in folder.rglob("*.png")}
    return sum(cv2.imread(key).tobytes() in expected for key in keys)


def shown(estimate: Estimate) -> str:
    """Returns an estimate and its 95 % interval as text."""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


if __name__ == "__main__":
    main()
