"""Figures of how sure a classifier is: each function draws one, see `plots`."""

import numpy as np
from matplotlib.axes import Axes

from tfpipe.base.figures import COLOURS, INK
from tfpipe.evaluation import calibration
from tfpipe.evaluation.selective import RiskCoverage
from tfpipe.report import plots


def reliability(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> str:
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


def risk_coverage(curve: RiskCoverage) -> str:
    """Draws the share named wrongly against the share that is named at all, the surest first."""

    def draw(axes: Axes) -> None:
        label = f"area {curve.area:.4f} (best possible {curve.best:.4f})"
        axes.plot(curve.coverage, curve.risk, color=COLOURS[0], label=label)
        axes.plot(1, curve.risk[-1], "o", color=COLOURS[1], ms=8, label="all are named")
        axes.set(xlim=(-0.02, 1.02), ylim=(0, max(0.05, 1.3 * float(curve.risk.max()))))
        axes.legend(loc="upper left")
        plots.titles(axes, "Risk and coverage", x="share named", y="share of these named wrongly")

    return plots.drawn(draw)
