"""Findings of an exploration: what its tables, figure and page are made from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfpipe.explore.queue import Entry

UNLABELLED = "(unlabelled)"


@dataclass(frozen=True)
class Findings:
    """The result of an exploration.

    Attributes:
      title: task, model and version.
      frame: a row for each image, in the records' order: key, split, group, label ("" for none),
        predicted ("" without a classifier), cluster (-1 for none), x and y on the map, the scores
        and the nuisances.
      scores: names of the scores' columns, higher is more novel.
      nuisances: names of the nuisances' columns; the group is one, too.
      queue: the images to look at, the most novel first.
      ranked_by: the score that ranks the queue.
      reason: why it is that score, in a sentence.
      benchmark: `novelty_benchmark.benchmark`'s table; empty where no class was left out.
      trust: a row for each map: "map", "training" and "new" (trustworthiness), "steps" (NaN for
        umap-learn); the first map is shown.
      of_clusters: `confounders.of_clusters`' table.
      of_scores: `confounders.of_scores`' table.
      of_direction: `orientation.explained`'s table, and "shown": how models saw the images.
      notes: sentences for the reader.
    """

    title: str
    frame: pd.DataFrame
    scores: tuple[str, ...]
    nuisances: tuple[str, ...]
    queue: list[Entry]
    ranked_by: str
    reason: str
    benchmark: pd.DataFrame
    trust: pd.DataFrame
    of_clusters: pd.DataFrame
    of_scores: pd.DataFrame
    of_direction: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray:
        """The class of each image [n] str, `UNLABELLED` without a label."""
        return class_names(self.frame)

    @property
    def clusters(self) -> np.ndarray:
        """The cluster of each image [n] str."""
        return cluster_names(self.frame)

    def queue_table(self) -> pd.DataFrame:
        """Returns the queue as a table, a row for each entry."""
        frame, keys = self.frame, self.frame["key"].to_numpy()
        labels = self.labels
        rows = [
            {
                "rank": rank,
                "key": keys[entry.row],
                "split": frame["split"].iat[entry.row],
                "group": frame["group"].iat[entry.row],
                "label": frame["label"].iat[entry.row],
                "predicted": frame["predicted"].iat[entry.row],
                "cluster": frame["cluster"].iat[entry.row],
                self.ranked_by: frame[self.ranked_by].iat[entry.row],
                "near_copies": len(entry.copies),
                "keys_of_copies": " ".join(keys[row] for row in entry.copies),
                "nearest_labelled": " ".join(keys[row] for row in entry.nearest),
                "nearest_labels": ", ".join(labels[row] for row in entry.nearest),
            }
            for rank, entry in enumerate(self.queue, start=1)
        ]
        return pd.DataFrame(rows)


def class_names(frame: pd.DataFrame) -> np.ndarray:
    """Returns the class of each row [n] str, `UNLABELLED` without a label."""
    return np.where(frame["label"] == "", UNLABELLED, frame["label"]).astype(str)


def cluster_names(frame: pd.DataFrame) -> np.ndarray:
    """Returns the cluster of each row [n] str."""
    return np.array([f"cluster {n}" if n >= 0 else "no cluster" for n in frame["cluster"]])
