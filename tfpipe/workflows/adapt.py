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
from tfpipe.base.errors import UserError
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
from tfpipe.models.fused import inference
from tfpipe.registry import previous_version, store
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Task
from tfpipe.workflows import retrain, train
from tfpipe.workflows.retrain import RetrainingPlan, RetrainingRefused

PRIOR_SHIFT, BATCH_NORM = "prior-shift", "batch-norm"
UNLABELLED = (PRIOR_SHIFT, BATCH_NORM)
MOST_UNLABELLED = 20_000  # new images that are read without labels, drawn at random
RATE_FACTOR = 0.5  # times the version's highest learning rate; a retraining takes a tenth of it
NORM_BATCH, NORM_BATCHES = 64, 256
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
      UserError: epochs are asked for without training, a file cannot be read, the raw folder holds
        it already, or a packed file has changed its split since.
    """
    fits = [choose(name, UNLABELLED, noun="way without labels") for name in unlabelled]
    if fits and plan.epochs is not None:
        raise UserError(
            f"Nothing is trained by {' and '.join(fits)}, so there are no epochs. Leave them out."
        )
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
            batches = mixed_batches(images, records, home, seed=plan.seed or 0)
            batch_norm.estimate_again(model, batches)

    def shift(model: keras.Model) -> dict[str, float] | None:
        return shift_prior(model, images, records, home) if PRIOR_SHIFT in fits else None

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
        after_calibration=shift,
    )
    made = train.train_as_given(run, card.hyperparameters, command="adapt")
    return made | {"gain": gains[-1], "manifest": manifest}


def _with_records(task: Task, home: RecordManifest) -> Task:
    """Returns a task with the classes, columns and images of the records."""
    return replace(task, classes=home.classes, columns=home.columns, image_shape=home.image_shape)


def mixed_batches(
    images: dict[str, np.ndarray], records: Path, manifest: RecordManifest, *, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of `NORM_BATCH` images at most, half new and half of the training split.

    Both are drawn at random: in a batch of one place or one run, variances lack what lies between.

    Args:
      images: new ones, by `added_records.read_all`, in a random order.
      records: the packed ones.
      manifest: theirs.
      seed: of the draw.
    """
    n_home = dataset.size(dataset.TRAIN, manifest=manifest)
    half = min(NORM_BATCH // 2, len(images["image"]), n_home)
    count = min(len(images["image"]) // half, NORM_BATCHES) * half
    rng = np.random.default_rng(seed)
    is_chosen = np.zeros(n_home, bool)
    is_chosen[rng.permutation(n_home)[:count]] = True
    chosen = dataset.Subset(("train",), is_chosen)
    parts = dataset.batches(records, chosen, manifest=manifest).as_numpy_iterator()
    features = [batch for batch, _ in parts]
    home = {name: np.concatenate([part[name] for part in features]) for name in features[0]}
    order = np.resize(rng.permutation(len(home["image"])), count)  # few ones come several times
    for begin in range(0, count, half):
        rows = order[begin : begin + half]
        yield {
            name: np.concatenate([images[name][begin : begin + half], array[rows]])
            for name, array in home.items()
        }


def shift_prior(
    model: keras.Model, images: dict[str, np.ndarray], records: Path, manifest: RecordManifest
) -> dict[str, float] | None:
    """Adds to the logits what the shares of the classes among new images say, in place.

    Args:
      model: a classifier.
      images: new ones.
      records: the packed ones.
      manifest: theirs.

    Returns:
      The thresholds of two classes, chosen on the validation split before the shift: one chosen
      after it would move along and change no decision. None for more classes.
    """
    names, call = calls.inputs_of(model), inference(model)

    def predict(features: dict[str, np.ndarray]) -> np.ndarray:
        return calls.batched(call, features, names=names)

    validation = dataset.batches(records, dataset.VALIDATION, manifest=manifest)
    pairs = [(label, predict(one)) for one, label in validation.as_numpy_iterator()]
    labels, home = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    prior = np.maximum(home.mean(axis=0).astype(np.float64), MIN_PRIOR)
    shares = prevalence.shifted_prior(predict(images).astype(np.float64), prior / prior.sum())
    ratio = np.maximum(shares, MIN_PRIOR) / prior
    calls.soften(model, 1.0, np.log(ratio).tolist())
    thresholds = metrics.thresholds(labels[labels >= 0], home[labels >= 0])
    return thresholds | {"confident": 1.0} if thresholds else None


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
