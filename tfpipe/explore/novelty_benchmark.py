"""Novelty benchmark: train without a class, and measure how well each score finds that class.

It repeats the experiment of seed document 000 with six of seven classes. The model still has an
output for the class that is left out. No training example has this class, and its logit is dropped
before scores are computed.
"""

import logging
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfpipe.base import resumable
from tfpipe.base.choose import choose, listed
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import dtype_policy
from tfpipe.base.progress import Reporter, silent
from tfpipe.base.resumable import ResumableFolder
from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.explore import embeddings, novelty, umap
from tfpipe.explore.novelty import ModelOutputs
from tfpipe.models import MODELS
from tfpipe.models.spec import Spec
from tfpipe.registry import export
from tfpipe.registry.card import VersionCard
from tfpipe.training import compile as training_compile
from tfpipe.training import loop
from tfpipe.training.config import TrainingConfig

LOG = logging.getLogger(__name__)
EPOCHS = 8  # of a training without a class
MIN_STEPS = 500  # gradient steps of it; more epochs are taken to reach them
MIN_NOVEL = 5  # images of a class in held-out groups, for its AUROC to mean anything
MEAN = "(mean)"


def benchmark(
    subjects: list[tuple[VersionCard, Dataset, Spec]],
    leave_out: str,
    folder: Path,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    report: Reporter = silent,
) -> pd.DataFrame:
    """Leaves out one class, or each in turn; stored results are not computed again.

    Args:
      subjects: (card, records, model spec) of a classifier's version, of an autoencoder's, or of
        both. New models are trained with the cards' hyperparameters. Distances are measured in the
        embedding of the first.
      leave_out: a class, or "each".
      folder: of the results, one file a class, and of the state of an interrupted training.
      epochs: of a training, or as many as `MIN_STEPS` gradient steps take; at most those of the
        version.
      seed: of each training and of the maps.
      report: receives the stage "leave-out" with the classes done.

    Returns:
      A row for each class and score: "class", "score", and `novelty.ranking_quality`; then the
      means over classes. A score is to find the images of the class among the labelled images of
      the validation and test splits.

    Raises:
      UserError: the class is unknown, or there are too few to leave one out.
    """
    classes = subjects[0][2].classes
    if len(classes) < 3:
        raise UserError(
            "--leave-out needs three classes or more, so that two are left, but there are "
            f"{len(classes)}: {listed(classes)}."
        )
    names = classes if leave_out == "each" else (choose(leave_out, classes, noun="class"),)
    labels = _labels(subjects[0][1])
    plan = _plan(subjects, epochs=epochs, seed=seed)
    qualities = {}
    with _results_in(folder) as results:
        for done, name in enumerate(names):
            report("leave-out", {"done": done, "total": len(names)})
            label = classes.index(name)
            if (quality := results.result(f"{label:02d}", plan)) is None:
                held_out = labels["is_held_out"] & (labels["label"] == label)
                if held_out.sum() < MIN_NOVEL:
                    LOG.warning(
                        "%s has %d images in held-out groups, which is too few to leave it out.",
                        name,
                        held_out.sum(),
                    )
                    continue
                state = folder / f".{resumable.hash_of(plan)[:12]}-{label:02d}"
                trained = [
                    _trained_outputs(
                        card,
                        data,
                        spec,
                        label=label,
                        epochs=epochs,
                        seed=seed,
                        state=state / card.model,
                    )
                    for card, data, spec in subjects
                ]
                quality = _quality(trained, labels, label=label, seed=seed)
                results.add_result(f"{label:02d}", plan, quality)
                shutil.rmtree(state)
            qualities[name] = quality
    report("leave-out", {"done": len(names), "total": len(names)})
    return _table(qualities)


def stored_results(
    subjects: list[tuple[VersionCard, Dataset, Spec]],
    folder: Path,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns the table of all classes that were left out earlier, under the same plan."""
    plan = _plan(subjects, epochs=epochs, seed=seed)
    classes = subjects[0][2].classes
    results = _results_in(folder)
    qualities = {name: results.result(f"{i:02d}", plan) for i, name in enumerate(classes)}
    return _table({name: value for name, value in qualities.items() if value is not None})


def winner(table: pd.DataFrame) -> str | None:
    """Returns the score with the best mean AUROC; None of an empty table."""
    means = table[table["class"] == MEAN] if len(table) else table
    return str(means.loc[means["auroc"].idxmax(), "score"]) if len(means) else None


def _plan(
    subjects: list[tuple[VersionCard, Dataset, Spec]], *, epochs: int, seed: int
) -> dict[str, Any]:
    """Returns all that a result depends on."""
    versions = [
        {
            "model": card.model,
            "hyperparameters": card.hyperparameters,
            "training": card.training,
            "data": data.manifest.fingerprint,
        }
        for card, data, _ in subjects
    ]
    return {"versions": versions, "epochs": epochs, "seed": seed}


def _results_in(folder: Path) -> ResumableFolder:
    """Returns the folder of results, one for each class that was left out."""
    return ResumableFolder(
        folder,
        None,
        work="novelty benchmark",
        busy=f"Another exploration leaves classes out in {folder}. Wait for it to end.",
    )


def _labels(data: Dataset) -> dict[str, np.ndarray]:
    """Returns "label" [n] int, "is_train" and "is_held_out" [n] bool of all examples, in order.

    Only labelled examples are held out.
    """
    splits = embeddings.splits_of(data)
    if "train" not in splits or len(splits) < 2:
        raise UserError("--leave-out needs a training split and held-out groups beside it.")
    parts = [dataset.labels_of(data.folder, (s,), manifest=data.manifest) for s in splits]
    label = np.concatenate(parts)
    sizes = [len(part) for part in parts]
    is_train = np.repeat([split == "train" for split in splits], sizes)
    return {"label": label, "is_train": is_train, "is_held_out": ~is_train & (label >= 0)}


def _trained_outputs(
    card: VersionCard,
    data: Dataset,
    spec: Spec,
    *,
    label: int,
    epochs: int,
    seed: int,
    state: Path,
) -> ModelOutputs:
    """Returns the outputs, for all images, of a model that is trained without a class.

    It is trained without unlabelled images as well, as they may be of that class.

    Args:
      card: of the version whose hyperparameters and training are taken.
      data: the records.
      spec: of the model.
      label: of the class that is left out.
      epochs: as in `benchmark`.
      seed: of the training.
      state: folder of the state, from which an interrupted training continues.
    """
    values = {name: value for name, value in card.training.items() if name != "precision"}
    settings = TrainingConfig(**values | {"seed": seed})
    train, validation = (without_class(data, part, label) for part in (data.train, data.validation))
    without = replace(data, train=train, validation=validation)

    def built() -> keras.Model:
        return MODELS[card.model](spec, **card.hyperparameters)

    with dtype_policy(card.training["precision"]):
        keras.utils.set_random_seed(settings.seed)
        model = built()
        enough = math.ceil(MIN_STEPS / training_compile.steps_per_epoch(model, without, settings))
        settings = replace(settings, epochs=min(max(epochs, enough), settings.epochs))
        training_compile.prepare(model, without, settings=settings)
        loop.fit(model, without, settings=settings, checkpoint_folder=state)
        return embeddings.compute_outputs(export.in_float32(model, built), data)


def without_class(data: Dataset, subset: Subset, label: int) -> Subset:
    """Returns the labelled examples of a subset that are of another class."""
    labels = dataset.labels_of(data.folder, subset.splits, manifest=data.manifest)
    is_other = (labels >= 0) & (labels != label)
    chosen = is_other if subset.chosen is None else is_other & subset.chosen
    return Subset(subset.splits, chosen)


def _quality(
    trained: list[ModelOutputs], labels: dict[str, np.ndarray], *, label: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Returns score -> how well it finds the class that was left out."""
    is_reference = labels["is_train"] & (labels["label"] >= 0) & (labels["label"] != label)
    if is_reference.sum() < novelty.MIN_REFERENCE:
        raise UserError(
            f"--leave-out needs {novelty.MIN_REFERENCE} labelled training images of other classes, "
            f"but there are {is_reference.sum()}."
        )
    rows = is_reference | labels["is_held_out"]
    logits = next((part.logits[rows] for part in trained if part.logits is not None), None)
    outputs = ModelOutputs(
        trained[0].embedding[rows],
        None if logits is None else np.delete(logits, label, axis=1),
        next((part.error[rows] for part in trained if part.error is not None), None),
    )
    reference = outputs.embedding[is_reference[rows]]
    fitted = umap.sample_rows(len(reference), most=umap.EXACT, seed=seed)
    mapper = umap.fit(reference[fitted], seed=seed)
    places = umap.placed(mapper, outputs.embedding)
    scores = novelty.scores(
        outputs, is_reference[rows], labels=labels["label"][rows], places=places
    )
    is_held_out = labels["is_held_out"][rows]
    is_novel = labels["label"][rows][is_held_out] == label
    return {
        name: novelty.ranking_quality(is_novel, score[is_held_out])
        for name, score in scores.items()
    }


def _table(qualities: dict[str, dict[str, dict[str, Any]]]) -> pd.DataFrame:
    """Returns a row for each class and score, and the means over classes."""
    rows = [
        {"class": name, "score": score, **quality}
        for name, scores in qualities.items()
        for score, quality in scores.items()
    ]
    if not rows:
        return pd.DataFrame()
    frame = pd.DataFrame(rows)
    means = frame.groupby("score", sort=False)[["auroc", "precision_at_100"]].mean().reset_index()
    counts = frame.groupby("score", sort=False)[["n_novel", "n_other"]].sum().reset_index(drop=True)
    return pd.concat([frame, means.join(counts).assign(**{"class": MEAN})], ignore_index=True)
