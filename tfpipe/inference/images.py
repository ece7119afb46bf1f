"""Prediction of single images, such as particles: a table, counts and contact sheets."""

import io
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfpipe.base import files, table_writers, tables
from tfpipe.base import images as base_images
from tfpipe.base.errors import UserError
from tfpipe.evaluation import ordinal, prevalence, sharpness
from tfpipe.evaluation.metric_names import title_of
from tfpipe.inference import monitoring, resume
from tfpipe.inference.confidence import PredictionConfidence, PredictionOptions
from tfpipe.inference.contact_sheets import ContactSheets
from tfpipe.inference.files import prediction_plan
from tfpipe.inference.monitoring import ImageMonitor
from tfpipe.inference.request import PredictionRequest, PredictionResult
from tfpipe.inference.resume import SourceResults
from tfpipe.inference.sources import SourceRun
from tfpipe.registry import predictions
from tfpipe.registry.card import BOOSTED_TREES, CLASSIFIER, VersionCard
from tfpipe.registry.load import SavedPredictor
from tfpipe.tasks.task import Example, Reading, Source, Task

ROWS_AT_ONCE = 2048  # examples that are predicted together
DEFAULT_OPTIONS = PredictionOptions()
KINDS = (CLASSIFIER, BOOSTED_TREES)
TRUSTED = ("accuracy", "balanced_accuracy")  # test scores that a prediction reminds of
COUNTS = ("predicted", "confident", "at_threshold")  # of each source's result


def predict(
    request: PredictionRequest, *, prediction_options: PredictionOptions = DEFAULT_OPTIONS
) -> PredictionResult:
    """Predicts the class of each new image, counts the classes, and draws contact sheets.

    A source that cannot be read is named in the result, and the others are predicted all the same.
    The result of each source is stored as soon as it is finished: if the run is killed, the same
    call goes on with the sources that are left.

    Args:
      request: the files, of a task whose images are predicted one by one; the table is a .csv,
        .parquet or one of the task's `ImageOutputs.writers`. counts.csv, contact sheets and
        overlays go to the folder beside it.
      prediction_options: what is predicted, and when the model abstains.

    Returns:
      What was done.

    Raises:
      UserError: a path is wrong, a column that the model needs is missing, no source could be read,
        two sources would have the same overlay or image, or the version is an autoencoder's.
    """
    out = request.out
    predictor = request.open_predictor(KINDS)
    if prediction_options.embedding and not predictor.has_embedding:
        predictor.embed()  # its error says why there is none
    card = predictor.card
    classes = card.classes
    options, survey = request.survey(card.options)
    new_columns = survey.columns or request.task.columns
    missing = [name for name in card.columns if name not in new_columns]
    if missing and "columns" in card.inputs:
        raise UserError(
            f"The model reads the columns {', '.join(missing)}, which the new files do not have. "
            "Export them again with these, or predict with a model of images only."
        )
    order = [new_columns.index(name) for name in card.columns if name in new_columns]
    task = replace(request.task, classes=classes, columns=new_columns)
    if out.suffix.lower() not in task.image_outputs.writers:
        table_writers.check(out)
    if files.shown(out) != str(out):
        raise UserError(
            f"{files.shown(out)} is not valid text (UTF-8), so no result can be stored "
            "under it. Give another --out."
        )
    _check_overlays(task, survey.sources, out)
    plan = prediction_plan(card, options, survey) | {
        "prediction_options": prediction_options,
        "counts": COUNTS,
        "out": out.suffix,
    }
    job = ImageJob(
        task,
        request.version,
        options=options,
        order=order,
        prediction_options=prediction_options,
        out=out,
    )
    confidence, total = job.confidence(card), len(survey.sources)
    with resume.open_results(out, plan) as results:
        n_resumed = sum(results.result(source) is not None for source in survey.sources)
        bad = request.run(SourceRun(survey.sources, job, predictor, results, report=request.report))
        if len(bad) == total:
            raise UserError(f"No file could be read: {' '.join(bad.values())}")
        good = [source for source in survey.sources if source.name not in bad]
        finished = [result for source in good if (result := results.result(source)) is not None]
        frames: Iterable[pd.DataFrame] = (
            frame for source in good for frame in results.rows(source)
        )
        if not any(result["rows"] for result in finished):
            has_novelty = card.novelty is not None or predictor.novelty is not None
            has_images = "image" in card.inputs
            empty = _empty(task, confidence, has_novelty=has_novelty, has_images=has_images)
            no_images = np.zeros((0, *task.image_shape))
            frames = [_as_written(task, empty, no_images, out, work=results.folder)]
        written_notes = _write(task, frames, out, metadata=card.identity)
        predicted = np.sum([result["predicted"] for result in finished], axis=0)
        confident = np.sum([result["confident"] for result in finished], axis=0)
        beside = out.with_suffix("")
        at_threshold = np.sum([result["at_threshold"] for result in finished], axis=0)
        n_groups = len({source.group for source in good})
        counts, count_notes = confidence.class_counts(
            predicted, confident, at_threshold, new_groups=n_groups
        )
        tables.write_csv(counts, beside / "counts.csv")
        states = (result["monitored"] for result in finished)
        noticed, summary = monitoring.summarize(card, states, noun="images")
        notes = (*survey.notes, *_trust(card), *noticed, *written_notes)
        notes = (*notes, *count_notes)
        if n_abstained := int(confident[-1]):
            notes = (*notes, _abstained_note(n_abstained, int(predicted.sum()), prediction_options))
        n_blurred = sum(result["blurred"] for result in finished)
        if n_blurred:
            n_images = sum(result["rows"] for result in finished)
            notes = (_blurred_note(n_blurred, n_images, prediction_options), *notes)
        records = counts.astype(object).where(counts.notna(), None).to_dict("records")
        summary |= {"abstained": int(confident[-1]), "counts": records}
        if prediction_options.min_sharpness:
            summary["blurred"] = n_blurred
        if n_resumed:
            summary["resumed_files"] = n_resumed
        sheets = ContactSheets(classes)
        for source in good:
            with np.load(results.path(source, ".npz"), allow_pickle=False) as arrays:
                sheets.restore(arrays)
        overlays = [Path(result["overlay"]) for result in finished if result["overlay"]]
        written = [*sheets.write(beside), *overlays]
    n_rows = sum(result["rows"] for result in finished)
    return PredictionResult(n_rows, len(good), bad, notes, written, summary)


def _trust(card: VersionCard) -> list[str]:
    """Returns a sentence on how far to trust a classifier's table, by the version's test split."""
    test = card.metrics.get("test", {})
    scores = {name: test[name] for name in TRUSTED if test.get(name) is not None}
    if not scores:
        return []
    listed = ", ".join(f"{title_of(name)} {value:.2f}" for name, value in scores.items())
    return [f"On images that it was tested on, this version had: {listed}."]


def _abstained_note(count: int, total: int, prediction_options: PredictionOptions) -> str:
    return (
        f"{count:,} of {total:,} images have no class that is right in "
        f"{prediction_options.min_precision:.0%} of cases by the validation split: `abstain` marks "
        "them. --min-precision 0 names them all."
    )


def with_images(frame: pd.DataFrame, images: np.ndarray, beside: Path) -> pd.DataFrame:
    """Writes the images of some rows, and returns the rows as `ImageOutputs.writers` take them.

    Args:
      frame: the rows, with `key`, `label` and `abstain`.
      images: theirs, [n, height, width, channels].
      beside: folder beside the table; images go to its folder images/.

    Returns:
      The rows, each with its `image` as a path from the table's folder, and with an empty label
      where the model abstains.
    """
    folder = beside / "images"
    stems = frame["key"].str.removesuffix(".png")
    names = [re.sub(r"[^0-9A-Za-z._-]+", "_", stem) + ".png" for stem in stems]
    for name, image in zip(names, images, strict=True):
        base_images.write_png(image, folder / name)
    paths = [f"{folder.parent.name}/{folder.name}/{name}" for name in names]
    labels = frame["label"].mask(frame["abstain"], "")
    return frame.assign(label=labels, image=paths).drop(columns="abstain")


@dataclass(frozen=True)
class ImageJob:
    """The job of predicting single images, see `sources.PredictionJob`.

    Attributes:
      task: with the classes of the version and the columns of the new files.
      version: folder of the version.
      options: the task's options.
      order: of the version's columns among those of the files.
      prediction_options: what is predicted, and when the model abstains.
      out: the table; images go to the folder beside it.
    """

    task: Task
    version: Path
    options: Any
    order: list[int]
    prediction_options: PredictionOptions
    out: Path

    def confidence(self, card: VersionCard) -> PredictionConfidence:
        """Returns the thresholds of confidence, chosen on the version's own predictions."""
        return PredictionConfidence(
            predictions.predictions(self.version, {}, classes=self.task.classes),
            self.task.classes,
            self.prediction_options,
            decision=card.thresholds,
        )

    def open(self, predictor: SavedPredictor) -> "ImagePredictor":
        """Returns what predicts the images of one source after another."""
        return ImagePredictor(self, predictor)


class ImagePredictor:
    """Predicts the images of one source after another, see `sources.SourcePredictor`."""

    def __init__(self, job: ImageJob, predictor: SavedPredictor):
        self._job, self._predictor = job, predictor
        self._confidence = job.confidence(predictor.card)
        self._sheets = ContactSheets(job.task.classes)

    def read(self, source: Source) -> Reading:
        """Returns the images of a source."""
        return self._job.task.read(source, self._job.options)

    def predict(
        self,
        source: Source,
        reading: Reading,
        results: SourceResults,
        report: Callable[[float], None],
    ) -> None:
        """Predicts a source's images and stores their rows; see `sources.SourcePredictor`."""
        job, confidence, n_classes = self._job, self._confidence, len(self._job.task.classes)
        monitor = ImageMonitor(self._predictor.card, self._predictor.novelty)
        n_rows = n_blurred = 0
        predicted, confident = np.zeros(n_classes, int), np.zeros(n_classes + 1, int)
        at_threshold = np.zeros(n_classes, int)
        with table_writers.writing(results.path(source, ".parquet")) as write:
            for begin in range(0, len(reading.examples), ROWS_AT_ONCE):
                examples = reading.examples[begin : begin + ROWS_AT_ONCE]
                frame, images, probabilities = _predicted(
                    job, self._predictor, confidence, examples, monitor=monitor
                )
                write(_as_written(job.task, frame, images, job.out, work=results.folder))
                n_rows += len(examples)
                if "blurred" in frame:
                    is_sharp = ~frame["blurred"].to_numpy()
                    n_blurred += int((~is_sharp).sum())
                    examples = list(itertools.compress(examples, is_sharp))
                    images, probabilities = images[is_sharp], probabilities[is_sharp]
                named = confidence.named(probabilities)
                keys = [example.key for example in examples]
                sizes = [example.metadata.get("um_per_px", np.nan) for example in examples]
                self._sheets.add(
                    keys, images, probabilities, labels=named, um_per_px=np.array(sizes, float)
                )
                predicted += np.bincount(named, minlength=n_classes)
                labels = confidence.predicted_labels(probabilities)
                confident += prevalence.count_predictions(labels, classes=n_classes)
                at_threshold += confidence.count_at_threshold(probabilities)
        overlay = _write_overlay(
            job.task, source, results.rows(source), job.out, options=job.options
        )
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **self._sheets.new_arrays())
        files.replace(results.path(source, ".npz"), file.getvalue())
        results.add(
            source,
            {
                "rows": n_rows,
                "predicted": predicted.tolist(),
                "confident": confident.tolist(),
                "at_threshold": at_threshold.tolist(),
                "blurred": n_blurred,
                "overlay": overlay and str(overlay),
                "monitored": monitor.state(),
            },
        )


def _predicted(
    job: ImageJob,
    predictor: SavedPredictor,
    confidence: PredictionConfidence,
    examples: list[Example],
    *,
    monitor: ImageMonitor,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Returns the rows of some examples, their images, and their probabilities [n, classes]."""
    images = np.stack([example.image for example in examples])
    columns = np.stack([example.columns for example in examples])[:, job.order]
    embedding = None
    if confidence.options.embedding or predictor.novelty is not None:
        probabilities, embedding = predictor.predict_and_embed(images, columns)
    else:
        probabilities = predictor.predict_proba(images, columns)
    groups = [example.group for example in examples]
    are_new = monitor.update(
        images, columns=columns, probabilities=probabilities, groups=groups, embedding=embedding
    )
    metadata = [{"key": e.key, "group": e.group, **e.metadata} for e in examples]
    frame = pd.concat([pd.DataFrame(metadata), confidence.table(probabilities)], axis=1)
    if are_new:
        frame = _with_new(frame, are_new)
    if "image" in predictor.card.inputs:
        sharp = sharpness.measure(images)
        frame = _with_sharpness(frame, sharp, confidence.options.min_sharpness)
    frame = ordinal.with_expected(frame, job.task, probabilities)
    if confidence.options.embedding and embedding is not None:
        names = [f"embedding_{i}" for i in range(embedding.shape[1])]
        frame = pd.concat([frame, pd.DataFrame(embedding, columns=names)], axis=1)
    return frame, images, probabilities


def _with_new(frame: pd.DataFrame, are_new: list[bool]) -> pd.DataFrame:
    """Returns rows that say which images look like none that the version was trained on."""
    frame.insert(frame.columns.get_loc("abstain") + 1, "new", np.array(are_new, bool))
    return frame


def _with_sharpness(frame: pd.DataFrame, sharp: np.ndarray, min_sharpness: float) -> pd.DataFrame:
    """Returns rows with the sharpness of their images, and whether they are blurred, if asked."""
    place = frame.columns.get_loc("new" if "new" in frame else "abstain") + 1
    frame.insert(place, "sharpness", sharp.round(3))
    if min_sharpness:
        frame.insert(place + 1, "blurred", sharp < min_sharpness)
    return frame


def _blurred_note(n_blurred: int, n_images: int, options: PredictionOptions) -> str:
    return (
        f"{n_blurred:,} of {n_images:,} images are blurred (sharpness below "
        f"{options.min_sharpness:g}): they are marked in the table, and not counted."
    )


def _empty(
    task: Task,
    confidence: PredictionConfidence,
    *,
    has_novelty: bool,
    has_images: bool,
) -> pd.DataFrame:
    """Returns the table of no image, so that its headings are written."""
    probabilities = np.zeros((0, len(confidence.classes)), np.float32)
    metadata = pd.DataFrame(columns=["key", "group", *task.metadata])
    frame = pd.concat([metadata, confidence.table(probabilities)], axis=1)
    frame = _with_new(frame, []) if has_novelty else frame
    if has_images:
        return _with_sharpness(frame, np.zeros(0), confidence.options.min_sharpness)
    return frame


def _as_written(
    task: Task, frame: pd.DataFrame, images: np.ndarray, out: Path, *, work: Path
) -> pd.DataFrame:
    """Returns rows as the table will have them.

    Args:
      task: the task.
      frame: the rows.
      images: theirs.
      out: the table.
      work: folder beside the table that is removed after the run; images of a .zip are there.
    """
    suffix = out.suffix.lower()
    if suffix not in task.image_outputs.writers:
        return frame
    return with_images(frame, images, work if suffix == ".zip" else out.with_suffix(""))


def _write(
    task: Task, frames: Iterable[pd.DataFrame], out: Path, *, metadata: dict[str, str]
) -> list[str]:
    """Writes the table, and returns notes about it."""
    writer = task.image_outputs.writers.get(out.suffix.lower())
    if writer:
        frame = pd.concat(frames, ignore_index=True)
        repeated = frame["image"][frame["image"].duplicated()]
        if len(repeated):
            raise UserError(
                f"Two images would be written to {repeated.iloc[0]}. Rename the file of one, or "
                "predict them one run after the other."
            )
        return writer(frame, out)
    with table_writers.writing(out, metadata=metadata) as write:
        for frame in frames:
            write(frame)
    return []


def _write_overlay(
    task: Task, source: Source, frames: Iterable[pd.DataFrame], out: Path, *, options: Any
) -> Path | None:
    """Writes a source's own image with the predictions drawn in; returns its path or None."""
    draw = task.image_outputs.overlay
    rows = list(frames) if draw else []
    if draw is None or not rows:
        return None
    overlay = draw(source, pd.concat(rows, ignore_index=True), options)
    if overlay is None:
        return None
    path = _overlay_path(source, out)
    base_images.write_png(overlay, path)
    return path


def _overlay_path(source: Source, out: Path) -> Path:
    """Returns where a source's overlay goes: the folders of the source are in the name."""
    return out.with_suffix("") / f"{source.name.replace('/', '_')}.png"


def _check_overlays(task: Task, sources: Iterable[Source], out: Path) -> None:
    """Raises a UserError if two sources would have the same overlay, as a/b and a_b."""
    first: dict[Path, Source] = {}
    for source in sources if task.image_outputs.overlay else ():
        other = first.setdefault(_overlay_path(source, out), source)
        if other is not source:
            raise UserError(
                f"{other.name} and {source.name} would have the same overlay, "
                f"{_overlay_path(source, out).name}. Rename one, or predict them one run after the "
                "other."
            )
