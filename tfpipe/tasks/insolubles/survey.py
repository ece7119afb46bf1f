"""Finds what an insolubles folder holds, and says what is left out."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import classes, column_selection, detect_format, particle_table
from tfpipe.tasks.insolubles.options import Options
from tfpipe.tasks.insolubles.particle_table import Batch, Particles
from tfpipe.tasks.task import Source, Survey

BATCH = 200  # pictures that are read at once where each particle has a file of its own


def survey(folder: Path, options: Options) -> Survey:
    """Reads the tables of all runs; decodes nothing.

    Args:
      folder: holds a folder for each run or data set, or is one itself.
      options: the user's.

    Returns:
      A source for each collage, or batch of pictures of one run; the classes and columns found; and
      notes on all that is set aside.

    Raises:
      UserError: naming file and line, where tables are damaged or contradict each other.
    """
    found, notes = detect_format.read(folder, options)
    labelled = classes.settle(found, options)
    measured = column_selection.settle(found, options)
    sources, more = _sources(found, labelled[1], measured[1])
    notes += [*labelled[2], *measured[2], *more]
    if not labelled[0]:
        notes.append(
            "No class has enough labelled particles: explore works, telling classes apart does not."
        )
    return _survey(found, sources, notes, labelled[0], measured[0], options)


def survey_new(paths: list[Path], table: Path | None, options: Options) -> Survey:
    """Finds new particles; labels are not looked for.

    Args:
      paths: runs, folders of runs, lists or tables, pictures, or folders of pictures.
      table: what is known of the pictures in `paths`, which are then of one folder; else the tables
        in the folders are taken. Pictures without a table have no columns.
      options: the user's.

    Returns:
      The sources; `columns` are all that the runs share, constant ones too, so that a model finds
      its own by name.

    Raises:
      UserError: as `survey`, and where a path does not exist or holds no particles.
    """
    found, notes = detect_format.read_new(paths, table, options)
    names, values, more = column_selection.settle(found, options, is_new=True)
    nobody = [np.full(len(one.rows), -1) for one in found]
    sources, _ = _sources(found, nobody, values)
    return _survey(found, sources, [*notes, *more], (), names, options)


def _survey(
    found: list[Particles], sources: list[Source], notes: list[str], names, measured, options
) -> Survey:
    return Survey(
        tuple(sources),
        tuple(dict.fromkeys(path for one in found for path in one.tables)),
        (*(note for one in found for note in one.notes), *notes),
        classes=names,
        columns=measured,
        image_shape=(options.side, options.side, 3),
    )


def _sources(
    found: list[Particles], labels: list[np.ndarray], values: list[np.ndarray]
) -> tuple[list[Source], list[str]]:
    """Returns the sources in a fixed order, and a note if their groups are weaker than runs."""
    runs = {run for one in found for run in one.rows["run"].unique()}
    sources, batches = [], Counter()
    for one, of, numbers in zip(found, labels, values, strict=True):
        rows = one.rows.assign(key=_keys(one))
        by = ["run", "file"] if one.is_collage else ["run"]
        for names, inside in sorted(rows.groupby(by, sort=False).indices.items()):
            run = names[0] if isinstance(names, tuple) else names
            size = len(inside) if one.is_collage else BATCH
            for start in range(0, len(inside), size):
                chosen = inside[start : start + size]
                batch = Batch(
                    files.shown(one.table.name), rows.iloc[chosen], of[chosen], numbers[chosen]
                )
                paths = [one.folder / file for file in dict.fromkeys(batch.rows["file"])]
                name = f"{run}/{paths[0].name}"
                if not one.is_collage:
                    name = f"{run}/pictures-{batches[run]:05d}"
                    batches[run] += 1
                group = run if len(runs) > 1 else name
                sources.append(Source(name, group, paths[0], batch, tuple(paths[1:])))
    _refuse_twice(pd.concat([source.about.rows["key"] for source in sources]))
    if len(runs) > 1:
        return sources, []
    unit = "collage" if found[0].is_collage else f"batch of {BATCH} consecutive pictures"
    return sources, [
        f"There is one run only, so each {unit} is a group: weaker than runs apart, since its "
        "neighbours share light, focus and operator. Scores on another run may be lower."
    ]


def _keys(one: Particles) -> pd.Series:
    """Returns a name for each particle that is its own whatever else is in the raw folder."""
    key = one.rows["run"].astype("str") + "/" + one.rows["file"].astype("str")
    return key + "@" + one.rows["particle"].astype("str") if one.is_collage else key


def _refuse_twice(keys: pd.Series) -> None:
    twice = keys[keys.duplicated()]
    if len(twice):
        raise UserError(
            f"Two particles are called {twice.iloc[0]}, and {len(twice)} are there twice in all: "
            f"the runs {particle_table.in_words(twice.str.split('/').str[0].unique())} lie in two "
            "folders. Remove one, or rename it."
        )
