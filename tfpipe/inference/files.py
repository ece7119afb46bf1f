"""Prediction of whole raw files, such as core photos: a table, and an overlay for each file."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfpipe.base import files as base_files
from tfpipe.base import images as base_images
from tfpipe.base import table_writers
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter
from tfpipe.inference import monitoring, resume
from tfpipe.inference.monitoring import ImageMonitor
from tfpipe.inference.request import PredictionRequest, PredictionResult
from tfpipe.models.sliding_window import WINDOWS_AT_ONCE
from tfpipe.registry import load
from tfpipe.registry.card import CLASSIFIER, VersionCard
from tfpipe.tasks.task import Classify, Source, Survey

ROWS_AT_ONCE = 20_000  # rows of a table that are written together


def predict(
    request: PredictionRequest,
    *,
    windows: Path | None = None,
    inference_mode: str | None = None,
) -> PredictionResult:
    """Predicts new raw files, one at a time, and writes their rows to one table.

    A file that cannot be read is named in the result, and the others are predicted all the same.
    The result of each file is stored as soon as it is finished: if the run is killed, the same call
    goes on with the files that are left.

    Args:
      request: the files, of a task with `whole_file`; the table is a .csv or .parquet.
      windows: a second table, of every window that the model was shown; None for none.
      inference_mode: for long images, one of `sliding_window.INFERENCE_MODES`; None for the
        card's.

    Returns:
      What was done.

    Raises:
      UserError: a path or table is wrong, no file could be read, or the version is an
        autoencoder's.
    """
    task, out, report = request.task, request.out, request.report
    whole_file = task.whole_file
    assert whole_file is not None, f"{task.name} does not predict whole files"
    predictor = request.open_predictor((CLASSIFIER,))
    card = predictor.card
    classify = predictor.predict_proba
    if whole_file.sliding_window:
        classify = load.with_inference_mode(predictor, inference_mode)
    thresholds = card.thresholds
    if inference_mode:
        scores = card.inference_modes.get(inference_mode, {})
        thresholds = scores.get("thresholds", thresholds)
    options, survey = request.survey(card.options)
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
    plan = prediction_plan(card, options, survey) | {
        "inference_mode": inference_mode,
        "windows": bool(windows),
        "longer": longer,
    }
    with resume.open_results(out, plan) as results:
        n_resumed = sum(results.result(source) is not None for source in survey.sources)
        bad = {}
        for i, source in enumerate(survey.sources):
            report("predict", {"done": i, "total": len(survey.sources)})
            if results.result(source) is not None:
                continue
            monitor = ImageMonitor(card)
            monitored = _Monitored(classify, monitor, source.name)
            if whole_file.sliding_window:
                monitored = _MonitoredAlong(
                    classify,
                    monitor,
                    source.name,
                    height_px=card.network_spec.image_shape[0],
                    report=partial(_report_part, report, files=i, total=len(survey.sources)),
                )
            try:
                outputs = whole_file.infer(source, monitored, options)
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
                    "windows": _with_new(prediction.windows, monitor) if windows else [],
                    "monitored": monitor.state(),
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
        states = (_finished(results, source)["monitored"] for source in good)
        noun = "windows" if whole_file.sliding_window else "images"
        noticed, summary = monitoring.summarize(card, states, noun=noun)
    if n_resumed:
        summary["resumed_files"] = n_resumed
    written = [overlays[source.name] for source in good]
    notes = (*survey.notes, *noticed)
    return PredictionResult(n_rows, len(good), bad, notes, written, summary)


def prediction_plan(card: VersionCard, options: Any, survey: Survey) -> dict[str, Any]:
    """Returns all that predictions depend on except the files, see `resume.open_results`."""
    tables = {str(path): base_files.sha256(path) for path in survey.tables}
    return {"card": asdict(card), "options": asdict(options), "tables": tables}


class _Monitored:
    """A classifier whose images are monitored."""

    def __init__(self, classify: Classify, monitor: ImageMonitor, name: str):
        self._classify, self._monitor, self._name = classify, monitor, name

    def __call__(self, images: np.ndarray, *columns: np.ndarray) -> np.ndarray:
        probabilities = self._classify(images, *columns)
        self._update(images, probabilities, *columns)
        return probabilities

    def _update(
        self, images: np.ndarray, probabilities: np.ndarray, columns: np.ndarray | None = None
    ) -> None:
        groups = [self._name] * len(images)
        self._monitor.update(images, columns=columns, probabilities=probabilities, groups=groups)


class _MonitoredAlong(_Monitored):
    """A classifier of the windows of long images, see `WholeFile.sliding_window`.

    Args:
      height_px: of a window.
      report: receives the share of the image that is done.
    """

    def __init__(self, *args: Any, height_px: int, report: Callable[[float], None], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._rows, self._report = np.arange(height_px), report

    def along(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        parts = []
        count = top_px.shape[1]
        for begin in range(0, max(count, 1), WINDOWS_AT_ONCE):
            self._report(begin / max(count, 1))
            tops = top_px[:, begin : begin + WINDOWS_AT_ONCE]
            parts.append(self._predict(images, tops))
            # The other images are flips of the first.
            windows = images[0][tops[0][:, None] + self._rows]
            self._update(windows, parts[-1]["probabilities"][0])
        return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}

    def _predict(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        along = getattr(self._classify, "along", None)
        if along:
            return along(images, top_px)
        pairs = zip(images, top_px, strict=True)
        windows = (image[tops[:, None] + self._rows] for image, tops in pairs)
        return {"probabilities": np.stack([self._classify(one) for one in windows])}


def _with_new(windows: list[dict[str, Any]], monitor: ImageMonitor) -> list[dict[str, Any]]:
    """Returns rows of windows that say which are new, where the card has statistics of images."""
    if len(monitor.are_new) != len(windows):
        return windows
    pairs = zip(windows, monitor.are_new, strict=True)
    return [{**window, "new": is_new} for window, is_new in pairs]


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
