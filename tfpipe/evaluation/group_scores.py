"""Scores of each group, such as a run, a photo, a site or a day: how far they differ, and why.

A mean over all test images hides that one site may be far worse than another. Scores of small
groups also differ by chance, so the spread is compared with that of groups that are all alike.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics

from tfpipe.evaluation import group_intervals

MIN_IMAGES = 10  # of a group whose score counts
DRAWS = 2_000
LEVEL = group_intervals.LEVEL


class Spread(NamedTuple):
    """How far the scores of groups differ.

    Attributes:
      mean: over groups, each counting once.
      deviation: standard deviation of the groups' scores.
      between: the same without the scatter that as many images have anyway; nan for F1.
      worst: name of the group with the lowest score.
      lowest: its score.
      chance_low: lower end of the 95 % range of the lowest score if all groups were alike; nan for
        F1.
      chance_high: upper end, likewise.
    """

    mean: float
    deviation: float
    between: float
    worst: str
    lowest: float
    chance_low: float
    chance_high: float


def by_group(
    labels: np.ndarray, predicted: np.ndarray, groups: np.ndarray, *, classes: int
) -> pd.DataFrame:
    """Returns a row for each group, the lowest score first: group, images, score, low, high.

    The score is accuracy with its 95 % interval for this group's images (Clopper & Pearson 1934),
    or of two classes the F1 of the positive one, nan where a group has none: it could only be 0.

    Args:
      labels: [n] int.
      predicted: [n] int, by the decision rule.
      groups: [n] str.
      classes: number of classes.
    """
    rows = []
    for name in np.unique(groups).tolist():
        inside = groups == name
        true, found = labels[inside], predicted[inside]
        count, hits = len(true), int((true == found).sum())
        if classes == 2:
            score = float(metrics.f1_score(true, found)) if true.any() else np.nan
            low = high = np.nan
        else:
            score, tail = hits / count, (1 - LEVEL) / 2
            low = float(stats.beta.ppf(tail, hits, count - hits + 1)) if hits else 0.0
            high = float(stats.beta.isf(tail, hits + 1, count - hits)) if hits < count else 1.0
        rows.append({"group": name, "images": count, "score": score, "low": low, "high": high})
    columns = ["group", "images", "score", "low", "high"]
    return pd.DataFrame(rows, columns=columns).sort_values(["score", "group"], ignore_index=True)


def spread(table: pd.DataFrame, *, seed: int = 0) -> Spread | None:
    """Returns how far groups of `MIN_IMAGES` or more differ; None for fewer than two such groups.

    Args:
      table: by `by_group`.
      seed: of the simulation of equal groups.
    """
    rows = table[(table["images"] >= MIN_IMAGES) & table["score"].notna()]
    if len(rows) < 2:
        return None
    scores, sizes = rows["score"].to_numpy(float), rows["images"].to_numpy(int)
    between, chance = np.nan, (np.nan, np.nan)
    if rows["low"].notna().all():
        rate = float((scores * sizes).sum() / sizes.sum())
        between = _between(scores, sizes, rate)
        lowest = (
            np.random.default_rng(seed).binomial(sizes, rate, (DRAWS, len(sizes))) / sizes
        ).min(1)
        chance = np.quantile(lowest, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    worst = rows.iloc[int(scores.argmin())]
    return Spread(
        float(scores.mean()),
        float(scores.std(ddof=1)),
        float(between),
        str(worst["group"]),
        float(worst["score"]),
        float(chance[0]),
        float(chance[1]),
    )


def _between(scores: np.ndarray, sizes: np.ndarray, rate: float) -> float:
    """Returns the standard deviation of true rates between groups (Weir & Cockerham 1984)."""
    total, count = sizes.sum(), len(sizes)
    mean_square_between = (sizes * (scores - rate) ** 2).sum() / (count - 1)
    mean_square_within = (sizes * scores * (1 - scores)).sum() / (total - count)
    size = (total - (sizes**2).sum() / total) / (count - 1)
    return np.sqrt(max(0.0, (mean_square_between - mean_square_within) / size))


def by_rarity(
    labels: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray,
    *,
    training_counts: np.ndarray,
) -> pd.DataFrame:
    """Returns a row for each class, the rarest first: class, training, test, recall, low, high.

    Args:
      labels: [n] int.
      predicted: [n] int.
      groups: [n] str.
      training_counts: [classes] int, training images of each class.
    """
    rows = []
    for label in np.argsort(training_counts, kind="stable").tolist():
        inside = labels == label
        hits = predicted[inside] == label
        bounds = group_intervals.share_interval(hits, groups[inside]) if len(hits) else None
        low, high = bounds or (np.nan, np.nan)
        rows.append(
            {
                "class": label,
                "training": int(training_counts[label]),
                "test": len(hits),
                "recall": float(hits.mean()) if len(hits) else np.nan,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)
