"""Confidence of predictions, learned from a version's own predictions on held-out examples."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tfpipe.evaluation import count_errors, metrics, prevalence, selective

FEW_GROUPS = 5  # fewer test groups leave adjusted counts rough


class PredictionOptions(NamedTuple):
    """What is predicted for each image, and when the model abstains.

    Attributes:
      min_precision: the model abstains below the probability at which a class reached this
        precision on validation.
      embedding: whether the table holds the network's embedding too.
      conformal: share of images whose set of classes may lack the true one; 0 for no sets.
      min_sharpness: images that are less sharp are marked as blurred and not counted, see
        `evaluation.sharpness`; 0 for none.
    """

    min_precision: float = selective.MIN_PRECISION
    embedding: bool = False
    conformal: float = 0.0
    min_sharpness: float = 0.0


class PredictionConfidence:
    """Thresholds of confidence, chosen on a version's predictions of the validation split.

    Attributes:
      classes: their names, in the order of the probabilities.
      options: when the model abstains.
    """

    def __init__(
        self,
        predictions: pd.DataFrame,
        classes: tuple[str, ...],
        options: PredictionOptions,
        *,
        decision: dict[str, float],
    ):
        """Chooses the thresholds.

        Args:
          predictions: the version's predictions.csv: split, group, label and p_<class>.
          classes: as the attribute.
          options: as the attribute.
          decision: thresholds of the version's decision rule, see `metrics.predict_labels`.
        """
        self._decision = decision
        self.classes, self.options = classes, options
        labelled = predictions[predictions["label"] >= 0]
        self._held_out = {
            split: labelled[labelled["split"] == split] for split in ("validation", "test")
        }
        labels = self._held_out["validation"]["label"].to_numpy(int)
        probabilities = self._probabilities(self._held_out["validation"])
        self._thresholds = selective.thresholds(
            labels,
            probabilities,
            predicted=self.named(probabilities),
            min_precision=options.min_precision,
        )
        self._counts_threshold = 0.0
        if len(labels):
            self._counts_threshold = count_errors.best_threshold(
                labels,
                probabilities,
                count_errors.units(self._held_out["validation"]["group"].to_numpy(str))[0],
                thresholds=decision,
            )
        if options.conformal:
            self._conformal_threshold = selective.conformal_threshold(
                labels, probabilities, alpha=options.conformal
            )

    def named(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the class [n] int that the decision rule names at probabilities [n, classes]."""
        return metrics.predict_labels(probabilities, thresholds=self._decision)

    def predicted_labels(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the class [n] int of probabilities [n, classes], -1 where the model abstains."""
        return selective.predict_labels(
            probabilities, self._thresholds, predicted=self.named(probabilities)
        )

    def count_at_threshold(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the images of each class, [classes] int, at the threshold that serves counts.

        See `count_errors.named`; images that it leaves out are not counted.
        """
        named = count_errors.named(
            probabilities, thresholds=self._decision, threshold=self._counts_threshold
        )
        return np.bincount(named[named >= 0], minlength=len(self.classes))

    def table(self, probabilities: np.ndarray) -> pd.DataFrame:
        """Returns label, abstain, p_<class> and perhaps classes of probabilities [n, classes]."""
        names = np.array(self.classes, object)
        frame = pd.DataFrame({"label": names[self.named(probabilities)]})
        frame["abstain"] = self.predicted_labels(probabilities) < 0
        frame[[f"p_{name}" for name in self.classes]] = probabilities
        if self.options.conformal:
            sets = selective.sets(probabilities, self._conformal_threshold)
            frame["classes"] = ["; ".join(names[members]) for members in sets]
        return frame

    def class_counts(
        self,
        predicted: np.ndarray,
        confident: np.ndarray,
        at_threshold: np.ndarray,
        *,
        new_groups: int,
    ) -> tuple[pd.DataFrame, list[str]]:
        """Returns a row for each class, and sentences on how far to trust the adjusted numbers.

        A row has how often the class was predicted, and how many there may be.

        Args:
          predicted: [classes] int, images that the decision rule gives to each class.
          confident: [classes + 1] int, the same without those where the model abstains, which are
            counted last.
          at_threshold: [classes] int, the sum of `count_at_threshold`.
          new_groups: number of groups, such as runs, that the images come from.
        """
        # The validation split has chosen the thresholds, so only the test split shows their errors.
        held_out = self._held_out["test"]
        confusions = prevalence.confusions(
            held_out["label"].to_numpy(int),
            self.predicted_labels(self._probabilities(held_out)),
            held_out["group"].to_numpy(str),
            classes=len(self.classes),
        )
        estimates = prevalence.estimate(confident, confusions, new_groups=new_groups)
        counts = {"class": self.classes, "predicted": predicted, "confident": confident[:-1]}
        counts["at_threshold"] = at_threshold
        for name, values in estimates._asdict().items():
            counts[name] = values.round(1)
        return pd.DataFrame(counts), self._count_notes(confusions)

    def _count_notes(self, confusions: np.ndarray) -> list[str]:
        if missing := prevalence.missing_interval(confusions):
            return [missing]
        notes = [worse] if (worse := self._worse_adjusted()) else []
        n_groups = int((confusions.sum(axis=(1, 2)) > 0).sum())
        if n_groups < FEW_GROUPS:
            notes.append(
                f"The adjusted counts rest on the errors in {n_groups} labelled test groups, so "
                "they are rough. `tfpipe inspect` corrects counts by a sample that people judge."
            )
        if self.options.min_precision != selective.MIN_PRECISION:
            notes.append(
                "The adjusted counts go by the classes that are named at --min-precision "
                f"{self.options.min_precision:g}; the report measured them at "
                f"{selective.MIN_PRECISION:g}."
            )
        return notes

    def _worse_adjusted(self) -> str:
        """Returns a sentence where adjusted counts of the test groups are further off than others.

        The errors that a group's counts are adjusted by are those of the other groups.
        """
        test = self._held_out["test"]
        labels, probabilities = test["label"].to_numpy(int), self._probabilities(test)
        unit, _ = count_errors.units(test["group"].to_numpy(str))
        n_classes = len(self.classes)
        true = count_errors.count(labels, unit, classes=n_classes)
        confident = self.predicted_labels(probabilities)
        adjusted = count_errors.adjusted(labels, confident, unit, classes=n_classes)
        if not np.isfinite(adjusted).all():
            return ""
        plain = count_errors.count_in(true, self.named(probabilities), unit=unit)
        off = [float(count_errors.errors(true, n).counts.mean()) for n in (plain, adjusted)]
        if off[1] <= off[0]:
            return ""
        return (
            f"On the test groups the adjusted counts were further off than the predicted ones "
            f"(Bray-Curtis {off[1]:.2f} and {off[0]:.2f}), so do not use them. `tfpipe inspect` "
            "corrects counts by a sample that people judge."
        )

    def _probabilities(self, frame: pd.DataFrame) -> np.ndarray:
        return frame[[f"p_{name}" for name in self.classes]].to_numpy(float)
