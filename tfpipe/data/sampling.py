"""Sampling of training examples: rare and hard ones more often, or class weights, or neither."""

import math
from dataclasses import dataclass

import numpy as np

BALANCES = ("weights", "sampling", "none")
LEAST_STEPS = 64  # batches an epoch, so that a score is not taken after every few examples
HARD_SHARE = 0.25  # of a batch, on average


@dataclass(frozen=True)
class Drawing:
    """How training examples are drawn.

    Attributes:
      seed: of order and augmentation; the same seed gives the same batches.
      batch_size: examples a batch.
      balance: "sampling" draws rare classes more often (`shares`); "weights" and "none" take
        examples as they come.
      unlabelled: whether examples without a label are drawn too, as autoencoders may see them;
        then classes do not count, and examples are taken as they come.
      hard: [training examples] bool, in the records' order, of examples that "sampling" draws
        besides: `HARD_SHARE` of every batch, on average.
      augmentation: one of `augmentation.KINDS`, or "none".
    """

    seed: int
    batch_size: int = 64
    balance: str = "weights"
    unlabelled: bool = False
    hard: np.ndarray | None = None
    augmentation: str = "slices"

    @property
    def samples(self) -> bool:
        """Whether classes are drawn by `shares`."""
        return self.balance == "sampling" and not self.unlabelled


def steps_per_epoch(counts: np.ndarray, drawing: Drawing) -> int:
    """Returns the batches of a training epoch: all examples once.

    With "sampling", so many that the rarest class is seen once, but at least `LEAST_STEPS`.

    Args:
      counts: examples of each class (`class_counts`), or of all kinds together.
      drawing: how they are drawn.
    """
    all_once = math.ceil(counts.sum() / drawing.batch_size)
    if not drawing.samples:
        return all_once
    counts = counts[counts > 0]
    rarest = counts.argmin()
    rare_once = math.ceil(counts[rarest] / shares(counts)[rarest] / drawing.batch_size)
    return min(max(rare_once, LEAST_STEPS), all_once)


def shares(counts: np.ndarray) -> np.ndarray:
    """Returns how often "sampling" draws each class, [classes] float that add up to 1.

    By the fourth root of its count, between equally often (which sees too few of the many kinds of
    nothing: cracks, lenses, breaks) and as it comes; Mahajan et al. (2018), arXiv:1805.00932,
    section 2.2, take the square root.
    """
    roots = counts**0.25
    return roots / roots.sum()


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Returns n / (classes * n_class) for each class, [classes] float32 (King & Zeng 2001)."""
    return (counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype("float32")


def prior_shift(counts: np.ndarray, *, balance: str) -> np.ndarray:
    """Returns the logarithm of each class's share in training over its natural share, [classes].

    Hard mining shifts the shares further, by an amount that is not known beforehand.

    Args:
      counts: training examples of each class; 0 for one that does not occur.
      balance: of `BALANCES`.
    """
    occurs = np.maximum(counts, 1).astype(np.float64)
    factors = {
        "weights": class_weights(occurs).astype(np.float64),
        "sampling": shares(occurs) / occurs,
        "none": np.ones(len(counts)),
    }
    return np.log(factors[balance])
