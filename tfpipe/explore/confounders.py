"""Is a cluster, or a score of novelty, real, or is it light, cropping, place or run?

The clusters that seed 000 found were "mainly based on cropping, lighting or position in frame".
Whatever one such number alone can tell is said to be explained by it, with how well.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

BINS = 10  # of a number, of equally many pictures each
EXPLAINS_AUROC = 0.8  # the nuisance ranks a picture of the cluster above another 4 times of 5
EXPLAINS_SHARE = 0.25  # of how a score ranks the pictures: Spearman's rho squared, eta squared
DRAWS = 499  # permutations; a normal tail goes on where so few end, for Holm's smallest p
LEVEL = 0.05  # of all tests together, by Holm (1979)


def of_clusters(
    clusters: np.ndarray, nuisances: dict[str, np.ndarray], *, seed: int = 0
) -> pd.DataFrame:
    """Tests each cluster against each nuisance.

    A nuisance is cut into bins; the share of the cluster in each bin is learnt on one half of the
    pictures and ranks the other: so bands in the middle count as much as ends, and names as much
    as numbers.

    Args:
      clusters: [n] int; -1 for none.
      nuisances: name -> [n] float, or [n] str for names such as the run.
      seed: of the halves and of the permutations.

    Returns:
      A row for each cluster and nuisance: "what", "nuisance", "measure" (AUROC, one against the
      rest), "value", "p" (by permutation, after Holm), "explained".
    """
    rng = np.random.default_rng(seed)
    half = rng.permutation(len(clusters)) % 2
    numbers = np.unique(clusters[clusters >= 0])
    rows = []
    for name, values in nuisances.items():
        cells = 2 * bins(values) + half
        sizes = np.bincount(cells, minlength=2 * (cells.max() // 2 + 1))
        for number in numbers:
            inside = np.bincount(cells[clusters == number], minlength=len(sizes))
            value = _auroc(inside[None], sizes)[0]
            # Permuting who is in the cluster draws from the cells without putting back.
            drawn = rng.multivariate_hypergeometric(sizes, inside.sum(), DRAWS, method="marginals")
            chance = _auroc(drawn, sizes)
            p = stats.norm.sf(value, chance.mean(), chance.std() or 1)
            rows.append((f"cluster {number}", name, "AUROC", value, p))
    return _judged(rows, strong=lambda frame: frame["value"] >= EXPLAINS_AUROC)


def of_scores(scores: dict[str, np.ndarray], nuisances: dict[str, np.ndarray]) -> pd.DataFrame:
    """Tests each score [n] float against each nuisance: Spearman's rho, eta squared for names.

    Returns:
      As `of_clusters`; "p" is Spearman's, and Kruskal and Wallis' for names.
    """
    rows = []
    for what, score in scores.items():
        for name, values in nuisances.items():
            if values.dtype.kind == "U":
                rows.append((what, name, "eta squared", *_eta_squared(score, values)))
            else:
                known = np.isfinite(values)
                rows.append((what, name, "Spearman's rho", *_rho(score[known], values[known])))

    def strong(frame: pd.DataFrame) -> pd.Series:
        share = frame["value"].where(frame["measure"] == "eta squared", frame["value"] ** 2)
        return share >= EXPLAINS_SHARE

    return _judged(rows, strong=strong)


def in_words(frame: pd.DataFrame) -> dict[str, str]:
    """Returns a sentence for each cluster or score, the strongest explanation first in it."""
    said = {}
    for what, rows in frame.groupby("what", sort=False):
        rows = rows.reindex(rows["value"].abs().sort_values(ascending=False, kind="stable").index)
        own = rows[rows["explained"]]
        if len(own):
            told = ", ".join(map(_number, own.itertuples()))
            text = f"{what.capitalize()} may be no more than {told}."
        else:
            best = _number(next(rows.itertuples()))
            text = f"{what.capitalize()} is explained by none of these; nearest is {best}."
        said[what] = text.replace("_", " ")
    return said


def bins(values: np.ndarray) -> np.ndarray:
    """Returns the bin [n] int from 0 of each value [n]; missing numbers have one of their own."""
    if values.dtype.kind == "U":
        return np.unique(values, return_inverse=True)[1]
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values), int)
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, BINS + 1)[1:-1]))
    found = np.searchsorted(edges, np.where(known, values, 0), side="right")
    return np.where(known, found, len(edges) + 1)


def holm(p: np.ndarray) -> np.ndarray:
    """Returns p values [tests] that may each be held against one level for all (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(stepped, 1)
    return found


def _auroc(inside: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns the AUROC [draws] of ranking pictures by the other half's share of their bin.

    Args:
      inside: [draws, 2 * bins] int, pictures of the cluster in each bin, the halves in turn.
      sizes: [2 * bins] int, all pictures there.
    """
    both = []
    for half in (0, 1):
        own, other = inside[:, half::2], inside[:, 1 - half :: 2]
        rest, beside = sizes[half::2] - own, sizes[1 - half :: 2]
        overall = other.sum(axis=1, keepdims=True) / max(beside.sum(), 1)
        order = np.argsort((other + overall) / (beside + 1), axis=1, kind="stable")
        own, rest = (np.take_along_axis(each, order, axis=1) for each in (own, rest))
        below = np.cumsum(rest, axis=1) - rest / 2
        pairs = own.sum(axis=1) * rest.sum(axis=1)
        both.append(np.where(pairs > 0, (own * below).sum(axis=1) / np.maximum(pairs, 1), 0.5))
    return np.mean(both, axis=0)


def _rho(score: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    if len(score) < 3 or np.ptp(score) == 0 or np.ptp(values) == 0:
        return 0.0, 1.0
    found = stats.spearmanr(score, values)
    return float(found.statistic), float(found.pvalue)


def _eta_squared(score: np.ndarray, names: np.ndarray) -> tuple[float, float]:
    """Returns the share of the variance of the score's ranks that lies between names, and p.

    Less what as many names would take by chance (epsilon squared: Kelley 1935), so that many small
    groups explain nothing by their number alone.
    """
    ranks, kinds = stats.rankdata(score), np.unique(names)
    count, groups = len(score), len(kinds)
    if groups < 2 or np.ptp(score) == 0 or count <= groups:
        return 0.0, 1.0
    parts = [ranks[names == kind] for kind in kinds]
    between = sum(len(part) * (part.mean() - ranks.mean()) ** 2 for part in parts)
    share = between / ((ranks - ranks.mean()) ** 2).sum()
    honest = 1 - (1 - share) * (count - 1) / (count - groups)
    return float(max(honest, 0)), float(stats.kruskal(*parts).pvalue)


def _judged(rows: list[tuple], *, strong: Callable[[pd.DataFrame], pd.Series]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["what", "nuisance", "measure", "value", "p"])
    frame["p"] = holm(frame["p"].to_numpy(float))
    return frame.assign(explained=strong(frame) & (frame["p"] < LEVEL))


def _number(row) -> str:
    small = "p < 0.001" if row.p < 0.001 else f"p = {row.p:.3f}"
    return f"{row.nuisance} ({row.measure} {row.value:.2f}, {small})"
