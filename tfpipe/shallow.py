"""Boosted trees on a task's columns: searched, calibrated, judged, explained and kept as a version.

N/model.ubj                        the trees, as UBJSON
N/assets.extra/card.json           what they are, their temperature and thresholds among it
N/assets.extra/predictions.csv     every validation and test example
N/assets.extra/contributions.npz   what each column added, for the report
N/assets.extra/shap.csv            its mean size for each column and class
N/assets.extra/report.html
"""

import json
import logging
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfpipe import (
    abstention,
    boosting,
    boosting_search,
    calibration,
    files,
    inputs,
    manifests,
    report,
    saved,
    scores,
    tables,
)
from tfpipe.boosting import Particles
from tfpipe.boosting_search import Plan
from tfpipe.errors import UserError
from tfpipe.task import SPLITS, Task

LOG = logging.getLogger("tfpipe")
MODEL = "xgboost"
KIND = "shallow"
EXPLAINED = 1000  # test examples at most whose contributions are kept
PACKAGES = ("xgboost", "scikit-learn", "numpy", "tfpipe")


def train(
    task: Task,
    records: Path,
    folder: Path,
    *,
    plan: Plan,
    min_precision: float = abstention.MIN_PRECISION,
    tell: Callable[[str, dict[str, Any]], None] = lambda stage, facts: None,
) -> dict[str, Any]:
    """Searches, trains the winner on the training split, and publishes it as the next version.

    Temperature and thresholds are of the validation split, which no tree has seen; the test split
    is predicted once, at the end.

    Args:
      task: the question.
      records: its packed records.
      folder: saved_models/<task>/xgboost.
      plan: what is searched.
      min_precision: of what is said in spite of being unsure.
      tell: told (stage, facts) as it goes.

    Returns:
      {"version", "path", "scores"}.

    Raises:
      UserError: the records have no columns, or too few examples have labels.
    """
    manifest = manifests.trusted(records)
    parts = {split: read(records, split, manifest=manifest) for split in SPLITS}
    check(task, parts, classes=tuple(manifest["classes"]))
    classes = len(manifest["classes"])

    def told(scored: int, best: float | None) -> None:
        tell("shallow", {"done": scored, "total": plan.trials, "best": best})

    learnt = parts["train"].labelled
    best = boosting_search.search(
        learnt,
        folder / "search",
        **{"classes": classes, "plan": plan},
        **{"fingerprint": manifest["fingerprint"], "tell": told},
    )
    trees = boosting.fit(
        learnt,
        **{"classes": classes, "arguments": best["arguments"]},
        **{"balanced": plan.balance, "seed": plan.seed},
    )
    known = judge(trees, parts, min_precision=min_precision, names=tuple(manifest["classes"]))
    card = {
        "task": task.name,
        "model": MODEL,
        "kind": KIND,
        "inputs": ["columns"],
        "hyperparameters": best["arguments"],
        "training": {"balance": plan.balance, "seed": plan.seed},
        "classes": manifest["classes"],
        "columns": manifest["columns"],
        "parameters": boosting.leaves(trees),
        "options": manifest["options"],
        "data": {
            key: manifest[key]
            for key in ("fingerprint", "counts", "groups", "fractions", "salt", "notes", "bad")
        },
        **known,
        "random_split_scores": None,
        "history": {},
        "search": best,
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
    draft = _draft(trees, parts["validation"].columns, folder)
    predictions = card.pop("predictions")
    path = _publish(draft, trees, parts["test"], card=card, predictions=predictions, data=records)
    return {"version": int(path.name), "path": str(path), "scores": known["scores"]}


def read(records: Path, split: str, *, manifest: dict) -> Particles:
    """Returns a split's examples by their columns.

    Raises:
      UserError: the records have no columns, or one of them is infinite.
    """
    if not manifest["columns"]:
        name = manifest["task"]
        raise UserError(
            f"The records of {name} have no columns for trees to learn from, only pictures. Train "
            f"a model of these: `tfpipe train {name}`."
        )
    fields = (inputs.columns_of, inputs.labels_of, inputs.groups_of, inputs.keys_of)
    found = Particles(*(field(records, (split,), manifest=manifest) for field in fields))
    endless = np.isinf(found.columns)
    if endless.any():
        row, column = np.argwhere(endless)[0]
        raise UserError(
            f"{found.keys[row].decode()}: column {manifest['columns'][column]!r} is infinite, "
            "expected a number, or nothing where none was measured. Correct the table."
        )
    return found


def check(task: Task, parts: dict[str, Particles], *, classes: tuple[str, ...]) -> None:
    """Raises a UserError where too few examples have labels; warns of classes in one group only."""
    for split, particles in parts.items():
        if not (particles.labels >= 0).any():
            raise UserError(
                f"No {split} example of {task.name} has a label, so trees can be neither taught "
                "nor judged. Label some of more groups, or pack with another --split or --salt."
            )
    learnt = parts["train"].labelled
    labels = np.unique(learnt.labels)
    if len(labels) < 2:
        only = classes[labels[0]]
        raise UserError(
            f"All training examples with a label are {only!r}, expected two classes at least. "
            "Label others, or pack with another --split or --salt."
        )
    lone = [c for c in labels if len(set(learnt.groups[learnt.labels == c].tolist())) == 1]
    if lone:
        names = ", ".join(classes[c] for c in lone)
        LOG.warning("In one training group only, so cross-validation cannot judge it: %s.", names)


def judge(
    trees, parts: dict[str, Particles], *, min_precision: float, names: tuple[str, ...]
) -> dict[str, Any]:
    """Returns what a card tells of trained trees, and "predictions", a row an example.

    Args:
      trees: as trained.
      parts: split -> its examples.
      min_precision: see `abstention.thresholds`.
      names: of the classes.
    """
    known = parts["validation"].labelled
    fitted = calibration.fit(known.labels, boosting.classify(trees, known.columns))
    if fitted.note:
        LOG.warning("%s", fitted.note)
    told: dict[str, Any] = {"scores": {}, "by_class": {}}
    frames, errors, before = [], {}, {}
    for split in ("validation", "test"):
        raw = boosting.classify(trees, parts[split].columns)
        likely, labels = calibration.apply(raw, fitted.temperature), parts[split].labels
        own = labels >= 0
        if split == "validation":
            decision = scores.thresholds(labels[own], likely[own])
            sure = abstention.thresholds(labels[own], likely[own], min_precision=min_precision)
        said = scores.said(likely[own], thresholds=decision)
        told["scores"][split] = scores.of_classes(labels[own], likely[own], thresholds=decision)
        told["by_class"][split] = scores.by_class(labels[own], said, classes=names)
        errors[split] = calibration.calibration_error(labels[own], likely[own])
        before[split] = calibration.calibration_error(labels[own], raw[own])
        frames.append(_frame(split, parts[split], likely, names))
    realised = abstention.realised(labels[own], likely[own], sure)
    return told | {
        "thresholds": decision,
        "calibration": fitted._asdict() | {"error": errors, "error_before": before},
        "abstention": {
            "min_precision": min_precision,
            "thresholds": abstention.as_card(sure, classes=names),
            "test": {n: one._asdict() for n, one in zip(names, realised, strict=True)},
        },
        "predictions": pd.concat(frames, ignore_index=True),
    }


class Loaded:
    """A version's trees, ready to classify; they are checked against their card first."""

    def __init__(self, version: Path):
        self.path, self.card = version, saved.read_card(version)
        saved.check(version, self.card["sha256"], self.card)
        self._trees = boosting.load(version / "model.ubj")

    def classify(self, columns: np.ndarray) -> np.ndarray:
        """Returns calibrated probabilities [n, classes] float64.

        Args:
          columns: [n, columns] float32 in the card's order; nan where nothing was measured.
        """
        raw = boosting.classify(self._trees, np.asarray(columns, np.float32))
        return calibration.apply(raw, self.card["calibration"]["temperature"])


def _frame(split: str, particles: Particles, likely: np.ndarray, names) -> pd.DataFrame:
    frame = pd.DataFrame({"split": split, "key": [key.decode() for key in particles.keys]})
    frame["group"] = [group.decode() for group in particles.groups]
    frame["label"] = particles.labels
    frame[[f"p_{name}" for name in names]] = likely
    return frame
