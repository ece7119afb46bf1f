"""Survey of an insolubles folder: a source for each collage or batch of images, and notes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfpipe.base import files, images
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import classes, column_selection, detect_format
from tfpipe.tasks.insolubles.options import InsolublesOptions
from tfpipe.tasks.insolubles.particle_table import ParticleBatch, Particles
from tfpipe.tasks.task import Source, Survey

if TYPE_CHECKING:
    import pandas as pd

BATCH = 200  # images that are read together if each particle has its own file


def survey(folder: Path, options: InsolublesOptions) -> Survey:
    """Reads the tables of all runs; decodes no image.

    Args:
      folder: has a folder for each run or data set, or is one itself.
      options: the user's.

    Returns:
      A source for each collage, or batch of images of one run; classes and columns; and notes on
      what is left out.

    Raises:
      UserError: naming file and line, where tables are damaged or contradict each other.
    """
    tables, notes = detect_format.read(folder, options)
    names, labels, class_notes = classes.determine(tables, options)
    columns, values, column_notes = column_selection.select(tables, options)
    sources, group_notes = _sources(tables, labels, values, classes=names)
    notes = [*notes, *class_notes, *column_notes, *group_notes]
    if not options.bits:
        paths = [path for source in sources for path in (source.path, *source.also)]
        options = replace(options, bits=images.camera_bits(paths))
    if not names:
        notes.append(
            "No class has enough labelled particles, so explore works and classification does not."
        )
    return _survey(tables, sources, notes, classes=names, columns=columns, options=options)


def survey_new(paths: list[Path], table: Path | None, options: InsolublesOptions) -> Survey:
    """Lists new particles, without labels.

    Args:
      paths: runs, folders of runs, lists or tables, images, or folders of images.
      table: of the images in `paths`, which are then of one folder; None for the tables in the
        folders. Images without a table have no columns.
      options: the user's.

    Returns:
      The sources. `columns` are all that the runs share, constant ones too, because a model selects
      its columns by name.

    Raises:
      UserError: as `survey`, and where a path does not exist or has no particles.
    """
    tables, notes = detect_format.read_new(paths, table, options)
    columns, values, more = column_selection.select(tables, options, is_new=True)
    unlabelled = [np.full(len(particles.rows), -1) for particles in tables]
    sources, _ = _sources(tables, unlabelled, values)
    notes = [*notes, *more]
    return _survey(tables, sources, notes, classes=(), columns=columns, options=options)


def _survey(
    tables: list[Particles],
    sources: list[Source],
    notes: list[str],
    *,
    classes: tuple[str, ...],
    columns: tuple[str, ...],
    options: InsolublesOptions,
) -> Survey:
    of_tables = [note for particles in tables for note in particles.notes]
    return Survey(
        tuple(sources),
        tuple(dict.fromkeys(path for particles in tables for path in particles.tables)),
        (*of_tables, *notes),
        classes=classes,
        columns=columns,
        image_shape=(options.side, options.side, 3),
        options=options,
    )


def _sources(
    tables: list[Particles],
    labels: list[np.ndarray],
    values: list[np.ndarray],
    *,
    classes: tuple[str, ...] = (),
) -> tuple[list[Source], list[str]]:
    """Returns the sources in a fixed order, and a note if their groups are smaller than runs."""
    import pandas as pd

    runs = {run for particles in tables for run in particles.rows["run"].unique()}
    sources: list[Source] = []
    n_batches: Counter[str] = Counter()
    names: set[str] = set()
    for particles, label, columns in zip(tables, labels, values, strict=True):
        rows = particles.rows.assign(key=_keys(particles))
        by = ["run", "file"] if particles.is_collage else ["run"]
        for unit, inside in sorted(rows.groupby(by, sort=False).indices.items()):
            run = unit[0] if isinstance(unit, tuple) else unit
            size = len(inside) if particles.is_collage else BATCH
            for start in range(0, len(inside), size):
                chosen = inside[start : start + size]
                batch = ParticleBatch(
                    files.shown(particles.table.name),
                    rows.iloc[chosen],
                    label[chosen],
                    columns[chosen],
                )
                paths = [particles.folder / file for file in dict.fromkeys(batch.rows["file"])]
                name = f"{run}/{paths[0].name}"
                if name in names:  # collages of two folders of a run that are called alike
                    name = f"{run}/{batch.rows['file'].iloc[0]}"
                names.add(name)
                if not particles.is_collage:
                    # Groups of a single run have these names, and the split is by their hash.
                    name = f"{run}/pictures-{n_batches[run]:05d}"
                    n_batches[run] += 1
                group = run if len(runs) > 1 else name
                strata = tuple(classes[i] for i in np.unique(label[chosen]) if i >= 0)
                also = tuple(paths[1:])
                sources.append(Source(name, group, paths[0], batch, also, strata=strata))
    _check_unique(pd.concat([source.about.rows["key"] for source in sources]))
    if len(runs) > 1:
        return sources, []
    unit = "collage" if tables[0].is_collage else f"batch of {BATCH} consecutive images"
    return sources, [
        f"There is one run only, so each {unit} is a group. Its neighbours share light, focus and "
        "operator, so scores on another run may be lower."
    ]


def _keys(particles: Particles) -> pd.Series:
    """Returns a key for each particle that is unique in the raw folder."""
    rows = particles.rows
    key = rows["run"].astype("str") + "/" + rows["file"].astype("str")
    return key + "@" + rows["particle"].astype("str") if particles.is_collage else key


def _check_unique(keys: pd.Series) -> None:
    duplicates = keys[keys.duplicated()]
    if len(duplicates):
        runs = listed(duplicates.str.split("/").str[0].unique(), most=12)
        raise UserError(
            f"Two particles are called {duplicates.iloc[0]}, and {len(duplicates)} names occur "
            f"twice in all: the runs {runs} are in two folders. Remove one, or rename it."
        )
