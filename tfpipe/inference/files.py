"""Prediction of whole raw files, such as core photos: a table, and an overlay for each file."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfpipe.base import files as base_files
from tfpipe.base import images as base_images
from tfpipe.base import table_writers
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.evaluation import drift
from tfpipe.inference import resume
from tfpipe.models.sliding_window import WINDOWS_AT_ONCE
from tfpipe.registry import load
from tfpipe.registry.card import VersionCard
from tfpipe.registry.load import SavedPredictor, check_kind
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Classify, Source, Survey, Task

ROWS_AT_ONCE = 20_000  # rows of a table that are written together


class PredictionResult(NamedTuple):
    """What a prediction run did.

    Attributes:
      rows: rows written to the table.
      files: raw files predicted.
      bad: raw file -> why it could not be predicted.
      notes: sentences about the run.
      overlays: image files written.
      summary: further numbers of the run, as JSON has them.
    """

    rows: int
    files: int
    bad: dict[str, str]
    notes: tuple[str, ...]
    overlays: list[Path]
    summary: dict[str, Any]


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
    predictor: SavedPredictor | None = None,
    report: Reporter = silent,
) -> PredictionResult:
    """Predicts new raw files, one at a time, and writes their rows to one table.

    A file that cannot be read is named in the result, and the others are predicted all the same.
    The result of each file is stored as soon as it is finished: if the run is killed, the same call
    goes on with the files that are left.

    Args:
      task: what to predict; it has `whole_file`.
      version: folder of a saved version.
      paths: raw files, or folders of them.
      out: the table of predictions, .csv or .parquet; overlays go to the folder beside it with the
        same stem.
      table: metadata of the files, such as photos.csv.
      windows: a second table, of every window that the model was shown; None for none.
      inference_mode: for long images, one of `sliding_window.INFERENCE_MODES`; None for the
        card's.
      settings: task options as name=value, over those that the version was trained with.
      predictor: the version where it is loaded already; None to load it.
      report: receives the stage "predict" with the files done, and within a long image with the
        share of it.

    Returns:
      What was done.

    Raises:
      UserError: a path or table is wrong, no file could be read, or the version is an
        autoencoder's.
    """
    whole_file = task.whole_file
    assert whole_file is not None, f"{task.name} does not predict whole files"
    check_kind(version)
    predictor = predictor or load.open_version(version)
    trained = [f"{name}={value}" for name, value in predictor.card.options.items()]
    options = parse_options(task, [*trained, *settings])
    classify = predictor.predict_proba
    if whole_file.sliding_window:
        classify = load.with_inference_mode(predictor, inference_mode)
    thresholds = predictor.card.thresholds
    if inference_mode:
        scores = predictor.card.inference_modes.get(inference_mode, {})
        thresholds = scores.get("thresholds", thresholds)
    survey = task.survey_new(paths, table, options)
    names = Counter(source.name for source in survey.sources)
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        raise UserError(
            f"Two files are called {repeated[0]}. Predict them one run after the other."
        )
    for path in (out, windows) if windows else (out,):
        table_writers.check(path)
    overlays = overlay_paths(out, survey.sources)
    # A stored result has its overlay; a new file beside it that changes the overlay's name makes
    # the plan another one.
    longer = sorted(path.name for name, path in overlays.items() if path.stem != Path(name).stem)
    plan = prediction_plan(predictor.card, options, survey) | {
        "inference_mode": inference_mode,
        "windows": bool(windows),
        "longer": longer,
    }
    with resume.open_results(out, plan) as results:
        n_resumed = sum(results.result(source) is not None for source in survey.sources)
        bad = {}
        height_px = predictor.card.network_spec.image_shape[0]
        for i, source in enumerate(survey.sources):
            report("predict", {"done": i, "total": len(survey.sources)})
            if results.result(source) is not None:
                continue
            watch = drift.Watch(predictor.card)
            try:
                watched = _watched(
                    classify,
                    watch,
                    source.name,
                    height_px=height_px,
                    report=partial(_report_part, report, files=i, total=len(survey.sources)),
                )
                outputs = whole_file.infer(source, watched, options)
            except UserError as error:
                bad[source.name] = str(error)
                continue
            prediction = whole_file.predict(outputs, thresholds)
            overlay = whole_file.overlay(outputs, thresholds)
            base_images.write_png(overlay, overlays[source.name])
            results.add(
                source,
                {
                    "rows": prediction.rows,
                    "windows": prediction.windows if windows else [],
                    "drift": watch.state(),
                },
            )
        report("predict", {"done": len(survey.sources), "total": len(survey.sources)})
        if len(bad) == len(survey.sources):
            raise UserError(f"No file could be read: {' '.join(bad.values())}")
        good = [source for source in survey.sources if source.name not in bad]
        pieces = (_finished(results, source)["rows"] for source in good)
        n_rows = _write(out, pieces, columns=whole_file.table_columns)
        if windows:
            pieces = (_finished(results, source)["windows"] for source in good)
            _write(windows, pieces, columns=())
        histograms = (_finished(results, source)["drift"] for source in good)
        notes, summary = notes_on_drift(survey.notes, predictor.card, histograms)
    if n_resumed:
        summary["resumed_files"] = n_resumed
    written = [overlays[source.name] for source in good]
    return PredictionResult(n_rows, len(good), bad, notes, written, summary)


def notes_on_drift(
    notes: tuple[str, ...], card: VersionCard, watched: Iterable[dict[str, Any]]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Returns a run's notes with those on drift, and the drift as JSON has it.

    Args:
      notes: of the run.
      card: the version's.
      watched: `drift.Watch.state` of each file.
    """
    watch = drift.Watch(card)
    for histograms in watched:
        watch.add(histograms)
    findings = watch.findings()
    sentences = tuple(finding.sentence for finding in findings)
    rows = [
        {name: value for name, value in dataclasses.asdict(finding).items() if name != "sentence"}
        for finding in findings
    ]
    return (*notes, *sentences), {"drift": rows} if rows else {}


def prediction_plan(card: VersionCard, options: Any, survey: Survey) -> dict[str, Any]:
    """Returns all that predictions depend on except the files, see `resume.open_results`."""
    tables = {str(path): base_files.sha256(path) for path in survey.tables}
    return {"card": asdict(card), "options": asdict(options), "tables": tables}


class _Watched:
    """A classifier whose images are watched for drift."""

    def __init__(self, classify: Classify, watch: drift.Watch, name: str, *, height_px: int):
        self._classify, self._watch, self._name = classify, watch, name
        self._height_px = height_px  # of a window

    def __call__(self, images: np.ndarray, *columns: np.ndarray) -> np.ndarray:
        probabilities = self._classify(images, *columns)
        self.update(images, probabilities, *columns)
        return probabilities

    def update(
        self, images: np.ndarray, probabilities: np.ndarray, columns: np.ndarray | None = None
    ) -> None:
        groups = [self._name] * len(images)
        self._watch.update(images, columns=columns, probabilities=probabilities, groups=groups)


class _WatchedAlong(_Watched):
    """A classifier of the windows of long images, see `WholeFile.sliding_window`.

    Args:
      report: receives the share of the image that is done.
    """

    def __init__(self, *args: Any, report: Callable[[float], None], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._report = report

    def along(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        rows, parts = np.arange(self._height_px), []
        count = top_px.shape[1]
        for begin in range(0, max(count, 1), WINDOWS_AT_ONCE):
            self._report(begin / max(count, 1))
            tops = top_px[:, begin : begin + WINDOWS_AT_ONCE]
            parts.append(getattr(self._classify, "along")(images, tops))  # noqa: B009
            # The other images are flips of the first.
            windows = images[0][tops[0][:, None] + rows]
            self.update(windows, parts[-1]["probabilities"][0])
        return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _watched(
    classify: Classify,
    watch: drift.Watch,
    name: str,
    *,
    height_px: int,
    report: Callable[[float], None],
) -> Classify:
    if hasattr(classify, "along"):
        return _WatchedAlong(classify, watch, name, height_px=height_px, report=report)
    return _Watched(classify, watch, name, height_px=height_px)


def _report_part(report: Reporter, share: float, *, files: int, total: int) -> None:
    """Reports the share of the file at hand that is done, besides the files before it."""
    report("predict", {"done": files, "total": total, "part": share})


def _finished(results: resume.SourceResults, source: Source) -> dict[str, Any]:
    result = results.result(source)
    if result is None:
        raise UserError(f"{source.name} has changed while it was predicted. Run it again.")
    return result


def overlay_paths(out: Path, sources: Sequence[Source]) -> dict[str, Path]:
    """Returns the overlay's path for each file: core_001.png, whatever the photo's format.

    Files that differ only in their suffix have it in the name: core_001_tif.png.

    Raises:
      UserError: two files would still have the same overlay.
    """
    names = [Path(source.name) for source in sources]
    counts = Counter(name.stem for name in names)
    stems = [n.stem if counts[n.stem] == 1 else f"{n.stem}_{n.suffix[1:]}" for n in names]
    repeated = [stem for stem, count in Counter(stems).items() if count > 1]
    if repeated:
        raise UserError(
            f"Two files would have the overlay {repeated[0]}.png. Rename one, or predict them one "
            "run after the other."
        )
    folder = out.with_suffix("")
    return {s.name: folder / f"{stem}.png" for s, stem in zip(sources, stems, strict=True)}


def _write(path: Path, pieces: Iterable[list[dict[str, Any]]], *, columns: tuple[str, ...]) -> int:
    """Writes a table of the rows of each file, some files at a time; returns their number."""
    n_rows = 0
    waiting: list[dict[str, Any]] = []
    with table_writers.writing(path) as write:
        for rows in itertools.chain(pieces, [None]):
            waiting += rows or []
            is_last = rows is None
            if len(waiting) >= ROWS_AT_ONCE or (is_last and (waiting or not n_rows)):
                frame = pd.DataFrame(waiting, columns=list(columns) or None)
                empty = [name for name in frame if frame[name].isna().all()]
                write(frame.astype(dict.fromkeys(empty, float)))  # as other pieces have numbers
                n_rows += len(waiting)
                waiting = []
    return n_rows
