"""New raw files to tables and overlays."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfpipe import answering, drift, pictures, saved, tables
from tfpipe.errors import UserError
from tfpipe.options import options_of
from tfpipe.task import Classify, Task


class Predicted(NamedTuple):
    """What a prediction run did.

    Attributes:
      rows: rows written to the table.
      files: raw files answered.
      bad: raw file -> why it was not.
      notes: what else was noticed.
      overlays: pictures written.
      more: what else the user is told.
    """

    rows: int
    files: int
    bad: dict[str, str]
    notes: tuple[str, ...]
    overlays: list[Path]
    more: dict[str, Any] = {}


def predict(
    task: Task,
    version: Path,
    paths: list[Path],
    *,
    out: Path,
    table: Path | None = None,
    windows: Path | None = None,
    settings: tuple[str, ...] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predicted:
    """Answers a task's question for new raw files, one at a time.

    A file that cannot be read is named and the others are answered all the same.

    Args:
      task: the question.
      version: folder of a saved version.
      paths: raw files, or folders of them.
      out: the table of answers, CSV; overlays go to the folder beside it with the same stem.
      table: what is known of the files, such as photos.csv.
      windows: a table of every picture the model was shown, if wanted.
      settings: task options as name=value, over those that the version was trained with.
      progress: told (files done, files in all).

    Returns:
      What was done.

    Raises:
      UserError: if a path or table is wrong, not one file could be read, or the version is of an
        autoencoder.
    """
    check_kind(version)
    loaded = answering.Loaded(version)
    trained = [f"{name}={value}" for name, value in loaded.card["options"].items()]
    options = options_of(task, [*trained, *settings])
    thresholds = loaded.card["thresholds"]
    survey = task.survey_new(paths, table, options)
    names = Counter(source.name for source in survey.sources)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise UserError(f"Two files are called {twice[0]}. Predict them one run after the other.")
    rows, shown, bad, overlays = [], [], {}, []
    watch = drift.Watch(loaded.card)
    for i, source in enumerate(survey.sources):
        progress(i, len(survey.sources))
        try:
            seen = task.look(source, _watched(loaded.classify, watch, source.name), options)
        except UserError as error:
            bad[source.name] = str(error)
            continue
        said = task.answer(seen, thresholds)
        rows += said.rows
        shown += said.windows if windows else []
        overlays.append(out.with_suffix("") / f"{Path(source.name).name}.png")
        pictures.write_png(task.draw(seen, thresholds), overlays[-1])
    progress(len(survey.sources), len(survey.sources))
    if len(bad) == len(survey.sources):
        raise UserError(f"No file could be read: {' '.join(bad.values())}")
    tables.write_csv(pd.DataFrame(rows, columns=list(task.answer_columns)), out)
    if windows:
        tables.write_csv(pd.DataFrame(shown), windows)
    notes, more = drifted(survey.notes, watch)
    return Predicted(len(rows), len(survey.sources) - len(bad), bad, notes, overlays, more)


def drifted(notes: tuple[str, ...], watch: drift.Watch) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Returns a run's notes with what left the training split, and the same for programs."""
    found = watch.findings()
    sentences = tuple(one.sentence for one in found)
    told = [{k: v for k, v in one._asdict().items() if k != "sentence"} for one in found]
    return (*notes, *sentences), {"drift": told} if told else {}


def _watched(classify: Classify, watch: drift.Watch, name: str) -> Classify:
    """Returns a function that answers as `classify` does, while its pictures are watched."""

    def answered(images: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        likely = classify(images, columns)
        groups = [name] * len(images)
        watch.update(images, columns=columns, probabilities=likely, groups=groups)
        return likely

    return answered


def check_kind(version: Path, *, kinds: tuple[str, ...] = ("classifier",)) -> None:
    """Raises a UserError that names the classifiers there are if a version is of another kind."""
    kind = saved.read_card(version)["kind"]
    if kind in kinds:
        return
    classifiers = [
        path.name
        for path in sorted(version.parent.parent.iterdir())
        if (numbers := saved.versions(path))
        and saved.read_card(path / str(numbers[-1]))["kind"] in kinds
    ]
    there = f"predict with --model {' or '.join(classifiers)}"
    what = "of trees on columns, and files are looked at by their pictures"
    if kind == "autoencoder":
        what = "an autoencoder, which gives pictures back and names no classes"
    raise UserError(
        f"Version {version.name} of {version.parent.name} is {what}: "
        f"{there if classifiers else 'train a classifier first'}."
    )
