"""New raw files to tables and overlays."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfpipe.base import files as base_files
from tfpipe.base import images as base_images
from tfpipe.base import table_writers
from tfpipe.base.errors import UserError
from tfpipe.evaluation import drift
from tfpipe.inference import resume
from tfpipe.registry import load
from tfpipe.registry.card import VersionCard
from tfpipe.registry.load import check_kind
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Classify, Source, Survey, Task

ROWS = 20_000  # of a piece of a table
SEEN_AT_ONCE = 256  # windows of a long picture, cut out to be watched


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
    more: dict[str, Any]


def predict(
    task: Task,
    version: Path,
    paths: list[Path],
    *,
    out: Path,
    table: Path | None = None,
    windows: Path | None = None,
    inference_mode: str | None = None,
    settings: tuple[str, ...] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predicted:
    """Answers a task's question for new raw files, one at a time.

    A file that cannot be read is named and the others are answered all the same. What is said of a
    file is kept as soon as it is: killed, the same call goes on with the files that are left.

    Args:
      task: the question.
      version: folder of a saved version.
      paths: raw files, or folders of them.
      out: the table of answers, .csv or .parquet; overlays go to the folder beside it with the
        same stem.
      table: what is known of the files, such as photos.csv.
      windows: a table of every picture the model was shown, if wanted.
      inference_mode: for long images, one of `sliding_window.INFERENCE_MODES`; None for
        the card's.
      settings: task options as name=value, over those that the version was trained with.
      progress: told (files done, files in all).

    Returns:
      What was done.

    Raises:
      UserError: if a path or table is wrong, not one file could be read, or the version is of an
        autoencoder.
    """
    whole_file = task.whole_file
    assert whole_file is not None, f"{task.name} does not predict whole files"
    check_kind(version)
    loaded = load.Loaded(version)
    trained = [f"{name}={value}" for name, value in loaded.card.options.items()]
    options = parse_options(task, [*trained, *settings])
    classify = load.asked(loaded, inference_mode) if whole_file.sliding_window else loaded.classify
    thresholds = loaded.card.thresholds
    if inference_mode:
        thresholds = loaded.card.inference_modes.get(inference_mode, {}).get(
            "thresholds", thresholds
        )
    survey = task.survey_new(paths, table, options)
    names = Counter(source.name for source in survey.sources)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise UserError(f"Two files are called {twice[0]}. Predict them one run after the other.")
    for path in (out, windows) if windows else (out,):
        table_writers.check(path)
    overlays = _overlays(out, survey.sources)
    # What is kept has its overlay; a file beside it that calls for another name begins afresh.
    longer = sorted(path.name for name, path in overlays.items() if path.stem != Path(name).stem)
    plan = plan_of(loaded.card, options, survey) | {
        "inference_mode": inference_mode,
        "windows": bool(windows),
    }
    plan |= {"longer": longer}
    with resume.open_results(out, plan) as results:
        before = sum(results.result(source) is not None for source in survey.sources)
        bad = {}
        for i, source in enumerate(survey.sources):
            progress(i, len(survey.sources))
            if results.result(source) is not None:
                continue
            watch = drift.Watch(loaded.card)
            height = loaded.card.network_spec.image_shape[0]
            try:
                seen = whole_file.infer(
                    source, _watched(classify, watch, source.name, height=height), options
                )
            except UserError as error:
                bad[source.name] = str(error)
                continue
            said = whole_file.predict(seen, thresholds)
            base_images.write_png(whole_file.overlay(seen, thresholds), overlays[source.name])
            told = {"rows": said.rows, "windows": said.windows if windows else []}
            results.add(source, told | {"drift": watch.told()})
        progress(len(survey.sources), len(survey.sources))
        if len(bad) == len(survey.sources):
            raise UserError(f"No file could be read: {' '.join(bad.values())}")
        good = [source for source in survey.sources if source.name not in bad]
        told = (results.result(source) for source in good)
        rows = _write(out, (one["rows"] for one in told), columns=whole_file.table_columns)
        if windows:
            told = (results.result(source) for source in good)
            _write(windows, (one["windows"] for one in told), columns=())
        seen = (results.result(source)["drift"] for source in good)
        notes, more = drifted(survey.notes, loaded.card, seen)
    more |= {"kept_from_before": before} if before else {}
    shown = [overlays[source.name] for source in good]
    return Predicted(rows, len(good), bad, notes, shown, more)


def drifted(
    notes: tuple[str, ...], card: VersionCard, seen: Iterable[dict[str, Any]]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Returns a run's notes with what left the training split, and the same for programs.

    Args:
      notes: of the run.
      card: the version's.
      seen: `drift.Watch.told` of each file.
    """
    watch = drift.Watch(card)
    for one in seen:
        watch.add(one)
    found = watch.findings()
    sentences = tuple(one.sentence for one in found)
    told = [{k: v for k, v in one._asdict().items() if k != "sentence"} for one in found]
    return (*notes, *sentences), {"drift": told} if told else {}


def _watched(classify: Classify, watch: drift.Watch, name: str, *, height: int) -> Classify:
    """Returns a function that answers as `classify` does, while its pictures are watched."""

    def see(images: np.ndarray, likely: np.ndarray, columns: np.ndarray | None = None) -> None:
        watch.update(images, columns=columns, probabilities=likely, groups=[name] * len(images))

    def answered(images: np.ndarray, *columns: np.ndarray) -> np.ndarray:
        likely = classify(images, *columns)
        see(images, likely, *columns)
        return likely

    def along(pictures: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        said = classify.along(pictures, top_px)
        rows = np.arange(height)
        tops, likely = top_px[0], said["probabilities"][0]  # the others are its flips
        for begin in range(0, len(tops), SEEN_AT_ONCE):
            own = slice(begin, begin + SEEN_AT_ONCE)
            see(pictures[0][tops[own, None] + rows], likely[own])
        return said

    if hasattr(classify, "along"):
        answered.along = along
    return answered


def plan_of(card: VersionCard, options: Any, survey: Survey) -> dict[str, Any]:
    """Returns all that answers depend on but the files themselves, see `resume.open_results`."""
    tables = {str(path): base_files.sha256(path) for path in survey.tables}
    return {"card": asdict(card), "options": asdict(options), "tables": tables}


def _overlays(out: Path, sources: Sequence[Source]) -> dict[str, Path]:
    """Returns where the overlay of each file goes: core_001.png, of whatever kind its photo is.

    Files that differ in their endings only keep these: core_001_tif.png.

    Raises:
      UserError: two would have the same one all the same.
    """
    names = [Path(source.name) for source in sources]
    stems = Counter(name.stem for name in names)
    kept = [n.stem if stems[n.stem] == 1 else f"{n.stem}_{n.suffix[1:]}" for n in names]
    twice = [one for one, count in Counter(kept).items() if count > 1]
    if twice:
        raise UserError(
            f"Two files would have the overlay {twice[0]}.png. Rename one, or predict them one run "
            "after the other."
        )
    folder = out.with_suffix("")
    return {s.name: folder / f"{one}.png" for s, one in zip(sources, kept, strict=True)}


def _write(path: Path, pieces: Iterable[list[dict]], *, columns: tuple[str, ...]) -> int:
    """Writes a table of the rows of each file, some files at a time; returns their number."""
    count, waiting = 0, []
    with table_writers.writing(path) as write:
        for rows in itertools.chain(pieces, [None]):
            waiting += rows or []
            is_last = rows is None
            if len(waiting) >= ROWS or (is_last and (waiting or not count)):
                frame = pd.DataFrame(waiting, columns=list(columns) or None)
                nothing = [name for name in frame if frame[name].isna().all()]
                write(frame.astype(dict.fromkeys(nothing, float)))  # as other pieces have numbers
                count, waiting = count + len(waiting), []
    return count
