"""How each model is tuned on each task. One module of spaces a task; its docstring is the lab note.

A space is a function of KerasTuner's `hp` that returns keyword arguments of a model's builder.
This package knows nothing of models, data or searches, and imports none of them.
"""

from tuning import insolubles, ionization, melt_layer
from tuning.search import Search as Search

SEARCHES: dict[tuple[str, str], Search] = {
    **{("melt-layer", model): search for model, search in melt_layer.SEARCHES.items()},
    **{("insolubles", model): search for model, search in insolubles.SEARCHES.items()},
    **{("ionization-redshift", model): search for model, search in ionization.SEARCHES.items()},
    **{
        ("ionization-escape-fraction", model): search
        for model, search in ionization.SEARCHES.items()
    },
}
