"""What a report tells of how sure a classifier is, from plain arrays or from a version's facts."""

import numpy as np

from tfpipe.base import html
from tfpipe.base.html import Html, joined, tag
from tfpipe.evaluation import calibration, selective
from tfpipe.report import confidence_plots
from tfpipe.report.facts import Facts


def titled(known: Facts):
    """Returns (title, function of the facts) of each section, none for cards that tell nothing."""
    return (
        ("How sure it may be", _of_facts_reliability),
        ("What to leave unsaid", _of_facts_unsaid),
    )


def reliability(
    labels: np.ndarray, probabilities: np.ndarray, *, temperature: float, note: str = ""
) -> Html:
    """Tells how often a classifier is right where it is so sure, before and after calibration.

    Args:
      labels: [n] int, of a split that the temperature was not fitted on.
      probabilities: [n, classes] float, calibrated.
      temperature: they were divided by, as logits.
      note: of the fit, see `calibration.Fit`.
    """
    before = calibration.apply(probabilities, 1 / temperature)
    errors = [calibration.calibration_error(labels, each) for each in (before, probabilities)]
    text = (
        f"Fitted on examples kept from the training, a temperature of {temperature:.3f} divides "
        f"the logits: there the model was too {'sure' if temperature > 1 else 'modest'}. The "
        f"calibration error, by how much sureness and share right differ (mean over "
        f"{calibration.BINS} bins of equally many examples), went from {errors[0]:.4f} to "
        f"{errors[1]:.4f} on the test split. Which class is named stays the same."
    )
    drawn = confidence_plots.reliability(labels, before, probabilities)
    return joined(
        tag("p", text),
        tag("p", note, class_="soft") if note else None,
        html.plot(drawn, caption="The nearer to the dashed line, the more a probability is worth."),
    )


def risk_coverage(labels: np.ndarray, probabilities: np.ndarray) -> Html:
    """Tells how often a classifier errs if it names only its surest examples."""
    curve = selective.risk_coverage(labels, probabilities)
    half = int(np.searchsorted(curve.coverage, 0.5))
    says = (
        f"Of all test examples {100 * curve.risk[-1]:.1f} % are named wrongly, of the surest half "
        f"{100 * curve.risk[half]:.1f} %."
    )
    return html.plot(confidence_plots.risk_coverage(curve), caption=says)


def thresholds(
    labels: np.ndarray, probabilities: np.ndarray, chosen: np.ndarray, *, classes, asked: float
) -> Html:
    """Tells below which probability each class is unsure, and what that gives.

    Args:
      labels: [n] int, of a split that the thresholds were not chosen on.
      probabilities: [n, classes] float.
      chosen: [classes] float, see `selective.thresholds`.
      classes: names in label order.
      asked: the least precision.
    """
    rows = []
    told = selective.realised(labels, probabilities, chosen)
    for name, least, one in zip(classes, chosen.tolist(), told, strict=True):
        interval = "" if one.low is None else f"{one.low:.3f} to {one.high:.3f}"
        least = html.number(least, why="always unsure")
        precision = html.number(one.precision, why="never said")
        rows.append((name, least, one.called, one.times, precision, interval))
    named = sum(one.times for one in told)
    text = (
        f"To be right {100 * asked:g} times of 100, a class is said only from this probability "
        f"on, chosen with a margin on examples kept from the training; else the answer is unsure. "
        f"On the test split {named:,} of {len(labels):,} are named so."
    )
    headings = ("class", "said from", "likeliest", "said", "precision", "95 % interval")
    return joined(tag("p", text), html.table(headings, rows))


def _of_facts_reliability(known: Facts) -> Html | None:
    told = known.card.get("calibration")
    if not told:
        return None
    judged = known.test
    return reliability(
        judged.labels,
        judged.probabilities,
        temperature=told["temperature"],
        note=told["note"],
    )


def _of_facts_unsaid(known: Facts) -> Html | None:
    told = known.card.get("abstention")
    if not told:
        return None
    judged = known.test
    table = thresholds(
        judged.labels,
        judged.probabilities,
        selective.of_card(told["thresholds"], classes=judged.classes),
        **{"classes": judged.classes, "asked": told["min_precision"]},
    )
    return joined(table, risk_coverage(judged.labels, judged.probabilities))
