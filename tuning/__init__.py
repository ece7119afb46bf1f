"""Hyperparameter spaces: a module for each task, whose docstring is its lab note.

A space is a function of KerasTuner's `hp` that returns keyword arguments of a model's builder. This
package imports neither models nor data, and runs no searches.
"""

from collections.abc import Callable
from typing import Any

from tuning import (
    ccd_tracks,
    fold_geometry,
    image_folder,
    insolubles,
    ionization,
    melt_layer,
    training_spaces,
)
from tuning.search import Search as Search

# Task -> model -> search.
TASK_SEARCHES: dict[str, dict[str, Search]] = {
    "melt-layer": melt_layer.SEARCHES,
    "insolubles": insolubles.SEARCHES,
    "ccd-tracks": ccd_tracks.SEARCHES,
    "folds": fold_geometry.SEARCHES,
    "ionization-redshift": ionization.SEARCHES,
    "ionization-escape-fraction": ionization.SEARCHES,
}
SEARCHES: dict[tuple[str, str], Search] = {
    (task, model): search
    for task, searches in TASK_SEARCHES.items()
    for model, search in searches.items()
}
# Tasks whose seed document trained all networks of its table in the same way.
TRAININGS = {"folds": training_spaces.one_cycle}


def search_of(task: str, model: str) -> Search | None:
    """Returns the search of a model on a task, or that of any image folder; None without either."""
    return SEARCHES.get((task, model)) or image_folder.SEARCHES.get(model)


def training_of(task: str) -> Callable[[Any], dict]:
    """Returns the training space of a comparison's networks; its learning rate falls to 0."""
    return TRAININGS.get(task, training_spaces.cosine)
