"""Temperature scaling: probabilities that are right as often as they say, the classes unchanged."""

from typing import NamedTuple

import numpy as np
from scipy import optimize

BINS = 15  # of the calibration error, as in Guo et al. (2017)
# Below 1 a temperature sharpens. A validation split without a mistake would have it fall to 0 and
# every answer become certain, on no evidence; so more than a squaring is not believed.
COLDEST, HOTTEST = 0.5, 10.0
LEAST = 1e-12  # a probability of 0 stands for no less than this


class Fit(NamedTuple):
    """A temperature, and how it was found.

    Attributes:
      temperature: what log-probabilities are divided by; above 1 where a model was too sure.
      note: a sentence where the fit ended at a bound, else "".
    """

    temperature: float
    note: str


def fit(labels: np.ndarray, probabilities: np.ndarray) -> Fit:
    """Returns the temperature at which validation examples are likeliest.

    Guo et al. (2017), arXiv:1706.04599, section 4.2. They divide logits; log-probabilities differ
    from logits by a constant an example, which softmax takes out again.

    Args:
      labels: [n] int, of the validation split.
      probabilities: [n, classes] float, of a model that never saw these examples.
    """
    if not len(labels):
        return Fit(1.0, "No labelled example was there to fit a temperature on, so it is 1.")
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
    why = {
        COLDEST: "hold too few mistakes to tell how sure the model may be",
        HOTTEST: "are named no better where the model is sure",
    }
    return Fit(
        bound,
        f"The temperature ended at its bound of {bound:g}: the {len(labels):,} validation examples "
        f"{why[bound]}.",
    )


def apply(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns probabilities [..., classes] float64 at a temperature.

    The likeliest class stays so: of answers in float32 even in near ties, thanks to float64.
    `apply(apply(p, t), 1 / t)` is p again.
    """
    scaled = _logits(probabilities) / temperature
    return np.exp(scaled - _log_sum(scaled))


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, *, bins: int = BINS) -> float:
    """Returns the expected calibration error (0..1) of the class named, for two classes or more.

    Guo et al. (2017), eq. 3, but over bins of equally many examples: of equally wide ones a sure
    model fills only the last (Nixon et al. 2019, arXiv:1904.01685, section 4.3). Examples that are
    equally sure share a bin.

    Args:
      labels: [n] int.
      probabilities: [n, classes] float.
      bins: at most.
    """
    curve = reliability(labels, probabilities, bins=bins)
    return float(np.average(np.abs(curve.right - curve.sure), weights=curve.counts))


class Reliability(NamedTuple):
    """How sure a model was and how often it was right, in bins by rising sureness.

    Attributes:
      sure: [bins] float, mean probability of the class named.
      right: [bins] float, share of the bin that is named rightly.
      counts: [bins] int, examples.
    """

    sure: np.ndarray
    right: np.ndarray
    counts: np.ndarray


def reliability(labels: np.ndarray, probabilities: np.ndarray, *, bins: int = BINS) -> Reliability:
    """Returns the bins that `calibration_error` and a reliability diagram are made of."""
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    starts = [part[0] for part in np.array_split(np.sort(sure), min(bins, len(sure)))]
    _, of, counts = np.unique(
        np.searchsorted(starts, sure, side="right"), return_inverse=True, return_counts=True
    )
    return Reliability(
        np.bincount(of, weights=sure) / counts, np.bincount(of, weights=right) / counts, counts
    )


def _logits(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), LEAST))


def _log_sum(logits: np.ndarray) -> np.ndarray:
    """Returns the logarithm of the sum of exponentials [..., 1]."""
    highest = logits.max(axis=-1, keepdims=True)
    return highest + np.log(np.exp(logits - highest).sum(axis=-1, keepdims=True))
