"""The figure of a comparison: each model's scores on all folds, side by side."""

import io

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfpipe.base import figures
from tfpipe.evaluation.metric_names import title_of

SHOWN = ("accuracy", "balanced_accuracy")
DPI = 160


def compared(frame: pd.DataFrame) -> bytes:
    """Draws accuracy and balanced accuracy of each model: a dot a fold, a line at the mean.

    Args:
      frame: as `compare.compare` returns it.

    Returns:
      A PNG.
    """
    names = list(dict.fromkeys(frame["model"]))
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(2 + 1.5 * len(names), figures.HEIGHT_IN), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        for metric, offset, colour in zip(SHOWN, (-0.12, 0.12), figures.COLOURS, strict=False):
            for place, name in enumerate(names):
                values = frame.loc[frame["model"] == name, metric].to_numpy(float)
                axes.plot(np.full(len(values), place + offset), values, "o", ms=4, color=colour)
                mean, half = values.mean(), 0.1
                axes.hlines(mean, place + offset - half, place + offset + half, color=colour, lw=3)
            axes.plot([], [], "o", color=colour, label=title_of(metric))
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylabel("share of held-out examples, a dot a fold")
        axes.set_title("The same grouped folds for all")
        axes.legend(loc="lower right")
        file = io.BytesIO()
        canvas.print_png(file, metadata={"Software": None}, pil_kwargs={})
        return file.getvalue()
