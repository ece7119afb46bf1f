"""How each model is tuned on each task. One module of spaces a task; its docstring is the lab note.

A space is a function of KerasTuner's `hp` that returns keyword arguments of a model's builder.
This package knows nothing of models, data or searches, and imports none of them.
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

SEARCHES: dict[tuple[str, str], Search] = {
    **{("melt-layer", model): search for model, search in melt_layer.SEARCHES.items()},
    **{("insolubles", model): search for model, search in insolubles.SEARCHES.items()},
    **{("ccd-tracks", model): search for model, search in ccd_tracks.SEARCHES.items()},
    **{("folds", model): search for model, search in fold_geometry.SEARCHES.items()},
    **{("ionization-redshift", model): search for model, search in ionization.SEARCHES.items()},
    **{
        ("ionization-escape-fraction", model): search
        for model, search in ionization.SEARCHES.items()
    },
}
# Where the seed says how all networks of its table were trained.
TRAININGS = {"folds": training_spaces.one_cycle}


def search_of(task: str, model: str) -> Search | None:
    """Returns how a model is tuned on a task; one without spaces of its own has those of any."""
    return SEARCHES.get((task, model)) or image_folder.SEARCHES.get(model)


def training_of(task: str) -> Callable[[Any], dict]:
    """Returns how the networks of a comparison learn, with a rate that falls to 0."""
    return TRAININGS.get(task, training_spaces.cosine)
