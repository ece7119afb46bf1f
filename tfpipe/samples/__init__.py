"""Small raw data sets in each task's real format, with the truth beside them."""

from collections.abc import Callable

from tfpipe.samples import melt_layer
from tfpipe.task import choose

SAMPLES: dict[str, Callable[..., dict]] = {"melt-layer": melt_layer.draw}


def find(task: str) -> Callable[..., dict]:
    """Returns the function that draws a task's sample."""
    return SAMPLES[choose(task, SAMPLES, noun="sample")]
