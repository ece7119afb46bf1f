"""What a report is made of, read from files alone: a version's card, predictions and records."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn import metrics

from tfpipe.base import tables
from tfpipe.data import manifest as data_manifest
from tfpipe.data.manifest import RecordManifest
from tfpipe.evaluation import metrics as evaluation_metrics
from tfpipe.registry import store
from tfpipe.registry.predictions import predictions
from tfpipe.tasks import TASKS

FEWEST_PHOTOS = 5  # fewer cannot tell how far other photos would move a score
DRAWS = 200  # of photos, for the spread of a score


class Judged(NamedTuple):
    """The labelled pictures of the test split, and what the model said of them.

    Attributes:
      frame: their rows of predictions.csv.
      labels: [n] int.
      probabilities: [n, classes] float.
      said: [n] int, the class said: by the threshold for two classes, else the likeliest.
      classes: names in label order.
    """

    frame: pd.DataFrame
    labels: np.ndarray
    probabilities: np.ndarray
    said: np.ndarray
    classes: tuple[str, ...]


@dataclass(frozen=True)
class ReportData:
    """All that a report is made of.

    Attributes:
      version: the version's folder.
      records: the records' folder.
      card: see `store.publish`.
      manifest: of the records.
      frame: predictions.csv.
      table_name: name of the task's table of sources, or None.
    """

    version: Path
    records: Path
    card: dict[str, Any]
    manifest: RecordManifest
    frame: pd.DataFrame
    table_name: str | None

    @property
    def photo(self) -> str:
        """The word for what a split keeps whole."""
        return "photo" if "photo" in self.frame else "group"

    @property
    def window(self) -> str:
        """The word for one example."""
        return "window" if "depth_top_m" in self.frame else "picture"

    @property
    def is_autoencoder(self) -> bool:
        """Whether the model gives pictures back; else it names classes."""
        return self.card["kind"] == "autoencoder"

    @property
    def threshold(self) -> float:
        """The probability from which on a two-class model says the positive class."""
        return self.card["thresholds"]["decision"]

    @property
    def first_metric(self) -> str:
        """The score that `spread` is of."""
        if self.is_autoencoder:
            return "mean_squared_error"
        return "average_precision" if len(self.card["classes"]) == 2 else "accuracy"

    @cached_property
    def scored(self) -> pd.DataFrame:
        """The rows of predictions.csv that the test scores are of; a classifier's are labelled."""
        frame = self.of_split("test")
        return frame if self.is_autoencoder else frame[frame["label"] >= 0].reset_index(drop=True)

    @cached_property
    def test(self) -> Judged:
        """The test split, of a classifier."""
        classes, frame = tuple(self.card["classes"]), self.scored
        likely = frame[[f"p_{name}" for name in classes]].to_numpy(float)
        said = evaluation_metrics.said(likely, thresholds=self.card["thresholds"])
        labels = frame["label"].to_numpy(int)
        return Judged(frame, labels, likely, said, classes)

    @cached_property
    def spread(self) -> tuple[float, float] | None:
        """Between what the first metric lies in 95 % of draws of as many test photos.

        Whole photos are drawn, with replacement (Efron & Tibshirani 1993, chapter 13), since their
        windows are not independent. None for fewer than five photos.
        """
        photos, of = np.unique(self.scored[self.photo].to_numpy(str), return_inverse=True)
        if len(photos) < FEWEST_PHOTOS:
            return None
        rng = np.random.default_rng(0)
        draws = rng.multinomial(len(photos), np.full(len(photos), 1 / len(photos)), size=DRAWS)
        drawn = [self._first_score(times[of]) for times in draws]
        drawn = [score for score in drawn if score is not None]
        if not drawn:
            return None
        low, high = np.percentile(drawn, (2.5, 97.5))
        return float(low), float(high)

    def of_split(self, split: str) -> pd.DataFrame:
        """Returns the rows of predictions.csv of a split."""
        return self.frame[self.frame["split"] == split].reset_index(drop=True)

    def _first_score(self, times: np.ndarray) -> float | None:
        """Returns the first metric with each test picture counted so many times, [n] int."""
        if self.is_autoencoder:
            return float(np.average(self.scored["error"], weights=times))
        labels = self.test.labels
        if len(self.test.classes) != 2:
            return float(np.average(self.test.said == labels, weights=times))
        if not times[labels == 1].any():
            return None
        positive = self.test.probabilities[:, 1]
        return float(metrics.average_precision_score(labels, positive, sample_weight=times))

    @cached_property
    def table(self) -> pd.DataFrame | None:
        """The task's table of sources, as reading wrote it."""
        path = self.records / f"{self.table_name}.csv"
        if self.table_name is None or not path.is_file():
            return None
        return tables.read_csv(path)


def read(version: Path, folder: Path) -> ReportData:
    """Returns the facts of a version.

    Args:
      version: holds assets.extra/card.json and predictions.csv.
      folder: the records that it was trained on.

    Raises:
      UserError: if one of them is missing or damaged.
    """
    card, manifest = store.read_card(version), data_manifest.read(folder)
    frame = predictions(version, manifest.metadata)
    task = TASKS.get(card["task"])
    source_table = task.raw_files.source_table if task else None
    return ReportData(version, folder, card, manifest, frame, source_table)
