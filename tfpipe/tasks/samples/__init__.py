"""Small raw data sets in each task's real format, with the truth beside them."""

import inspect
from collections.abc import Callable
from pathlib import Path

from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.tasks.samples import ccd_tracks, fold_geometry, insolubles, ionization, melt_layer

SAMPLES: dict[str, Callable[..., dict]] = {
    "melt-layer": melt_layer.draw,
    "insolubles": insolubles.draw,
    "ccd-tracks": ccd_tracks.draw,
    "folds": fold_geometry.draw,
    "ionization-redshift": ionization.draw,
    "ionization-escape-fraction": ionization.draw,
}


def draw(task: str, folder: Path, *, seed: int, **sizes: float | str | None) -> dict:
    """Draws a task's sample into a folder.

    Args:
      task: name of the task.
      folder: to be made; must not hold anything yet.
      seed: of everything random.
      **sizes: numbers that some samples take, such as how many photos; None for the default.

    Returns:
      How many of what there are, and the path of the truth.

    Raises:
      UserError: no such sample, or it takes no such number; and whatever it says itself.
    """
    drawer = SAMPLES[choose(task, SAMPLES, noun="sample")]
    keywords = {name: value for name, value in sizes.items() if value is not None}
    taken = [name for name in inspect.signature(drawer).parameters if name != "folder"]
    for name in keywords:
        if name not in taken:
            offered = ", ".join(map(option_of, taken))
            raise UserError(f"{task} has no {option_of(name)} to draw. It has {offered}.")
    return drawer(folder, seed=seed, **keywords)


def option_of(name: str) -> str:
    """Returns what users type for a keyword argument."""
    return f"--{name.replace('_', '-')}"
