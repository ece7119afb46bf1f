"""The same model once more on more data, published only if it is not worse than the one before."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.baselines import train_trees
from tfpipe.baselines.tree_search import Plan
from tfpipe.data import manifest as data_manifest
from tfpipe.data.dataset import Dataset
from tfpipe.evaluation import metrics, reconstruction, version_comparison
from tfpipe.evaluation.version_comparison import Answers
from tfpipe.registry import load, previous_version, store
from tfpipe.registry.card import BOOSTED_TREES, VersionCard
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import Task
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import train

GENTLER = 0.1  # of the highest learning rate, where weights are gone on with
SHARE = 3  # of the epochs, one in so many are enough then

Tell = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Wish:
    """How a version is to be trained again.

    Attributes:
      begin: version whose weights are gone on with; None for random ones.
      epochs: None for the version's own, or a third of them where weights are gone on with.
      force: whether to publish what is worse, and to train on data that has not changed.
      seed: None for the version's own.
    """

    begin: Path | None = None
    epochs: int | None = None
    force: bool = False
    seed: int | None = None


class Refused(UserError):
    """A new version that is worse than the one before it; `told` is the comparison."""

    def __init__(self, sentence: str, told: dict[str, Any]):
        super().__init__(sentence)
        self.told = told


def packing(task: Task, version: Path) -> dict[str, Any]:
    """Returns how a version's records were packed: options, split, skip_bad of `pack.pack`."""
    card = store.read_card(version)
    settings = [f"{name}={value}" for name, value in card.options.items()]
    data = card.data
    return {
        "options": parse_options(task, settings),
        "split": SplitConfig(data.fractions, data.salt),
        "skip_bad": len(data.unreadable),
    }


def beginning(version: Path, number: int | None, *, afresh: bool) -> Path | None:
    """Returns the version whose weights are gone on with; None for random ones, or for trees.

    Args:
      version: the newest of its model.
      number: of another; None for the newest.
      afresh: whether none was asked for.
    """
    if number is not None:
        line = {"task": version.parent.parent.name, "model": version.parent.name}
        return store.find(version.parents[2], **line, version=number)
    is_trees = store.read_card(version).kind == BOOSTED_TREES
    return None if afresh or is_trees else version


def retrain(
    task: Task, version: Path, *, raw: Path, records: Path, wish: Wish, tell: Tell
) -> dict[str, Any]:
    """Trains a version's model again; stopped at any moment, the same call goes on.

    What was trained and refused is kept, so that it can be published by force without training.

    Args:
      task: the question.
      version: that is served now: its model, hyperparameters and settings are used, and the new
        one is held against it.
      raw: the raw folder.
      records: packed from it just now, by `packing` of this version.
      wish: how.
      tell: told (stage, facts) as it goes.

    Returns:
      {"version", "path", "scores", "comparison"}.

    Raises:
      Refused: the new version is worse on the old test groups, or on the new ones.
      UserError: nothing has changed since, an old raw file has changed its split, or the version to
        go on from does not fit the records.
    """
    card, manifest = store.read_card(version), data_manifest.read(records)
    if card.data.fingerprint == manifest.fingerprint and not wish.force:
        raise UserError(
            f"Version {version.name} of {version.parent.name} learnt from just these records. Add "
            "raw files or correct labels first, or train once more all the same by --force."
        )
    previous_version.check(version, manifest)
    if card.kind == BOOSTED_TREES:
        made = _trees(task, version, card, records=records, wish=wish, tell=tell)
    else:
        options = packing(task, version)["options"]
        run = train.TrainingRun(
            task=task,
            model=card.model,
            raw=raw,
            records=records,
            models=version.parent,
            options=options,
            config=_settings(version, wish),
            precision=card.training["precision"],
            random_split=False,
            report=tell,
            initialized_from=wish.begin,
            accept=lambda model, known: _judged(
                version,
                known.predictions,
                known.thresholds,
                in_files=previous_version.in_files(
                    version,
                    known.files,
                    **{"task": task, "raw": raw, "records": records, "options": options},
                    progress=lambda i, n: tell("previous-version", {"done": i, "total": n}),
                ),
                **{"task": task, "records": records, "force": wish.force},
            ),
        )
        made = train.go_on(run, card.hyperparameters)
    (version.parent / "refused.json").unlink(missing_ok=True)
    return made | {"comparison": store.read_card(Path(made["path"])).comparison}


def _settings(version: Path, wish: Wish) -> TrainingConfig:
    """Returns a version's own settings; gentler and shorter where weights are gone on with.

    Its own are those of the version with which its line of weights began: each retraining is as
    gentle as the first.
    """
    known, card = {one.name for one in fields(TrainingConfig)}, store.read_card(version)
    while card.initialized_from in store.versions(version.parent):
        card = store.read_card(version.parent / str(card.initialized_from))
    settings = TrainingConfig(**{name: v for name, v in card.training.items() if name in known})
    if wish.begin:
        settings = replace(
            settings,
            learning_rate=settings.learning_rate * GENTLER,
            epochs=max(1, settings.epochs // SHARE),
            schedule="cosine",
        )
    asked = {"epochs": wish.epochs, "seed": wish.seed}
    return replace(settings, **{name: v for name, v in asked.items() if v is not None})


def _judged(
    version: Path,
    predictions: pd.DataFrame,
    thresholds: dict[str, float],
    *,
    task: Task,
    records: Path,
    force: bool,
    in_files: version_comparison.Files | None = None,
) -> dict[str, Any]:
    """Returns how new predictions compare with the old version's, and refuses worse ones."""
    card, manifest = store.read_card(version), data_manifest.read(records)
    classes = tuple(manifest.classes)
    test = predictions[predictions["split"] == "test"]
    labels, groups = test["label"].to_numpy(int), test["group"].to_numpy(str)
    if card.kind == "autoencoder":
        objective, data = "loss", Dataset(records, manifest, "loss")
        old = reconstruction.errors(load.read_model(version), data)["test"].of_model
        answers = Answers(labels, groups, old, test["error"].to_numpy())
    else:
        objective, old = (
            task.scoring.objective,
            previous_version.answered(version, records, manifest=manifest),
        )
        new = test[[f"p_{name}" for name in classes]].to_numpy(float)
        said = [
            metrics.said(likely, thresholds=own)
            for likely, own in ((old, card.thresholds), (new, thresholds))
        ]
        answers = Answers(labels, groups, old, new, *said).only(labels >= 0)
    known = previous_version.test_groups(version, manifest)
    told = version_comparison.compare(
        answers, known=known, classes=classes, objective=objective, files=in_files
    )
    told |= {"with": int(version.name), "forced": told["is_worse"] and force}
    if told["is_worse"] and not force:
        path = version.parent / "refused.json"
        files.replace(path, json.dumps(told, indent=1).encode())
        raise Refused(
            f"The new version is worse than version {version.name}, so nothing was published; what "
            f"was compared is in {path}. Label more, or publish it all the same by --force.",
            told,
        )
    return told


def _trees(
    task: Task, version: Path, card: VersionCard, *, records: Path, wish: Wish, tell: Tell
) -> dict[str, Any]:
    """Trains boosted trees again with a version's own values; they do not go on from others."""
    if wish.begin:
        raise UserError("Boosted trees do not go on from others. Train them anew by --afresh.")
    seed = card.training["seed"] if wish.seed is None else wish.seed
    return train_trees.train(
        task,
        records,
        version.parent,
        plan=Plan(0, card.search["folds"], card.training["balance"], seed),
        found=card.search,
        judge=lambda predictions, thresholds: _judged(
            version, predictions, thresholds, task=task, records=records, force=wish.force
        ),
        tell=tell,
    )
