"""Analysis of uploaded raw files: the rows and images that `tfpipe predict` writes for them."""

import base64
import dataclasses
import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfpipe.base import table_writers, tables
from tfpipe.base.errors import UserError
from tfpipe.inference import run
from tfpipe.inference.confidence import PredictionOptions
from tfpipe.inference.request import PredictionRequest, PredictionResult
from tfpipe.registry.card import VersionCard
from tfpipe.serving import uploads
from tfpipe.serving.errors import RequestError
from tfpipe.serving.jobs import Job, JobAnswer
from tfpipe.serving.limits import Limits
from tfpipe.serving.model.predictor import ObservedPredictor
from tfpipe.serving.model.store import ServedVersion
from tfpipe.serving.uploads import Upload
from tfpipe.tasks import catalog
from tfpipe.tasks.task import Survey, Task, check_inference_mode

JSON, CSV, PARQUET, PNG = (
    "application/json",
    "text/csv",
    "application/vnd.apache.parquet",
    "image/png",
)
_BOOLEANS = {"true": True, "false": False}
DEPTHS = ("top_m", "bottom_m")


class AnalysisRequest(NamedTuple):
    """What is analyzed, and what the answer has.

    Attributes:
      upload: the files.
      media_type: of the answer: JSON, CSV, PARQUET or PNG.
      overlay: whether a JSON answer has the overlays.
      windows: whether it has a row for each window.
      inference_mode: how windows are slid; None for the version's own.
      prediction_options: of single images.
      depths_m: of the top and bottom of the only photo; None where the table has them, or none.
    """

    upload: Upload
    media_type: str
    overlay: bool
    windows: bool
    inference_mode: str | None
    prediction_options: PredictionOptions
    depths_m: tuple[float, float] | None


def parse_request(upload: Upload, query: Mapping[str, str], accept: str) -> AnalysisRequest:
    """Returns the request that a client makes by a form, a query and a header.

    Args:
      upload: of the request; its fields may have what the query may have.
      query: overlay, windows, inference_mode, min_precision, conformal, min_sharpness, embedding,
        top_m, bottom_m.
      accept: the header, in the order of the client's preference.

    Raises:
      RequestError: a name is unknown, or a value is not what it must be.
    """
    values = {**query}
    values.pop("name", None)
    for name, value in upload.fields.items():
        if name in values:
            raise RequestError(400, f"{name[:50]!r} is in the form and in the query. Send it once.")
        values[name] = value
    overlay = _boolean(values, "overlay")
    media_type = _negotiate(accept, overlay=overlay)
    depths_m = None
    if any(name in values for name in DEPTHS):
        top_m, bottom_m = (_number(values, name, None, least=-1e5, most=1e5) for name in DEPTHS)
        if bottom_m <= top_m:
            raise RequestError(400, f"bottom_m {bottom_m:g} is not below top_m {top_m:g}.")
        if len(upload.contents) > 1 or upload.table:
            raise RequestError(
                400, "top_m and bottom_m are of one photo. Send a table for several, as photos.csv."
            )
        depths_m = (top_m, bottom_m)
    request = AnalysisRequest(
        upload,
        media_type,
        overlay,
        _boolean(values, "windows"),
        values.pop("inference_mode", None) or None,
        PredictionOptions(
            _number(values, "min_precision", 0.9, least=0, most=1),
            _boolean(values, "embedding"),
            _number(values, "conformal", 0.0, least=0, most=0.5),
            _number(values, "min_sharpness", 0.0, least=0, most=1e3),
        ),
        depths_m,
    )
    if values:
        names = (
            "overlay, windows, inference_mode, min_precision, conformal, min_sharpness, embedding, "
            "top_m, bottom_m and table"
        )
        raise RequestError(400, f"There is no field {next(iter(values))[:50]!r}, only {names}.")
    return request


def task_of(card: VersionCard) -> Task:
    """Returns the task of a version.

    Raises:
      RequestError: it is defined by a Python file, which a server does not run.
    """
    if card.task not in catalog.TASKS and card.data.origin.endswith(".py"):
        raise RequestError(
            501,
            f"The task {card.task} is defined by a Python file, and a server runs none. Send "
            "prepared images to :predict, or use `tfpipe predict`.",
        )
    try:
        return catalog.of_version(card.task, card.data.origin).for_model(card.model)
    except UserError as error:
        raise RequestError(501, str(error)) from error


def analyze(
    version: ServedVersion, request: AnalysisRequest, job: Job, *, folder: Path, limits: Limits
) -> JobAnswer:
    """Predicts uploaded files by the code of `tfpipe predict`, in a folder that is removed.

    Args:
      version: that predicts.
      request: the files, and what the answer has.
      job: receives the progress.
      folder: under which the files are stored meanwhile.
      limits: of images.

    Raises:
      RequestError: a file, a table or a value is wrong; the sentence is that of `tfpipe predict`.
      JobCancelled: nobody waits for the answer any more.
    """
    card = version.servable.card
    task = task_of(card)
    if not (version.servable.folder / "assets.extra").is_dir():
        raise RequestError(503, "The folder of the version was removed, which this needs.")
    _check_request(task, card, request)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        raw, out = Path(place, "upload"), Path(place, "out", "predictions.parquet")
        raw.mkdir()
        paths, table = uploads.write(request.upload, raw, limits=limits)
        if request.depths_m:
            table = _write_depths(raw, paths[0], request.depths_m)
        windows = out.with_name("windows.parquet") if request.windows else None
        try:
            result = run.predict(
                PredictionRequest(
                    _confined(task, raw),
                    version.servable.folder,
                    paths,
                    out,
                    table=table,
                    predictor=ObservedPredictor(version.predictor, job.add_images),
                    report=job.report,
                ),
                windows=windows,
                inference_mode=request.inference_mode,
                prediction_options=request.prediction_options,
            )
        except UserError as error:
            raise RequestError(400, _without(raw, str(error))) from error
        content = _content(result, request, out=out, windows=windows, raw=raw)
    if isinstance(content, dict):
        about: dict[str, Any] = {"task": task.name, "model": card.model, "version": card.version}
        content = json.dumps(about | content, separators=(",", ":"), allow_nan=False).encode()
    return JobAnswer(content, request.media_type, job.progress["images"])


def _check_request(task: Task, card: VersionCard, request: AnalysisRequest) -> None:
    columns = task.whole_file.table_columns if task.whole_file else ()
    if request.depths_m and "depth_from_m" not in columns:
        raise RequestError(400, f"{task.name} has no depths. Leave out top_m and bottom_m.")
    if request.windows and not task.whole_file:
        raise RequestError(400, f"{task.name} has no windows. Leave out windows.")
    try:
        check_inference_mode(task, request.inference_mode)
    except UserError as error:
        raise RequestError(400, str(error)) from error


def _confined(task: Task, raw: Path) -> Task:
    """Returns a task that reads no file outside a folder, whatever an uploaded table names."""

    def survey_new(paths: list[Path], table: Path | None, options: Any) -> Survey:
        survey = task.survey_new(paths, table, options)
        root = raw.resolve()
        for source in survey.sources:
            for path in (source.path, *source.also):
                if not path.resolve().is_relative_to(root):
                    raise UserError(f"{path.name} is not among the files that were sent. Send it.")
        return survey

    return dataclasses.replace(task, survey_new=survey_new)


def _write_depths(raw: Path, photo: Path, depths_m: tuple[float, float]) -> Path:
    table = raw / "photos.csv"
    frame = pd.DataFrame([[photo.name, *depths_m]], columns=["photo", *DEPTHS])
    tables.write_csv(frame, table)
    return table


def _content(
    result: PredictionResult,
    request: AnalysisRequest,
    *,
    out: Path,
    windows: Path | None,
    raw: Path,
) -> dict[str, Any] | bytes:
    """Returns the answer of what was predicted: a JSON object, or the bytes of a table or PNG."""
    bad = {name: _without(raw, reason) for name, reason in result.bad.items()}
    if request.media_type != JSON and bad:
        raise RequestError(
            400,
            f"{len(bad)} of {len(bad) + result.files} files could not be read, and only JSON names "
            f"them beside the rows (Accept: {JSON}). {' '.join(bad.values())}",
        )
    if request.media_type == PNG:
        if len(result.overlays) != 1:
            raise RequestError(
                406,
                f"There are {len(result.overlays)} images, expected one as {PNG}. Ask for JSON, "
                f"which has all of them (Accept: {JSON}).",
            )
        return result.overlays[0].read_bytes()
    frame = _read_table(out, raw)
    if request.media_type in (CSV, PARQUET):
        path = out.with_name("answer.csv" if request.media_type == CSV else "answer.parquet")
        with table_writers.writing(path) as write:
            write(frame)
        return path.read_bytes()
    details = _plain(result.summary)
    content = {
        "columns": list(frame.columns),
        "rows": _rows(frame),
        "skipped": bad,
        "notes": [_without(raw, note) for note in result.notes],
        "novelty": details.pop("novelty", None),
        "details": details,
    }
    if windows:
        content["windows"] = _rows(_read_table(windows, raw))
    if request.overlay:
        content["overlays"] = {
            path.stem: {"b64": base64.b64encode(path.read_bytes()).decode()}
            for path in result.overlays
        }
    return content


def _read_table(path: Path, raw: Path) -> pd.DataFrame:
    """Returns a written table; its files have the names that the client gave them."""
    frame = pd.read_parquet(io.BytesIO(path.read_bytes()))
    for name in frame:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].map(
                lambda cell: _without(raw, cell) if isinstance(cell, str) else cell
            )
    return frame


def _without(raw: Path, text: str) -> str:
    return text.replace(f"{raw}/", "").replace(str(raw), "the upload")


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [_plain(row) for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it; what is no finite number is null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NaT or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _negotiate(accept: str, *, overlay: bool) -> str:
    """Returns the media type of the answer: the first of those that a client accepts.

    Without a preference it is JSON, and PNG where the overlay is requested.
    """
    offered: dict[str, tuple[str, ...]] = {
        JSON: (JSON, "application/*", "text/event-stream"),
        CSV: (CSV, "text/*"),
        PARQUET: (PARQUET, "application/parquet", "application/x-parquet"),
        PNG: (PNG, "image/*"),
    }
    for accepted in _ranges(accept):
        if accepted == "*/*":
            return PNG if overlay else JSON
        media_type = next((own for own, names in offered.items() if accepted in names), "")
        if media_type == PNG and not overlay:
            raise RequestError(406, "An image is answered to ?overlay=true only.")
        if media_type in (CSV, PARQUET) and overlay:
            raise RequestError(406, f"A table has no overlay. Ask for {PNG} or {JSON}.")
        if media_type:
            return media_type
    raise RequestError(
        406, f"The answer is {JSON}, {CSV}, {PARQUET} or {PNG}, and Accept has none of them."
    )


def _ranges(accept: str) -> Iterable[str]:
    """Returns the media types of an Accept header, the preferred ones first."""
    weighted = []
    for part in (accept or "*/*").split(","):
        media_type, *parameters = (text.strip().lower() for text in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            weighted.append((-float(quality), media_type))
        except ValueError as error:
            raise RequestError(400, f"Accept has the quality {quality[:20]!r}.") from error
    return [media_type for weight, media_type in sorted(weighted, key=lambda w: w[0]) if weight]


def _boolean(values: dict[str, str], name: str) -> bool:
    value = values.pop(name, "false").lower()
    if value not in _BOOLEANS:
        raise RequestError(400, f"{name} must be true or false.")
    return _BOOLEANS[value]


def _number(
    values: dict[str, str], name: str, default: float | None, *, least: float, most: float
) -> float:
    text = values.pop(name, None)
    if text is None and default is not None:
        return default
    try:
        number = float(text or "")
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise RequestError(400, f"{name} must be a number from {least:g} to {most:g}.")
    return number
