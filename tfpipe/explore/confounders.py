"""Confounders: whether light, crop, place or group explains a cluster or a novelty score.

The clusters of seed document 000 were "mainly based on cropping, lighting or position in frame".
Each such nuisance is measured and tested alone, with the size of its effect.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from tfpipe.data.near_duplicates import crop_border
from tfpipe.evaluation import sharpness

N_BINS = 10  # quantile bins of a number
EXPLAINS_AUROC = 0.8  # a nuisance ranks an image of the cluster above another 4 times of 5
EXPLAINS_SHARE = 0.25  # of a score's ranks: Spearman's rho squared, or eta squared
N_PERMUTATIONS = 499  # a normal tail extends them, as Holm's smallest p is smaller than 1 / 499
LEVEL = 0.05  # of all tests together (Holm 1979)
HALF = 0.5  # of the contrast, where the particle's outline is
# Metadata of where a particle lay, and in which minute of the run.
PLACES = ("image_x", "image_y", "src_x", "src_y", "elapsed_time", "timestamp")


class Nuisances(NamedTuple):
    """Properties that may separate images of the same content.

    Attributes:
      brightness: of the background, in the image's units.
      contrast: difference of the particle's darkest or brightest parts from the background.
      size: diameter of a disc of the particle's area, in px.
      padding: share of the image that is one colour, added around the crop.
      border_contact: share of the crop's border that the particle lies on.
      sharpness: reciprocal of the blur of edges, in 1/px; see `evaluation.sharpness`.
    """

    brightness: float
    contrast: float
    size: float
    padding: float
    border_contact: float
    sharpness: float


def measure_nuisances(images: np.ndarray) -> np.ndarray:
    """Returns the nuisances of images [n, height, width, channels], [n, 6] float."""
    rows = [_nuisances(image) for image in images]
    return np.array(rows).reshape(-1, len(Nuisances._fields))


def nuisance_columns(measures: np.ndarray, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Returns name -> value of each image [n] float, and "group" [n] str.

    Args:
      measures: [n, 6] float, from `measure_nuisances`.
      frame: a row for each image, with "group" and any of the columns `PLACES`.
    """
    columns = dict(zip(Nuisances._fields, measures.T, strict=True))
    for name in PLACES:
        if name in frame and frame[name].dtype.kind in "iuf":
            columns[name] = frame[name].to_numpy(float)
    columns["group"] = frame["group"].to_numpy(str)
    return columns


def of_clusters(
    clusters: np.ndarray, nuisances: dict[str, np.ndarray], *, seed: int = 0
) -> pd.DataFrame:
    """Tests each cluster against each nuisance.

    A nuisance is cut into bins. The share of the cluster in each bin is estimated on one half of
    the images and ranks the other half. So a band in the middle counts as much as an end, and names
    count as much as numbers.

    Args:
      clusters: [n] int; -1 for none.
      nuisances: name -> [n] float, or [n] str for names such as the group.
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
            # Permuting the members draws from the cells without replacement.
            permuted = rng.multivariate_hypergeometric(
                sizes, inside.sum(), N_PERMUTATIONS, method="marginals"
            )
            chance = _auroc(permuted, sizes)
            p = stats.norm.sf(value, chance.mean(), chance.std() or 1)
            rows.append((f"cluster {number}", name, "AUROC", value, p))
    return _with_decisions(rows, is_strong=lambda frame: frame["value"] >= EXPLAINS_AUROC)


def of_scores(scores: dict[str, np.ndarray], nuisances: dict[str, np.ndarray]) -> pd.DataFrame:
    """Tests each score [n] float against each nuisance: Spearman's rho, or eta squared for names.

    Returns:
      As `of_clusters`; "p" is Spearman's, or that of Kruskal and Wallis for names.
    """
    rows = []
    for what, score in scores.items():
        for name, values in nuisances.items():
            if values.dtype.kind == "U":
                rows.append((what, name, "eta squared", *_eta_squared(score, values)))
            else:
                is_finite = np.isfinite(values)
                rho = _rho(score[is_finite], values[is_finite])
                rows.append((what, name, "Spearman's rho", *rho))

    def is_strong(frame: pd.DataFrame) -> pd.Series:
        share = frame["value"].where(frame["measure"] == "eta squared", frame["value"] ** 2)
        return share >= EXPLAINS_SHARE

    return _with_decisions(rows, is_strong=is_strong)


def in_words(frame: pd.DataFrame) -> dict[str, str]:
    """Returns a sentence for each cluster or score; the strongest explanation comes first."""
    sentences = {}
    for what, rows in frame.groupby("what", sort=False):
        rows = rows.reindex(rows["value"].abs().sort_values(ascending=False, kind="stable").index)
        explained = rows[rows["explained"]]
        if len(explained):
            effects = ", ".join(map(_effect, explained.itertuples()))
            text = f"{what.capitalize()} may be no more than {effects}."
        else:
            strongest = _effect(next(rows.itertuples()))
            text = f"{what.capitalize()} is explained by none of these; nearest is {strongest}."
        sentences[what] = text.replace("_", " ")
    return sentences


def bins(values: np.ndarray) -> np.ndarray:
    """Returns the bin [n] int from 0 of each value [n]; missing numbers share a separate bin."""
    if values.dtype.kind == "U":
        return np.unique(values, return_inverse=True)[1]
    is_finite = np.isfinite(values)
    if not is_finite.any():
        return np.zeros(len(values), int)
    edges = np.unique(np.quantile(values[is_finite], np.linspace(0, 1, N_BINS + 1)[1:-1]))
    numbers = np.searchsorted(edges, np.where(is_finite, values, 0), side="right")
    return np.where(is_finite, numbers, len(edges) + 1)


def holm(p: np.ndarray) -> np.ndarray:
    """Returns p values [tests] adjusted for the number of tests (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _nuisances(image: np.ndarray) -> Nuisances:
    crop = crop_border(image)
    grey = np.nan_to_num(crop.astype(np.float32)).mean(axis=2)
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    background = float(np.median(border))
    distance = np.abs(grey - background)
    # The most extreme pixels are noise, or a glint.
    contrast = float(np.percentile(distance, 98))
    is_particle = distance > max(HALF * contrast, np.finfo(np.float32).tiny)
    sides = [is_particle[0], is_particle[-1], is_particle[1:-1, 0], is_particle[1:-1, -1]]
    return Nuisances(
        brightness=background,
        contrast=contrast,
        size=float(2 * np.sqrt(is_particle.sum() / np.pi)),
        padding=1 - grey.size / (image.shape[0] * image.shape[1]),
        border_contact=float(np.concatenate(sides).mean()),
        sharpness=float(sharpness.measure(image[None])[0]),
    )


def _auroc(inside: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns the AUROC [draws] of ranking images by the other half's share of their bin.

    Args:
      inside: [draws, 2 * bins] int, images of the cluster in each bin; the halves alternate.
      sizes: [2 * bins] int, all images of each bin.
    """
    halves = []
    for half in (0, 1):
        positives, estimated = inside[:, half::2], inside[:, 1 - half :: 2]
        negatives, estimated_sizes = sizes[half::2] - positives, sizes[1 - half :: 2]
        overall = estimated.sum(axis=1, keepdims=True) / max(estimated_sizes.sum(), 1)
        order = np.argsort((estimated + overall) / (estimated_sizes + 1), axis=1, kind="stable")
        positives = np.take_along_axis(positives, order, axis=1)
        negatives = np.take_along_axis(negatives, order, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        ordered = (positives * below).sum(axis=1)
        halves.append(np.where(pairs > 0, ordered / np.maximum(pairs, 1), 0.5))
    return np.mean(halves, axis=0)


def _rho(score: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Returns Spearman's rho and its p value; 0 and 1 where it has no meaning."""
    if len(score) < 3 or np.ptp(score) == 0 or np.ptp(values) == 0:
        return 0.0, 1.0
    result = stats.spearmanr(score, values)
    return float(result.statistic), float(result.pvalue)


def _eta_squared(score: np.ndarray, names: np.ndarray) -> tuple[float, float]:
    """Returns the share of the variance of the score's ranks that lies between names, and p.

    The share expected by chance is taken off (epsilon squared: Kelley 1935), so that many small
    groups explain nothing by their number alone.
    """
    ranks, categories = stats.rankdata(score), np.unique(names)
    n_examples, n_groups = len(score), len(categories)
    if n_groups < 2 or np.ptp(score) == 0 or n_examples <= n_groups:
        return 0.0, 1.0
    parts = [ranks[names == category] for category in categories]
    between = sum(len(part) * (part.mean() - ranks.mean()) ** 2 for part in parts)
    share = between / ((ranks - ranks.mean()) ** 2).sum()
    adjusted = 1 - (1 - share) * (n_examples - 1) / (n_examples - n_groups)
    return float(max(adjusted, 0)), float(stats.kruskal(*parts).pvalue)


def _with_decisions(
    rows: list[tuple], *, is_strong: Callable[[pd.DataFrame], pd.Series]
) -> pd.DataFrame:
    """Returns the tests as a table, with adjusted p values and "explained"."""
    frame = pd.DataFrame(rows, columns=["what", "nuisance", "measure", "value", "p"])
    frame["p"] = holm(frame["p"].to_numpy(float))
    return frame.assign(explained=is_strong(frame) & (frame["p"] < LEVEL))


def _effect(row) -> str:
    p = "p < 0.001" if row.p < 0.001 else f"p = {row.p:.3f}"
    return f"{row.nuisance} ({row.measure} {row.value:.2f}, {p})"
