"""Data of a report, read from files only: a version's card, its predictions and its records."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn import metrics

from tfpipe.base.errors import UserError
from tfpipe.data import manifest as data_manifest
from tfpipe.data.manifest import RecordManifest
from tfpipe.evaluation import group_intervals
from tfpipe.evaluation import metrics as evaluation_metrics
from tfpipe.registry import store
from tfpipe.registry.card import AUTOENCODER, BOOSTED_TREES, VersionCard
from tfpipe.registry.predictions import predictions
from tfpipe.tasks.catalog import TASKS
from tfpipe.tasks.task import SPLITS

# Metrics compared with those of a random split. The first one that a model has decides.
COMPARED = (
    "average_precision",
    "macro_average_precision",
    "mean_squared_error",
    "f1",
    "macro_f1",
    "accuracy",
    "accuracy_of_commoner_class",
    "accuracy_of_commonest_class",
    "error_of_mean_image",
)
RECONSTRUCTION = ("mean_squared_error", "error_of_mean_image", "variance_explained")
CANDIDATE = {  # of a search for boosted trees
    "accuracy", "arguments", "balanced_accuracy", "candidate", "log_loss", "spread", "trees",
}  # fmt: skip


class TestPredictions(NamedTuple):
    """Predictions of a classifier for the labelled examples of the test split.

    Attributes:
      frame: their rows of predictions.csv.
      labels: [n] int.
      probabilities: [n, classes] float.
      predicted: [n] int, the predicted class: by the threshold for two classes, else the likeliest.
      classes: names in label order.
    """

    frame: pd.DataFrame
    labels: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray
    classes: tuple[str, ...]

    @property
    def is_right(self) -> np.ndarray:
        """Whether the predicted class is the label, [n] bool."""
        return self.predicted == self.labels

    @property
    def confusion(self) -> np.ndarray:
        """How many of each label have which predicted class, [label, predicted] int."""
        every = range(len(self.classes))
        return metrics.confusion_matrix(self.labels, self.predicted, labels=every)

    @property
    def confidence(self) -> np.ndarray:
        """Probability of the predicted class, [n] float."""
        return self.probabilities[np.arange(len(self.labels)), self.predicted]


@dataclass(frozen=True)
class VersionScores:
    """What a version's own files say of how good it is.

    Attributes:
      version: folder of the version.
      card: see `store.publish`.
      frame: predictions.csv.
    """

    version: Path
    card: VersionCard
    frame: pd.DataFrame

    @property
    def group_column(self) -> str:
        """The column of what a split keeps whole, and the word for it: "photo" or "group".

        Photos of the same ice by two cameras are one group.
        """
        is_photo = "photo" in self.frame and (self.frame["photo"] == self.frame["group"]).all()
        return "photo" if is_photo else "group"

    @property
    def example_noun(self) -> str:
        """The word for an example: "window" or "image"."""
        return "window" if "depth_top_m" in self.frame else "image"

    @property
    def is_autoencoder(self) -> bool:
        """Whether the model reconstructs images; else it is a classifier."""
        return self.card.kind == "autoencoder"

    @property
    def threshold(self) -> float:
        """Probability from which a two-class model predicts the positive class."""
        return self.card.thresholds["decision"]

    @property
    def main_metric(self) -> str:
        """The metric of `interval`."""
        if self.is_autoencoder:
            return "mean_squared_error"
        return "average_precision" if len(self.card.classes) == 2 else "accuracy"

    @cached_property
    def scored(self) -> pd.DataFrame:
        """Rows of predictions.csv that the test scores are of; a classifier's are labelled."""
        frame = self.of_split("test")
        return frame if self.is_autoencoder else frame[frame["label"] >= 0].reset_index(drop=True)

    @cached_property
    def test(self) -> TestPredictions:
        """Test predictions of a classifier."""
        classes, frame = tuple(self.card.classes), self.scored
        probabilities = frame[[f"p_{name}" for name in classes]].to_numpy(float)
        predicted = evaluation_metrics.predict_labels(
            probabilities, thresholds=self.card.thresholds
        )
        labels = frame["label"].to_numpy(int)
        return TestPredictions(frame, labels, probabilities, predicted, classes)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the main metric for new groups; None where there is none."""
        bounds = group_intervals.score_interval(
            self._main_score,
            self.scored[self.group_column].to_numpy(str),
            is_share=not self.is_autoencoder,
        )
        if bounds is None or not np.isfinite(bounds).all():
            return None
        return float(bounds[0]), float(bounds[1])

    def of_split(self, split: str) -> pd.DataFrame:
        """Returns the rows of predictions.csv of a split."""
        return self.frame[self.frame["split"] == split].reset_index(drop=True)

    def _main_score(self, rows: np.ndarray) -> float | None:
        """Returns the main metric of some test examples, given by their row numbers [m]."""
        if self.is_autoencoder:
            return float(self.scored["error"].to_numpy()[rows].mean())
        labels = self.test.labels[rows]
        if len(self.test.classes) != 2:
            return float(self.test.is_right[rows].mean())
        if not labels.any():
            return None
        return float(metrics.average_precision_score(labels, self.test.probabilities[rows, 1]))


@dataclass(frozen=True)
class ReportData(VersionScores):
    """Everything that a report uses.

    Attributes:
      records: folder of the records.
      manifest: of the records.
      table_name: name of the task's table of sources, or None.

    The others are those of `VersionScores`.
    """

    records: Path
    manifest: RecordManifest
    table_name: str | None

    @cached_property
    def table(self) -> pd.DataFrame | None:
        """The task's table of sources, as the reader wrote it; None without one."""
        path = self.records / f"{self.table_name}.csv"
        if self.table_name is None or not path.is_file():
            return None
        return pd.read_csv(path, keep_default_na=False)


def read_scores(version: Path) -> VersionScores:
    """Returns what a version's own files say of how good it is.

    Args:
      version: folder with assets.extra/card.json and predictions.csv.

    Raises:
      UserError: if one of the files is missing or damaged.
    """
    card = store.read_card(version)
    frame = predictions(version, {"photo": "str"}, classes=card.classes)
    _check(version, _missing_columns(card, frame))
    return VersionScores(version, card, frame)


def read(version: Path, records: Path) -> ReportData:
    """Returns the data of a version's report.

    Args:
      version: folder with assets.extra/card.json and predictions.csv.
      records: folder of the records that the version was trained on.

    Raises:
      UserError: if one of the files is missing or damaged, or lacks what a report shows.
    """
    card, manifest = store.read_card(version), data_manifest.read(records)
    frame = predictions(version, manifest.metadata, classes=card.classes)
    _check(version, _missing(card) or _missing_columns(card, frame))
    task = TASKS.get(card.task)
    table_name = task.raw_files.source_table if task else None
    return ReportData(version, card, frame, records, manifest, table_name)


def _check(version: Path, missing: str) -> None:
    """Raises a UserError where something is missing of what a report shows."""
    if missing:
        raise UserError(
            f"Version {version.name} of {version.parent.name} cannot be reported: it has no "
            f"{missing}. Restore its files from a copy, or train a new version."
        )


def _missing(card: VersionCard) -> str:
    """Returns what a report shows and a card lacks; "" for nothing."""
    test, search = card.metrics.get("test", {}), card.search
    needed: dict[str, bool] = {
        "metrics of the test split": any(name in test for name in COMPARED),
        "number of parameters": card.parameters is not None,
        "parity": bool(card.parity),
        "counts of the splits": card.data.counts.keys() >= {*SPLITS} <= card.data.groups.keys(),
    }
    if card.kind == AUTOENCODER:
        needed["errors of reconstruction"] = {*RECONSTRUCTION, "examples"} <= test.keys()
    elif len(card.classes) == 2:
        needed["decision threshold"] = "decision" in card.thresholds
    rows, names = search.get("trials") or (), {"trial", "score"}
    if card.kind == BOOSTED_TREES:
        rows, names = search.get("candidates") or ((),), CANDIDATE
    elif rows:
        best = all(name in search for name in ("model", "training", "score"))
        needed["best trial of its search"] = best
    complete = all(isinstance(row, dict) and names <= row.keys() for row in rows)
    needed["complete list of its search"] = complete
    return next((what for what, is_there in needed.items() if not is_there), "")


def _missing_columns(card: VersionCard, frame: pd.DataFrame) -> str:
    """Returns which columns a report needs and predictions.csv lacks; "" for none."""
    numbers = [f"p_{name}" for name in card.classes] + ["label"]
    if card.kind == AUTOENCODER:
        numbers = ["error", "error_of_mean_image", "label"]
    for name in ("split", "key", "group", *numbers):
        is_number = name in frame and pd.api.types.is_numeric_dtype(frame[name])
        if name not in frame or (name in numbers and not is_number):
            return f"column {name} of {'numbers' if name in numbers else 'text'} in predictions.csv"
    if "test" not in set(frame["split"]) or not frame["label"].between(-1, 1 << 31).all():
        return "labelled test split in predictions.csv"
    if card.kind != AUTOENCODER and frame["label"].max() >= len(card.classes):
        return "class for each label in predictions.csv"
    return ""
