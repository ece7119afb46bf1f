"""Temperature scaling: calibrated probabilities with the same predicted classes."""

from typing import NamedTuple

import numpy as np
from scipy import optimize

BINS = 15  # of the calibration error, as in Guo et al. (2017)
# A temperature below 1 sharpens. Without an error on the validation split it would fall to 0, and
# every probability become 0 or 1 without evidence. So the bound is that of a squaring.
COLDEST, HOTTEST = 0.5, 10.0
MIN_PROBABILITY = 1e-12


class Fit(NamedTuple):
    """A fitted temperature.

    Attributes:
      temperature: what log-probabilities are divided by; above 1 for an overconfident model.
      note: a sentence where the fit ended at a bound, else "".
    """

    temperature: float
    note: str


def fit(labels: np.ndarray, probabilities: np.ndarray) -> Fit:
    """Returns the temperature with the highest likelihood of the validation examples.

    Guo et al. (2017), arXiv:1706.04599, section 4.2. They divide logits; log-probabilities differ
    from logits by a constant per example, which softmax removes.

    Args:
      labels: [n] int, of the validation split.
      probabilities: [n, classes] float, of a model that was not trained on these examples.
    """
    if not len(labels):
        return Fit(1.0, "There is no labelled example to fit a temperature on, so it is 1.")
    logits = _logits(probabilities)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        true = scaled[np.arange(len(labels)), labels]
        return float(np.mean(_log_sum(scaled)[:, 0] - true))

    # In 1 / temperature the loss is convex, so in its logarithm it has one minimum at most.
    bounds = np.log(COLDEST), np.log(HOTTEST)
    best = optimize.minimize_scalar(
        loss, bounds=bounds, method="bounded", options={"xatol": 1e-6, "maxiter": 200}
    )
    near = next((bound for bound in bounds if abs(best.x - bound) < 1e-3), None)
    if near is None:
        return Fit(float(np.exp(best.x)), "")
    bound = COLDEST if near == bounds[0] else HOTTEST
    reasons = {
        COLDEST: "have too few errors to calibrate by",
        HOTTEST: "have no fewer errors where the model is confident",
    }
    return Fit(
        bound,
        f"The temperature ended at its bound of {bound:g}: the {len(labels):,} validation examples "
        f"{reasons[bound]}.",
    )


def apply(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns probabilities [..., classes] float64 at a temperature.

    The most probable class stays the same, for float32 input even in near ties.
    `apply(apply(p, t), 1 / t)` is p again.
    """
    scaled = _logits(probabilities) / temperature
    return np.exp(scaled - _log_sum(scaled))


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, *, bins: int = BINS) -> float:
    """Returns the expected calibration error (0..1) of the predicted class.

    Guo et al. (2017), eq. 3, but over bins of equally many examples: a confident model fills only
    the last of equally wide ones (Nixon et al. 2019, arXiv:1904.01685, section 4.3). Examples of
    equal confidence share a bin.

    Args:
      labels: [n] int.
      probabilities: [n, classes] float.
      bins: at most.
    """
    curve = reliability(labels, probabilities, bins=bins)
    return float(np.average(np.abs(curve.accuracy - curve.confidence), weights=curve.counts))


class Reliability(NamedTuple):
    """Confidence and accuracy of a model, in bins of rising confidence.

    Attributes:
      confidence: [bins] float, mean probability of the predicted class.
      accuracy: [bins] float, share of correct predictions.
      counts: [bins] int, examples.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray


def reliability(labels: np.ndarray, probabilities: np.ndarray, *, bins: int = BINS) -> Reliability:
    """Returns the bins of `calibration_error` and of a reliability diagram."""
    confidence = probabilities.max(axis=1)
    is_correct = probabilities.argmax(axis=1) == labels
    starts = [part[0] for part in np.array_split(np.sort(confidence), min(bins, len(confidence)))]
    _, bin_numbers, counts = np.unique(
        np.searchsorted(starts, confidence, side="right"), return_inverse=True, return_counts=True
    )
    return Reliability(
        np.bincount(bin_numbers, weights=confidence) / counts,
        np.bincount(bin_numbers, weights=is_correct) / counts,
        counts,
    )


def _logits(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), MIN_PROBABILITY))


def _log_sum(logits: np.ndarray) -> np.ndarray:
    """Returns the logarithm of the sum of exponentials [..., 1]."""
    highest = logits.max(axis=-1, keepdims=True)
    return highest + np.log(np.exp(logits - highest).sum(axis=-1, keepdims=True))
