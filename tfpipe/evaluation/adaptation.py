"""Gate of an adapted version: better where it was adapted to, and not worse at home.

Labelled images of the new place are few, so it is judged by the share of correct ones, whose
difference between two versions is paired: many images are correct or wrong by both.
"""

from typing import Any, NamedTuple

import numpy as np

from tfpipe.evaluation import group_intervals
from tfpipe.evaluation.version_comparison import Answers

DRAWS = 2000
INTERVAL = (0.025, 0.975)


class ShareCorrect(NamedTuple):
    """Share of correct images by two versions, with 95 % intervals.

    Attributes:
      images: number of them.
      groups: number of their groups.
      before: share of correct ones by the old version, and the interval's ends.
      after: likewise, by the new one.
      difference: of the two, and the interval's ends.
      by_groups: whether the intervals are for new groups; else they are for more images of these.
    """

    images: int
    groups: int
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    difference: tuple[float, float, float]
    by_groups: bool

    @property
    def is_better(self) -> bool:
        """Whether the new version is better by more than chance."""
        return self.difference[1] > 0

    @property
    def is_worse(self) -> bool:
        """Whether it is worse by more than chance."""
        return self.difference[2] < 0

    def in_words(self, where: str) -> str:
        """Returns both shares and their difference, as a sentence."""
        before, after = (
            f"{share:.3f} ({low:.3f} to {high:.3f})"
            for share, low, high in (self.before, self.after)
        )
        share, low, high = self.difference
        scope = "new groups" if self.by_groups else "more images of these groups"
        return (
            f"{self.images:,} images of {self.groups} groups {where}: correct {before} before, "
            f"{after} after; difference {share:+.3f} ({low:+.3f} to {high:+.3f}, 95 % for {scope})."
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers as JSON has them."""
        return self._asdict() | {"better": self.is_better, "worse": self.is_worse}


def compare_correct(answers: Answers, *, seed: int = 0) -> ShareCorrect:
    """Returns the share of correct images by both versions.

    From `group_intervals.MIN_GROUPS` groups on, intervals are for new groups, by leaving each out;
    with fewer, images are drawn with replacement, which does not tell how groups differ.

    Args:
      answers: of classifiers, about labelled images; one at least.
      seed: of the draws.
    """
    assert answers.predicted_before is not None and answers.predicted_after is not None
    correct = np.stack(
        [
            (predicted == answers.labels).astype(float)
            for predicted in (answers.predicted_before, answers.predicted_after)
        ]
    )
    correct = np.concatenate([correct, correct[1:] - correct[:1]])
    values = correct.mean(axis=1)
    n_groups = len(np.unique(answers.groups))

    def statistic(rows: np.ndarray) -> np.ndarray:
        return correct[:, rows].mean(axis=1)

    bounds = group_intervals.score_interval(statistic, answers.groups, is_share=False)
    by_groups = bounds is not None and bool(np.isfinite(bounds[:, 2]).all())
    if bounds is None or not by_groups:
        rng = np.random.default_rng(seed)
        drawn = rng.integers(0, correct.shape[1], (DRAWS, correct.shape[1]))
        bounds = np.quantile([statistic(rows) for rows in drawn], INTERVAL, axis=0)
    # Where all groups have one share there is no interval, so that of all images is the share.
    bounds = np.where(np.isfinite(bounds), bounds, values)
    bounds[:, :2] = np.clip(bounds[:, :2], 0, 1)
    before, after, difference = (
        (float(value), float(low), float(high))
        for value, low, high in zip(values, *bounds, strict=True)
    )
    return ShareCorrect(correct.shape[1], n_groups, before, after, difference, by_groups)
