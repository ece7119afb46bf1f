"""Which score of novelty to trust: train without a class, and see how well each score finds it.

The six-or-seven experiment of seed 000, made a benchmark. A class that is left out leaves its name
in the model's answers, where it is never right in training and is taken out before any score.
"""

import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfpipe.base import resumable
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import dtype_policy
from tfpipe.base.resumable import ResumableFolder
from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.explore import embeddings, novelty, umap
from tfpipe.explore.novelty import Seen
from tfpipe.models import MODELS
from tfpipe.models.spec import Spec
from tfpipe.registry import export
from tfpipe.registry.card import VersionCard
from tfpipe.training import compile as training_compile
from tfpipe.training import loop
from tfpipe.training.config import TrainingConfig

LOG = logging.getLogger("tfpipe")
EPOCHS = 8  # of a model without a class, unless that is less than so many gradient steps:
LEAST_STEPS = 500
LEAST_NOVEL = 5  # pictures of a class in held-out groups, for its AUROC to say anything
MEAN = "(mean)"

Tell = Callable[[str, dict[str, Any]], None]


def benchmark(
    subjects: list[tuple[VersionCard, Dataset, Spec]],
    wanted: str,
    folder: Path,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    tell: Tell = lambda stage, facts: None,
) -> pd.DataFrame:
    """Leaves out one class, or each in turn; a class done before is not trained again.

    Args:
      subjects: (card, records, what a model may know of them) of a classifier's version, of an
        autoencoder's, or of both: the models that are trained anew, by the cards' hyperparameters.
        The first one's embedding is what distances are measured in.
      wanted: a class, or "each".
      folder: where results are kept, one file a class, and the state of a training that was
        stopped.
      epochs: of each training, or as many as `LEAST_STEPS` gradient steps take; never more than the
        version's own.
      seed: of each training and of the maps.
      tell: told ("leave-out", facts) as it goes.

    Returns:
      A row for each class and score: "class", "score", and `novelty.measured`; then the means over
      classes. Pictures of the class in the validation and test splits are what is to be found among
      the other labelled ones there.

    Raises:
      UserError: the class is unknown, or there are too few to leave one out.
    """
    classes = subjects[0][2].classes
    if len(classes) < 3:
        raise UserError(
            "--leave-out needs three classes or more, so that two are left, but there are "
            f"{len(classes)}: {', '.join(classes)}."
        )
    asked = classes if wanted == "each" else (choose(wanted, classes, noun="class"),)
    labels = _labels(subjects[0][1])
    plan = _plan(subjects, epochs=epochs, seed=seed)
    found = {}
    with _results_in(folder) as results:
        for done, name in enumerate(asked):
            tell("leave-out", {"done": done, "total": len(asked)})
            label = classes.index(name)
            if (known := results.result(f"{label:02d}", plan)) is None:
                held_out = labels["asked"] & (labels["label"] == label)
                if held_out.sum() < LEAST_NOVEL:
                    LOG.warning(
                        "%s has %d pictures in held-out groups, which is too few to leave it out.",
                        name,
                        held_out.sum(),
                    )
                    continue
                told = {"epochs": epochs, "seed": seed}
                state = folder / f".{resumable.hash_of(plan)[:12]}-{label:02d}"
                trained = [
                    _trained(card, data, spec, label=label, told=told, state=state / card.model)
                    for card, data, spec in subjects
                ]
                known = _scored(trained, labels, label=label, seed=seed)
                results.add_result(f"{label:02d}", plan, known)
                shutil.rmtree(state)
            found[name] = known
    tell("leave-out", {"done": len(asked), "total": len(asked)})
    return _table(found)


def kept(subjects: list, folder: Path, *, epochs: int = EPOCHS, seed: int = 0) -> pd.DataFrame:
    """Returns the table of all classes that were left out before, under the same plan."""
    plan = _plan(subjects, epochs=epochs, seed=seed)
    classes = subjects[0][2].classes
    results = _results_in(folder)
    found = {name: results.result(f"{i:02d}", plan) for i, name in enumerate(classes)}
    return _table({name: known for name, known in found.items() if known is not None})


def winner(table: pd.DataFrame) -> str | None:
    """Returns the score with the best mean AUROC; None of an empty table."""
    means = table[table["class"] == MEAN] if len(table) else table
    return str(means.loc[means["auroc"].idxmax(), "score"]) if len(means) else None


def _plan(subjects: list, *, epochs: int, seed: int) -> list[Any]:
    """Returns all that a result depends on."""
    names = ("model", "hyperparameters", "training")
    told = [
        {name: getattr(card, name) for name in names} | {"data": data.manifest.fingerprint}
        for card, data, _ in subjects
    ]
    return [told, epochs, seed]


def _results_in(folder: Path) -> ResumableFolder:
    """Returns the folder of results, one for each class that was left out."""
    return ResumableFolder(
        folder,
        None,
        work="novelty benchmark",
        busy=f"Another exploration leaves classes out in {folder}. Wait for it to end.",
    )


def _labels(data: Dataset) -> dict[str, np.ndarray]:
    """Returns "label" [n] int, "train" [n] bool and "asked" [n] bool of all examples, in order.

    "asked" are the labelled ones of held-out groups.
    """
    splits = embeddings.splits_of(data)
    if "train" not in splits or len(splits) < 2:
        raise UserError("--leave-out needs a training split and held-out groups beside it.")
    each = {s: dataset.labels_of(data.folder, (s,), manifest=data.manifest) for s in splits}
    label = np.concatenate(list(each.values()))
    train = np.concatenate([np.full(len(each[s]), s == "train") for s in splits])
    return {"label": label, "train": train, "asked": ~train & (label >= 0)}


def _trained(
    card: VersionCard,
    data: Dataset,
    spec: Spec,
    *,
    label: int,
    told: dict[str, int],
    state: Path,
) -> Seen:
    """Returns what a model that never saw a class makes of all pictures.

    An autoencoder sees no unlabelled ones either, as they may be of that class.

    Args:
      card: of the version that it is trained like.
      data: the records.
      spec: what it may know of them.
      label: of the class that is left out.
      told: "epochs" and "seed".
      state: folder of its state, with which a stopped training goes on.
    """
    values = {name: value for name, value in card.training.items() if name != "precision"}
    settings = TrainingConfig(**values | {"seed": told["seed"]})
    train, validation = (without_class(data, part, label) for part in (data.train, data.validation))
    without = replace(data, train=train, validation=validation)

    def built() -> keras.Model:
        return MODELS[card.model](spec, **card.hyperparameters)

    with dtype_policy(card.training["precision"]):
        keras.utils.set_random_seed(settings.seed)
        model = built()
        enough = math.ceil(LEAST_STEPS / training_compile.steps_of(model, without, settings))
        epochs = min(max(told["epochs"], enough), settings.epochs)
        settings = replace(settings, epochs=epochs)
        training_compile.prepare(model, without, settings=settings)
        loop.fit(model, without, settings=settings, kept=state)
        return embeddings.seen(export.in_float32(model, built), data)


def without_class(data: Dataset, part: Subset, label: int) -> Subset:
    """Returns the labelled examples of a part that are of another class."""
    labels = dataset.labels_of(data.folder, part.splits, manifest=data.manifest)
    kept = (labels >= 0) & (labels != label)
    return Subset(part.splits, kept if part.chosen is None else kept & part.chosen)


def _scored(
    trained: list[Seen], labels: dict[str, np.ndarray], *, label: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Returns score -> how well it finds the class that was left out."""
    known = labels["train"] & (labels["label"] >= 0) & (labels["label"] != label)
    if known.sum() < novelty.LEAST_KNOWN:
        raise UserError(
            f"--leave-out needs {novelty.LEAST_KNOWN} labelled training pictures of other classes, "
            f"but there are {known.sum()}."
        )
    rows = known | labels["asked"]
    seen = Seen(
        trained[0].embedding[rows],
        next(
            (np.delete(one.logits[rows], label, 1) for one in trained if one.logits is not None),
            None,
        ),
        next((one.error[rows] for one in trained if one.error is not None), None),
    )
    places = umap.placed(umap.fit(seen.embedding[known[rows]], seed=seed), seen.embedding)
    found = novelty.scores(seen, known[rows], labels=labels["label"][rows], places=places)
    asked = labels["asked"][rows]
    novel = labels["label"][rows][asked] == label
    return {name: novelty.measured(novel, score[asked]) for name, score in found.items()}


def _table(found: dict[str, dict[str, dict]]) -> pd.DataFrame:
    """Returns a row for each class and score, and the means over classes."""
    rows = [
        {"class": name, "score": score, **told}
        for name, scores in found.items()
        for score, told in scores.items()
    ]
    if not rows:
        return pd.DataFrame()
    frame = pd.DataFrame(rows)
    means = frame.groupby("score", sort=False)[["auroc", "precision_at_100"]].mean().reset_index()
    counts = frame.groupby("score", sort=False)[["novel", "known"]].sum().reset_index(drop=True)
    return pd.concat([frame, means.join(counts).assign(**{"class": MEAN})], ignore_index=True)
