"""Calibration: a temperature and a bias for each class, fitted on the validation split."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize

BINS = 15  # of the calibration error, as in Guo et al. (2017)
# A temperature below 1 sharpens. Without an error on the validation split it would fall to 0, and
# every probability become 0 or 1 without evidence. So the bound is that of a squaring.
COLDEST, HOTTEST = 0.5, 10.0
MIN_PROBABILITY = 1e-12
BIAS_DEVIATION = 0.3  # by which a class's bias may differ from the known shift of its prior
FEW_ERRORS = 10
FOLDS = 5


class Fit(NamedTuple):
    """A fitted calibration.

    Attributes:
      temperature: what log-probabilities are divided by; above 1 for an overconfident model.
      note: a sentence where the temperature ended at a bound, else "".
      bias: [classes], what is added to the log-probabilities afterwards; () for none.
    """

    temperature: float
    note: str
    bias: tuple[float, ...] = ()


def fit_by_groups(
    labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, *, prior_shift: np.ndarray
) -> Fit:
    """Returns a fit with biases where these help for groups that it was not fitted on.

    Where each run has a class mix of its own, the shares of training are no guide to those of a new
    run. So temperature and biases are fitted without a part of the groups, which they are then
    tried on, five times. The biases stay if the log loss of these groups is lower with them, by
    more than its standard error over the groups; else only a temperature is fitted.

    Args:
      labels: as for `fit`.
      probabilities: likewise.
      groups: [n], such as the run of each example.
      prior_shift: likewise.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    gains = np.zeros(len(names))
    for part in range(FOLDS):
        is_out = numbers % FOLDS == part
        if not is_out.any() or is_out.all():
            continue
        with_bias = fit(labels[~is_out], probabilities[~is_out], prior_shift=prior_shift)
        without = fit(labels[~is_out], probabilities[~is_out], with_bias=False)
        losses = [
            -np.log(np.maximum(apply(probabilities, *one[::2])[is_out, labels[is_out]], 1e-12))
            for one in (without, with_bias)
        ]
        sizes = np.bincount(numbers[is_out], minlength=len(names))
        sums = np.bincount(numbers[is_out], losses[0] - losses[1], minlength=len(names))
        gains += sums / np.maximum(sizes, 1)
    error = gains.std(ddof=1) / np.sqrt(len(names)) if len(names) > 1 else np.inf
    if gains.mean() > error:
        return fit(labels, probabilities, prior_shift=prior_shift)
    return fit(labels, probabilities, with_bias=False)


def fit(
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    prior_shift: np.ndarray | None = None,
    with_bias: bool = True,
) -> Fit:
    """Returns the temperature and the biases of highest posterior on the validation examples.

    A temperature (Guo et al. 2017, arXiv:1706.04599, section 4.2) cannot undo that training saw
    the classes in other shares than there are, by drawing, weights or mining. So each class has a
    bias, too (Alexandari et al. 2020, arXiv:1901.06852). Its prior is a normal distribution about
    minus the known shift, so that few examples of a class change little.

    Args:
      labels: [n] int, of the validation split.
      probabilities: [n, classes] float, of a model that was not trained on these examples.
      prior_shift: [classes], logarithm of each class's share in training over its natural share;
        None for natural shares.
      with_bias: whether classes have biases; if not, only a temperature is fitted.
    """
    classes = probabilities.shape[1]
    known = -(np.zeros(classes) if prior_shift is None else np.asarray(prior_shift, np.float64))
    known = known - known.mean()
    if not len(labels):
        note = "There is no labelled example to fit a temperature on, so it is 1."
        return Fit(1.0, note, tuple(known.tolist()) if with_bias else ())
    logits = _logits(probabilities)
    is_true = np.eye(classes)[labels]

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        colder, bias = np.exp(-values[0]), values[1:]
        scaled = logits * colder + bias
        log_probs = scaled - _log_sum(scaled)
        error = np.exp(log_probs) - is_true
        away = (bias - known) / BIAS_DEVIATION**2
        slope = np.concatenate(([-(error * logits).sum() * colder], error.sum(axis=0) + away))
        value = -(log_probs * is_true).sum() + (away * (bias - known)).sum() / 2
        return value / len(labels), slope / len(labels)

    bounds = [(np.log(COLDEST), np.log(HOTTEST))]
    bounds += [(None, None) if with_bias else (0.0, 0.0)] * classes
    start = np.concatenate(([0.0], known if with_bias else np.zeros(classes)))
    best = optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", tol=1e-10).x
    bias = tuple((best[1:] - best[1:].mean()).tolist()) if with_bias else ()
    near = next((bound for bound in bounds[0] if abs(best[0] - bound) < 1e-3), None)
    if near is None:
        return Fit(float(np.exp(best[0])), "", bias)
    bound = COLDEST if near == bounds[0][0] else HOTTEST
    errors = int((probabilities.argmax(axis=1) != labels).sum())
    reasons = {
        COLDEST: f"have {errors} errors, fewer than the model's probabilities say",
        HOTTEST: "have no fewer errors where the model is confident",
    }
    if errors < FEW_ERRORS:
        reasons[COLDEST] = "have too few errors to calibrate by"
    return Fit(
        bound,
        f"The temperature ended at its bound of {bound:g}: the {len(labels):,} validation examples "
        f"{reasons[bound]}.",
        bias,
    )


def apply(probabilities: np.ndarray, temperature: float, bias: Sequence[float] = ()) -> np.ndarray:
    """Returns probabilities [..., classes] float64 at a temperature and with biases.

    Without biases the most probable class stays the same, for float32 input even in near ties.
    `undo` is the inverse.
    """
    scaled = _logits(probabilities) / temperature + (np.asarray(bias) if len(bias) else 0.0)
    return np.exp(scaled - _log_sum(scaled))


def undo(probabilities: np.ndarray, temperature: float, bias: Sequence[float] = ()) -> np.ndarray:
    """Returns the probabilities [..., classes] float64 that `apply` made these of."""
    shifted = _logits(probabilities) - (np.asarray(bias) if len(bias) else 0.0)
    scaled = shifted * temperature
    return np.exp(scaled - _log_sum(scaled))


def calibration_error(
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    predicted: np.ndarray | None = None,
    bins: int = BINS,
) -> float:
    """Returns the expected calibration error (0..1) of the predicted class.

    Guo et al. (2017), eq. 3, but over bins of equally many examples: a confident model fills only
    the last of equally wide ones (Nixon et al. 2019, arXiv:1904.01685, section 4.3). Examples of
    equal confidence share a bin.

    Args:
      labels: [n] int.
      probabilities: [n, classes] float.
      predicted: [n] int, by the decision rule; None for the most probable class.
      bins: at most.
    """
    curve = reliability(labels, probabilities, predicted=predicted, bins=bins)
    return float(np.average(np.abs(curve.accuracy - curve.confidence), weights=curve.counts))


def class_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, *, bins: int = BINS
) -> float:
    """Returns the class-wise calibration error (0..1): the mean over the classes of their own.

    Kull et al. (2019), arXiv:1910.12656, section 2, over bins of equally many examples. Unlike the
    error of the predicted class it sees that all probabilities of a rare class are too high.

    Args:
      labels: [n] int.
      probabilities: [n, classes] float.
      bins: at most.
    """
    errors = []
    for c in range(probabilities.shape[1]):
        curve = _binned(probabilities[:, c], labels == c, bins=bins)
        errors.append(np.average(np.abs(curve.accuracy - curve.confidence), weights=curve.counts))
    return float(np.mean(errors))


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


def reliability(
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    predicted: np.ndarray | None = None,
    bins: int = BINS,
) -> Reliability:
    """Returns the bins of `calibration_error` and of a reliability diagram."""
    if predicted is None:
        predicted = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(predicted)), predicted]
    return _binned(confidence, predicted == labels, bins=bins)


def _binned(confidence: np.ndarray, is_correct: np.ndarray, *, bins: int) -> Reliability:
    """Returns bins of equally many of the probabilities [n] that something [n] is so."""
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
