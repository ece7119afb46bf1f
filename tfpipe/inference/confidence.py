"""How sure a version may be of an answer, and of how many there are: by its own predictions."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tfpipe.evaluation import prevalence, selective


class Wanted(NamedTuple):
    """What is to be told of each picture.

    Attributes:
      min_precision: a class is named only where it was right so often on validation; else the
        picture is "unsure".
      embedding: whether the network's embedding is told, too.
      conformal: share of pictures whose set of classes may lack the true one; 0 for no sets.
    """

    min_precision: float = selective.MIN_PRECISION
    embedding: bool = False
    conformal: float = 0.0


class Certainty:
    """What a version's own predictions teach: when it is to be believed."""

    def __init__(self, known: pd.DataFrame, classes: tuple[str, ...], wanted: Wanted):
        self.classes, self.wanted = classes, wanted
        labelled = known[known["label"] >= 0]
        self._seen = {
            split: labelled[labelled["split"] == split] for split in ("validation", "test")
        }
        labels = self._seen["validation"]["label"].to_numpy(int)
        likely = self._likely(self._seen["validation"])
        self._thresholds = selective.thresholds(labels, likely, min_precision=wanted.min_precision)
        if wanted.conformal:
            self._widest = selective.conformal_threshold(labels, likely, alpha=wanted.conformal)

    def said(self, likely: np.ndarray) -> np.ndarray:
        """Returns the class [n] int of probabilities [n, classes], -1 where it is unsure."""
        return selective.said(likely, self._thresholds)

    def told(self, likely: np.ndarray) -> pd.DataFrame:
        """Returns label, unsure, p_<class> and perhaps classes of probabilities [n, classes]."""
        names = np.array(self.classes, object)
        frame = pd.DataFrame({"label": names[likely.argmax(axis=1)]})
        frame["unsure"] = self.said(likely) < 0
        frame[[f"p_{name}" for name in self.classes]] = likely
        if self.wanted.conformal:
            sets = selective.sets(likely, self._widest)
            frame["classes"] = ["; ".join(names[one]) for one in sets]
        return frame

    def counted(self, named: np.ndarray, said: np.ndarray) -> pd.DataFrame:
        """Returns a row for each class: how often it was named, and how many there may be.

        Args:
          named: [classes] int, unsure ones included.
          said: [classes + 1] int, unsure ones last.
        """
        seen, classes = pd.concat(self._seen.values()), len(self.classes)
        confusions = prevalence.confusions(
            seen["label"].to_numpy(int),
            self.said(self._likely(seen)),
            seen["group"].to_numpy(str),
            classes=classes,
        )
        found = prevalence.estimate(said, confusions)
        told = {"class": self.classes, "named": named, "sure": said[:-1]}
        return pd.DataFrame(told | {n: values.round(1) for n, values in found._asdict().items()})

    def _likely(self, frame: pd.DataFrame) -> np.ndarray:
        return frame[[f"p_{name}" for name in self.classes]].to_numpy(float)
