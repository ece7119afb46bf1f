"""What an exploration found, for its tables, its figure and its page."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfpipe.explore.queue import Entry

UNLABELLED = "(unlabelled)"


@dataclass(frozen=True)
class Findings:
    """What an exploration found.

    Attributes:
      title: task, model and version.
      frame: a row for each picture, in the records' order: key, split, group, label ("" for none),
        predicted ("" without a classifier), cluster (-1 for none), x and y on the map, the scores
        and the nuisances.
      scores: names of the scores' columns, higher is newer.
      nuisances: names of the nuisances' columns; the group is one, too.
      queue: the pictures to look at, the newest first.
      ranked_by: the score that ranks the queue.
      reason: why that one, in a sentence.
      benchmark: `novelty_benchmark.benchmark`'s table; empty where no class was left out.
      trust: a row for each map: "map", "training" and "new" (trustworthiness), "steps" (NaN for
        umap-learn's own); the first is the one shown.
      of_clusters: `confounders.of_clusters`' table.
      of_scores: `confounders.of_scores`' table.
      of_direction: `orientation.explained`'s table, and "shown": how models were shown pictures.
      notes: what else a reader must know, one sentence each.
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
        """Each picture's class [n] str, `UNLABELLED` where nobody has told it."""
        return np.where(self.frame["label"] == "", UNLABELLED, self.frame["label"]).astype(str)

    @property
    def clusters(self) -> np.ndarray:
        """Each picture's cluster [n] str."""
        numbers = self.frame["cluster"].to_numpy()
        return np.array([f"cluster {n}" if n >= 0 else "no cluster" for n in numbers])

    def queue_table(self) -> pd.DataFrame:
        """Returns the queue as a table, a row for each entry."""
        frame, keys = self.frame, self.frame["key"].to_numpy()
        labels = self.labels
        rows = [
            {
                "rank": rank,
                "key": keys[entry.row],
                **{name: frame[name].iat[entry.row] for name in ("split", "group", "label")},
                "predicted": frame["predicted"].iat[entry.row],
                "cluster": frame["cluster"].iat[entry.row],
                self.ranked_by: frame[self.ranked_by].iat[entry.row],
                "near_copies": len(entry.copies),
                "keys_of_copies": " ".join(keys[row] for row in entry.copies),
                "nearest_known": " ".join(keys[row] for row in entry.beside),
                "nearest_known_labels": ", ".join(labels[row] for row in entry.beside),
            }
            for rank, entry in enumerate(self.queue, start=1)
        ]
        return pd.DataFrame(rows)
