"""Adaptation: a version goes on with labelled images of another instrument or site."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.choose import choose
from tfpipe.base.progress import Reporter, silent
from tfpipe.data import added_records, dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.data.added_records import PREFIX, AddedImages
from tfpipe.data.manifest import RecordManifest
from tfpipe.evaluation import adaptation, metrics, prevalence, version_comparison
from tfpipe.evaluation.adaptation import ShareCorrect
from tfpipe.evaluation.evaluate import Evaluation
from tfpipe.evaluation.version_comparison import Answers
from tfpipe.models import MODELS, batch_norm, calls
from tfpipe.registry import previous_version, store
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Task
from tfpipe.workflows import retrain, train
from tfpipe.workflows.retrain import RetrainingPlan, RetrainingRefused

PRIOR_SHIFT, BATCH_NORM = "prior-shift", "batch-norm"
UNLABELLED = (PRIOR_SHIFT, BATCH_NORM)
MOST_UNLABELLED = 20_000  # new images that are read without labels, drawn at random
RATE_FACTOR = 0.5  # times the version's highest learning rate; a retraining takes a tenth of it
NORM_BATCH = 64
MIN_PRIOR = 1e-3  # a class that no new image seems to be of is not ruled out
REFUSED = "refused.json"  # in the folder of the adaptation


@dataclass(frozen=True)
class AdaptationGain:
    """How an adapted version compares with the one before, and whether it is published.

    Attributes:
      new: share of correct images that were kept out of the new ones.
      home: share of correct test images of the version's own records.
      comparison: by `version_comparison.compare`, of the task's own score; "old" is home.
    """

    new: ShareCorrect
    home: ShareCorrect
    comparison: dict[str, Any]

    @property
    def reason(self) -> str:
        """Why the version is not published, or ""."""
        if not self.new.is_better:
            return "It is not better on the new images that were kept out, by more than chance."
        is_worse = self.comparison["sets"]["old"]["verdict"] == version_comparison.WORSE
        return "It is worse at home." if self.home.is_worse or is_worse else ""

    def in_words(self) -> list[str]:
        """Returns a sentence for each place, and for each score."""
        return [
            self.new.in_words("that are new and were kept out"),
            self.home.in_words("at home"),
            *version_comparison.in_words(self.comparison),
        ]


def adapt(
    task: Task,
    version: Path,
    *,
    raw: Path,
    records: Path,
    added: AddedImages,
    folder: Path,
    plan: RetrainingPlan,
    unlabelled: Sequence[str] = (),
    report: Reporter = silent,
) -> dict[str, Any]:
    """Trains a version on with added images, and publishes it if it has become better there.

    It must be better on the added images that were kept out, by more than chance, and not worse on
    the test images of the version's own records.

    Args:
      task: the task, one that predicts single images.
      version: the version's folder.
      raw: folder of the raw files.
      records: of the version's own records.
      added: labelled images.
      folder: of the adaptation, where the records of both are written.
      plan: how it is trained; `force` publishes it anyhow.
      unlabelled: of `UNLABELLED`, what is fitted to all new images in place of training; labels of
        the images that are kept out then only judge it. () for training.
      report: receives the progress.

    Returns:
      {"version", "path", "metrics", "gain"}.

    Raises:
      RetrainingRefused: it is not better there, or worse at home. Nothing was published.
      UserError: a file cannot be read, the raw folder holds it already, or a packed file has
        changed its split since.
    """
    fits = [choose(name, UNLABELLED, noun="way without labels") for name in unlabelled]
    card, home = store.read_card(version), data_manifest.read(records)
    previous_version.check(version, home)
    added_records.check_new(added.sources, raw)
    task = _with_records(task, home)
    settings = [f"{name}={value}" for name, value in card.options.items()]
    options = parse_options(task, settings)
    joined = folder / "records"
    manifest = added_records.write(joined, records, added, task=task)
    gains: list[AdaptationGain] = []
    images = (
        added_records.read_all(added, task, most=MOST_UNLABELLED, seed=plan.seed or 0)
        if fits
        else {}
    )

    def estimate_norms(model: keras.Model) -> None:
        if BATCH_NORM in fits:
            batch_norm.estimate_again(model, _half_and_half(images, joined, manifest))

    def shift_prior(model: keras.Model) -> None:
        if PRIOR_SHIFT in fits:
            _shift_prior(model, images, joined, manifest)

    def accept(model: keras.Model, evaluation: Evaluation) -> dict[str, Any]:
        gain = _gain(version, joined, evaluation.predictions, evaluation.thresholds, task=task)
        gains.append(gain)
        comparison = gain.comparison | {"with": int(version.name), "forced": False}
        if gain.reason and not plan.force:
            shares = {"new": gain.new.to_json(), "home": gain.home.to_json()}
            files.replace(folder / REFUSED, json.dumps(comparison | shares, indent=1).encode())
            raise RetrainingRefused(
                f"Nothing was published. {gain.reason} {' '.join(gain.in_words()[:2])} Label more "
                "images, or publish it by --force.",
                comparison,
            )
        return comparison | {"forced": bool(gain.reason)}

    config = retrain.training_config(version, replace(plan, initialized_from=None))
    config = replace(config, learning_rate=RATE_FACTOR * config.learning_rate, schedule="cosine")
    run = train.TrainingRun(
        task=task,
        model=choose(card.model, MODELS, noun="model"),
        raw=raw,
        records=joined,
        models=version.parent,
        options=options,
        config=replace(config, epochs=0) if fits else config,
        precision=str(card.training.get("precision", "float32")),
        random_split=False,
        report=report,
        initialized_from=version,
        accept=accept,
        before_calibration=estimate_norms,
        after_calibration=shift_prior,
    )
    made = train.train_as_given(run, card.hyperparameters, command="adapt")
    return made | {"gain": gains[-1], "manifest": manifest}


def _with_records(task: Task, home: RecordManifest) -> Task:
    """Returns a task with the classes, columns and images of the records."""
    return replace(task, classes=home.classes, columns=home.columns, image_shape=home.image_shape)


def _half_and_half(
    images: dict[str, np.ndarray], records: Path, manifest: RecordManifest
) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of new images and of training images of the records in turns."""
    home = dataset.batches(records, dataset.TRAIN, manifest=manifest, batch_size=NORM_BATCH)
    batches = home.as_numpy_iterator()
    count = len(images["image"])
    for begin in range(0, max(1, count - NORM_BATCH + 1), NORM_BATCH):
        yield {name: array[begin : begin + NORM_BATCH] for name, array in images.items()}
        if pair := next(batches, None):
            yield pair[0]


def _shift_prior(
    model: keras.Model, images: dict[str, np.ndarray], records: Path, manifest: RecordManifest
) -> None:
    """Adds to the logits what the shares of the classes among new images say."""
    names = calls.inputs_of(model)

    def predict(features: dict[str, np.ndarray]) -> np.ndarray:
        return calls.batched(lambda one: model(one, training=False), features, names=names)

    validation = dataset.batches(records, dataset.VALIDATION, manifest=manifest)
    home = np.concatenate([predict(one) for one, _ in validation.as_numpy_iterator()])
    prior = np.maximum(home.mean(axis=0).astype(np.float64), MIN_PRIOR)
    shares = prevalence.shifted_prior(predict(images).astype(np.float64), prior / prior.sum())
    ratio = np.maximum(shares, MIN_PRIOR) / prior
    calls.soften(model, 1.0, np.log(ratio).tolist())


def _gain(
    version: Path,
    records: Path,
    predictions: pd.DataFrame,
    thresholds: dict[str, float],
    *,
    task: Task,
) -> AdaptationGain:
    manifest, card = data_manifest.read(records), store.read_card(version)
    test = predictions[predictions["split"] == "test"]
    before = previous_version.predict_test_examples(version, records, manifest=manifest)
    after = test[[f"p_{name}" for name in manifest.classes]].to_numpy(float)
    answers = Answers(
        test["label"].to_numpy(int),
        test["group"].to_numpy(str),
        before,
        after,
        metrics.predict_labels(before, thresholds=card.thresholds),
        metrics.predict_labels(after, thresholds=thresholds),
    )
    answers = answers.only(answers.labels >= 0)
    is_new = np.char.startswith(answers.groups, PREFIX)
    comparison = version_comparison.compare(
        answers,
        old_groups={*answers.groups[~is_new].tolist()},
        classes=tuple(manifest.classes),
        objective=task.scoring.objective,
    )
    new, home = (adaptation.compare_correct(answers.only(rows)) for rows in (is_new, ~is_new))
    return AdaptationGain(new, home, comparison)
