"""What a report tells of how sure a classifier is, from plain arrays or from a version's facts."""

import numpy as np
from matplotlib.axes import Axes

from tfpipe.base import html
from tfpipe.base.figures import COLOURS, INK
from tfpipe.base.html import Html, joined, tag
from tfpipe.evaluation import calibration, selective
from tfpipe.evaluation.selective import RiskCoverage
from tfpipe.report import plots
from tfpipe.report.report_data import ReportData


def titled(known: ReportData):
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
    drawn = draw_reliability(labels, before, probabilities)
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
    return html.plot(draw_risk_coverage(curve), caption=says)


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


def _of_facts_reliability(known: ReportData) -> Html | None:
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


def _of_facts_unsaid(known: ReportData) -> Html | None:
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


def draw_reliability(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> str:
    """Draws how often the class named is right against how sure the model is of it.

    Args:
      labels: [n] int.
      before: [n, classes] float, probabilities as the model gave them.
      after: likewise, calibrated.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, lw=1, ls="--", label="as it should be")
        told = (("before", before, COLOURS[1]), ("calibrated", after, COLOURS[0]))
        for name, probabilities, colour in told:
            curve = calibration.reliability(labels, probabilities)
            error = calibration.calibration_error(labels, probabilities)
            label = f"{name}, error {error:.3f}"
            axes.plot(curve.sure, curve.right, marker="o", ms=4, color=colour, label=label)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.05))
        axes.legend(loc="upper left")
        plots.titles(axes, "Reliability", x="probability of the class named", y="share right")

    return plots.drawn(draw)


def draw_risk_coverage(curve: RiskCoverage) -> str:
    """Draws the share named wrongly against the share that is named at all, the surest first."""

    def draw(axes: Axes) -> None:
        label = f"area {curve.area:.4f} (best possible {curve.best:.4f})"
        axes.plot(curve.coverage, curve.risk, color=COLOURS[0], label=label)
        axes.plot(1, curve.risk[-1], "o", color=COLOURS[1], ms=8, label="all are named")
        axes.set(xlim=(-0.02, 1.02), ylim=(0, max(0.05, 1.3 * float(curve.risk.max()))))
        axes.legend(loc="upper left")
        plots.titles(axes, "Risk and coverage", x="share named", y="share of these named wrongly")

    return plots.drawn(draw)
