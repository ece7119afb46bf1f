"""Prediction of whole raw files, such as core photos: a table, and an overlay for each file."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfpipe.base import files as base_files
from tfpipe.base import images as base_images
from tfpipe.base import table_writers
from tfpipe.base.errors import UserError
from tfpipe.evaluation.metric_names import title_of
from tfpipe.inference import monitoring, resume
from tfpipe.inference.monitoring import ImageMonitor
from tfpipe.inference.request import PredictionRequest, PredictionResult
from tfpipe.inference.resume import SourceResults
from tfpipe.inference.sources import SourceRun
from tfpipe.models.sliding_window import WINDOWS_AT_ONCE
from tfpipe.registry import load
from tfpipe.registry.card import CLASSIFIER, VersionCard
from tfpipe.registry.load import SavedPredictor
from tfpipe.tasks.task import Classify, Source, Survey, Task, WholeFile

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
    task, out = request.task, request.out
    whole_file = task.whole_file
    assert whole_file is not None, f"{task.name} does not predict whole files"
    predictor = request.open_predictor((CLASSIFIER,))
    card = predictor.card
    if whole_file.sliding_window:
        load.with_inference_mode(predictor, inference_mode)  # refuses what the model lacks
    options, survey = request.survey(card.options)
    for path in (out, windows) if windows else (out,):
        table_writers.check(path)
    overlays = overlay_paths(out, survey.sources)
    # A stored result has its overlay; a new file beside it that changes the overlay's name makes
    # the plan another one.
    longer = sorted(p.name for name, p in overlays.items() if p.stem != _flat(name).stem)
    plan = prediction_plan(card, options, survey) | {
        "inference_mode": inference_mode,
        "windows": bool(windows),
        "longer": longer,
    }
    job = FileJob(
        task,
        request.version,
        options=options,
        overlays=overlays,
        inference_mode=inference_mode,
        has_windows=windows is not None,
    )
    with resume.open_results(out, plan) as results:
        n_resumed = sum(results.result(source) is not None for source in survey.sources)
        bad = request.run(SourceRun(survey.sources, job, predictor, results, report=request.report))
        if len(bad) == len(survey.sources):
            raise UserError(f"No file could be read: {' '.join(bad.values())}")
        good = [source for source in survey.sources if source.name not in bad]
        certainty: Counter[bool] = Counter()
        pieces = _counted((_finished(results, source)["rows"] for source in good), certainty)
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
    notes = (*survey.notes, *_trust(card, whole_file, n_uncertain=certainty[True]), *noticed)
    return PredictionResult(n_rows, len(good), bad, notes, written, summary)


@dataclass(frozen=True)
class FileJob:
    """The job of predicting whole files, see `sources.PredictionJob`.

    Attributes:
      task: with `whole_file`.
      version: folder of the version.
      options: the task's options.
      overlays: name of a source -> the image file that shows its predictions.
      inference_mode: for long images; None for the card's.
      has_windows: whether rows of windows are stored, too.
    """

    task: Task
    version: Path
    options: Any
    overlays: dict[str, Path]
    inference_mode: str | None
    has_windows: bool

    def open(self, predictor: SavedPredictor) -> "FilePredictor":
        """Returns what predicts the files."""
        return FilePredictor(self, predictor)


class FilePredictor:
    """Predicts one whole file after another, see `sources.SourcePredictor`."""

    def __init__(self, job: FileJob, predictor: SavedPredictor):
        self._job, self._card = job, predictor.card
        assert job.task.whole_file is not None
        self._whole_file = job.task.whole_file
        self._classify, self._thresholds = predictor.predict_proba, self._card.thresholds
        if self._whole_file.sliding_window:
            self._classify = load.with_inference_mode(predictor, job.inference_mode)
        if job.inference_mode:
            scores = self._card.inference_modes.get(job.inference_mode, {})
            self._thresholds = scores.get("thresholds", self._thresholds)

    def read(self, source: Source) -> None:
        """Reads nothing: `predict` does, strip by strip where the image is long."""

    def predict(
        self,
        source: Source,
        reading: None,
        results: SourceResults,
        report: Callable[[float], None],
    ) -> str | None:
        """Predicts a file and stores its rows, and its overlay; see `sources.SourcePredictor`."""
        monitor = ImageMonitor(self._card, with_sharpness=self._job.has_windows)
        monitored = _Monitored(self._classify, monitor, source.name)
        if self._whole_file.sliding_window:
            monitored = _MonitoredAlong(
                self._classify,
                monitor,
                source.name,
                height_px=self._card.network_spec.image_shape[0],
                report=report,
            )
        try:
            outputs = self._whole_file.infer(source, monitored, self._job.options)
        except UserError as error:
            return str(error)
        prediction = self._whole_file.predict(outputs, self._thresholds)
        overlay = self._whole_file.overlay(outputs, self._thresholds)
        base_images.write_png(overlay, self._job.overlays[source.name])
        windows = _monitored(prediction.windows, monitor) if self._job.has_windows else []
        results.add(
            source,
            {"rows": prediction.rows, "windows": windows, "monitored": monitor.state()},
        )
        return None


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


def _counted(
    pieces: Iterable[list[dict[str, Any]]], certainty: Counter[bool]
) -> Iterator[list[dict[str, Any]]]:
    """Yields rows, and counts those that are uncertain and those that are not."""
    for rows in pieces:
        certainty.update(bool(row.get("uncertain")) for row in rows)
        yield rows


def _trust(card: VersionCard, whole_file: WholeFile, *, n_uncertain: int) -> list[str]:
    """Returns sentences on how far to trust a table, by the version's test files."""
    kind = whole_file.metric.partition("_")[0]
    scores = {
        name: value
        for name, value in card.metrics.get("test", {}).items()
        if kind and name.startswith(f"{kind}_") and isinstance(value, int | float)
    }
    sentences = []
    if scores:
        listed = ", ".join(f"{title_of(name)} {value:.2f}" for name, value in scores.items())
        sentences.append(f"On files that it was tested on, this version had: {listed}.")
    if n_uncertain:
        sentences.append(
            f"{n_uncertain:,} rows are uncertain: the validation files do not show that 95 % of "
            "rows with such a probability are right. Look at them in the images."
        )
    return sentences


def _monitored(windows: list[dict[str, Any]], monitor: ImageMonitor) -> list[dict[str, Any]]:
    """Returns rows of windows with their sharpness, and which are new where that is known."""
    for name, values in (("new", monitor.are_new), ("sharpness", monitor.sharpness)):
        if len(values) == len(windows):
            windows = [{**window, name: v} for window, v in zip(windows, values, strict=True)]
    return windows


def _finished(results: SourceResults, source: Source) -> dict[str, Any]:
    result = results.result(source)
    if result is None:
        raise UserError(f"{source.name} has changed while it was predicted. Run it again.")
    return result


def overlay_paths(out: Path, sources: Sequence[Source]) -> dict[str, Path]:
    """Returns the overlay's path for each file: core_001.png, whatever the photo's format.

    Files that differ only in their suffix have it in the name: core_001_tif.png. Folders in a
    file's name go into the overlay's: 2024_core_001.png.

    Raises:
      UserError: two files would still have the same overlay.
    """
    names = [_flat(source.name) for source in sources]
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


def _flat(name: str) -> Path:
    return Path(name.replace("/", "_"))


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
