"""Confidence of a classifier: reliability diagram, risk-coverage curve and abstention."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from tfpipe.base import html
from tfpipe.base.figures import COLOURS, INK, StyledFigure
from tfpipe.evaluation import calibration, selective
from tfpipe.evaluation.selective import RiskCoverage
from tfpipe.report import plots
from tfpipe.report.report_data import ReportData
from tfpipe.report.sections import Section


def titled_sections(data: ReportData) -> tuple[Section, ...]:
    """Returns (title, function of the data) of each section."""
    return (("Calibration", _calibration), ("Abstention", _abstention))


def reliability(
    labels: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray, *, fit: dict[str, Any]
) -> Markup:
    """Returns the reliability diagram of a classifier before and after calibration.

    Args:
      labels: [n] int, of a split that the temperature was not fitted on.
      probabilities: [n, classes] float, calibrated.
      predicted: [n] int, by the decision rule.
      fit: of the card, see `calibration.Fit`.
    """
    temperature, bias = fit["temperature"], fit.get("bias", ())
    uncalibrated = calibration.undo(probabilities, temperature, bias)
    before, after = (
        calibration.calibration_error(labels, values, predicted=predicted)
        for values in (uncalibrated, probabilities)
    )
    class_before, class_after = (
        calibration.class_calibration_error(labels, values)
        for values in (uncalibrated, probabilities)
    )
    balance = (
        "A bias for each class undoes the shares in which training saw the classes. "
        if any(bias)
        else ""
    )
    text = (
        f"A temperature of {temperature:.3f} divides the logits (fitted on the validation split, "
        f"where the model was {'over' if temperature > 1 else 'under'}confident). {balance}On the "
        f"test split, the calibration error went from {before:.4f} to {after:.4f}. It is the "
        f"difference between mean confidence and accuracy, averaged over {calibration.BINS} bins "
        f"of equally many examples. The class-wise error, the mean of such errors of each class's "
        f"own probability, went from {class_before:.4f} to {class_after:.4f}."
    )
    caption = "The nearer to the dashed line, the better a probability can be relied on."
    figure = draw_reliability(labels, uncalibrated, probabilities)
    return html.joined(
        html.paragraph(text),
        html.paragraph(fit["note"], style="soft") if fit["note"] else None,
        html.plot(plots.svg_of(figure), caption=caption),
    )


def risk_coverage(labels: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray) -> Markup:
    """Returns the error of a classifier that predicts only its most confident examples.

    Args:
      labels: [n] int.
      probabilities: [n, classes] float.
      predicted: [n] int, by the decision rule.
    """
    curve = selective.risk_coverage(labels, probabilities, predicted=predicted)
    half = int(np.searchsorted(curve.coverage, 0.5))
    caption = (
        f"Of all test examples, {100 * curve.risk[-1]:.1f} % are classified wrongly; of the most "
        f"confident half, {100 * curve.risk[half]:.1f} %."
    )
    return html.plot(draw_risk_coverage(curve), caption=caption)


def thresholds(
    labels: np.ndarray,
    probabilities: np.ndarray,
    chosen: np.ndarray,
    *,
    groups: np.ndarray,
    predicted: np.ndarray,
    classes: Sequence[str],
    min_precision: float,
) -> Markup:
    """Returns each class's confidence threshold, and its precision on the test split.

    Args:
      labels: [n] int, of a split that the thresholds were not chosen on.
      probabilities: [n, classes] float.
      chosen: [classes] float, see `selective.thresholds`.
      groups: [n], for whose kind the intervals are.
      predicted: [n] int, by the decision rule.
      classes: names in label order.
      min_precision: the precision that they were chosen for.
    """
    precisions = selective.class_precision(
        labels, probabilities, chosen, groups=groups, predicted=predicted
    )
    rows = [
        (
            name,
            html.number(threshold, why="always abstains"),
            result.most_probable,
            result.predicted,
            html.number(result.precision, why="never predicted"),
            _interval(result),
        )
        for name, threshold, result in zip(classes, chosen.tolist(), precisions, strict=True)
    ]
    n_confident = sum(result.predicted for result in precisions)
    text = (
        f"A class is predicted only from its threshold on; below it, the model abstains. The "
        f"thresholds were chosen on the validation split, with a margin, for a precision of "
        f"{min_precision:g}. On the test split, {n_confident:,} of {len(labels):,} examples are "
        f"predicted so. The intervals are for new groups; one group alone cannot show them."
    )
    headings = ("class", "threshold", "by the rule", "predicted", "precision", "95 % interval")
    return html.joined(html.paragraph(text), html.table(headings, rows))


def _interval(result: selective.ClassPrecision) -> str:
    return "" if result.low is None else f"{result.low:.3f} to {result.high:.3f}"


def draw_reliability(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> StyledFigure:
    """Returns the figure of accuracy against confidence.

    Args:
      labels: [n] int.
      before: [n, classes] float, probabilities before calibration.
      after: likewise, after calibration.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, lw=1, ls="--", label="perfect calibration")
        curves = (("before", before, COLOURS[1]), ("calibrated", after, COLOURS[0]))
        for name, probabilities, colour in curves:
            curve = calibration.reliability(labels, probabilities)
            error = calibration.calibration_error(labels, probabilities)
            label = f"{name}, error {error:.3f}"
            axes.plot(curve.confidence, curve.accuracy, marker="o", ms=4, color=colour, label=label)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.05))
        axes.legend(loc="upper left")
        plots.titles(axes, "Reliability", x="probability of the predicted class", y="accuracy")

    return plots.drawn(draw)


def draw_risk_coverage(curve: RiskCoverage) -> str:
    """Returns the SVG of the error against the share of examples predicted."""

    def draw(axes: Axes) -> None:
        label = f"area {curve.area:.4f} (best possible {curve.best:.4f})"
        axes.plot(curve.coverage, curve.risk, color=COLOURS[0], label=label)
        axes.plot(1, curve.risk[-1], "o", color=COLOURS[1], ms=8, label="no abstention")
        axes.set(xlim=(-0.02, 1.02), ylim=(0, max(0.05, 1.3 * float(curve.risk.max()))))
        axes.legend(loc="upper left")
        plots.titles(axes, "Risk and coverage", x="coverage", y="risk (share wrong)")

    return plots.svg(draw)


def _calibration(data: ReportData) -> Markup | None:
    fit = data.card.calibration
    if not fit:
        return None
    return reliability(
        data.test.labels,
        data.test.probabilities,
        data.test.predicted,
        fit=fit,
    )


def _abstention(data: ReportData) -> Markup | None:
    abstention = data.card.abstention
    if not abstention:
        return None
    test = data.test
    table = thresholds(
        test.labels,
        test.probabilities,
        selective.from_card(abstention["thresholds"], classes=test.classes),
        groups=data.scored[data.group_column].to_numpy(str),
        predicted=test.predicted,
        classes=test.classes,
        min_precision=abstention["min_precision"],
    )
    return html.joined(table, risk_coverage(test.labels, test.probabilities, test.predicted))
