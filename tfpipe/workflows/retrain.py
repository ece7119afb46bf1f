"""Retraining: the same model on more data, published only if it is not worse than before."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from tfpipe.base import files, json_dataclass
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.baselines.config import TreeSearchConfig
from tfpipe.data import manifest as data_manifest
from tfpipe.data import pack, stored_records
from tfpipe.data.dataset import Dataset
from tfpipe.evaluation import metrics, reconstruction, version_comparison
from tfpipe.evaluation.evaluate import Evaluation
from tfpipe.evaluation.version_comparison import Answers
from tfpipe.models import MODELS, boosted_trees
from tfpipe.registry import load, previous_version, store
from tfpipe.registry.card import BOOSTED_TREES, REMEDY, VersionCard
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.splits import PackedSplits, SplitConfig
from tfpipe.tasks.task import Task
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import train

# Where training starts from a version's weights:
RATE_FACTOR = 0.1  # times the version's highest learning rate
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16")
EPOCHS_DIVISOR = 3  # of the version's epochs


@dataclass(frozen=True)
class RetrainingPlan:
    """How a version is trained again.

    Attributes:
      initialized_from: version whose weights training starts from; None for random weights.
      epochs: maximum epochs; None for the version's own, or a third of them where training starts
        from a version's weights.
      force: whether to publish a worse version, and to train though nothing has changed.
      seed: random seed; None for the version's own.
    """

    initialized_from: Path | None = None
    epochs: int | None = None
    force: bool = False
    seed: int | None = None


class RetrainingRefused(UserError):
    """A new version that is worse than the previous one.

    Attributes:
      comparison: how the two compare, see `version_comparison.compare`.
    """

    def __init__(self, sentence: str, comparison: dict[str, Any]):
        super().__init__(sentence)
        self.comparison = comparison


def pack_and_retrain(
    task: Task,
    version: Path,
    *,
    raw: Path,
    records: Path,
    own_images: Path,
    plan: RetrainingPlan,
    skip_bad: int | None = None,
    report: Reporter = silent,
) -> dict[str, Any]:
    """Packs the raw files as a version's were packed, and trains its model again on them.

    Args:
      task: the task.
      version: folder of the version that is served now.
      raw: folder of the raw files.
      records: folder of the packed records.
      own_images: folder of the records of the task's own images, which another view of it follows.
      plan: how the version is trained again.
      skip_bad: unreadable files that may be left out; None for as many as before.
      report: receives the progress.

    Returns:
      What `retrain` returns, and "manifest".

    Raises:
      UserError: see `pack.pack` and `retrain`.
    """
    how = packing_of(task, version)
    if skip_bad is not None:
        how["skip_bad"] = skip_bad
    before = _splits_before(task, version, how["split"], own_images=own_images)
    manifest = stored_records.pack_and_publish(
        task, raw, records, **how, before=before, report=report
    )
    made = retrain(task, version, raw=raw, records=records, plan=plan, report=report)
    return made | {"manifest": manifest}


def _splits_before(
    task: Task, version: Path, split: SplitConfig, *, own_images: Path
) -> PackedSplits:
    """Returns the splits in which groups stay; another view's are those of the task's own images.

    Raises:
      UserError: the task's own images were packed by another split.
    """
    before = previous_version.packed_splits(version, split)
    if not task.view or not (own_images / "manifest.json").is_file():
        return before
    packed = pack.packed_splits(own_images, split)
    if not packed.by_source:
        shares = "/".join(f"{100 * share:g}" for share in split.shares)
        salt = f" --salt {split.salt}" if split.salt else ""
        raise UserError(
            f"The records of {task.name} were packed by another split than version {version.name} "
            f"of {version.parent.name}, so test files of one model would be training files of the "
            f"other. Run `tfpipe pack {task.name} --split {shares}{salt}` first, or train a new "
            f"version by `tfpipe train {task.name} --model {version.parent.name}`."
        )
    return replace(packed, by_checksum=before.by_checksum, are_binding=True)


def packing_of(task: Task, version: Path) -> dict[str, Any]:
    """Returns how a version's records were packed: options, split, skip_bad of `pack.pack`."""
    card = store.read_card(version)
    settings = [f"{name}={value}" for name, value in card.options.items()]
    data = card.data
    return {
        "options": parse_options(task, settings),
        "split": SplitConfig(data.fractions, data.salt),
        "skip_bad": data.unreadable_files,
    }


def starting_version(version: Path, number: int | None, *, from_scratch: bool) -> Path | None:
    """Returns the version whose weights training starts from; None for random weights or trees.

    Args:
      version: the newest of its model.
      number: number of another version; None for the newest.
      from_scratch: whether training starts from random weights.
    """
    if number is not None:
        task, model = version.parent.parent.name, version.parent.name
        return store.find(version.parents[2], task=task, model=model, version=number)
    is_trees = store.read_card(version).kind == BOOSTED_TREES
    return None if from_scratch or is_trees else version


def retrain(
    task: Task,
    version: Path,
    *,
    raw: Path,
    records: Path,
    plan: RetrainingPlan,
    report: Reporter = silent,
) -> dict[str, Any]:
    """Trains a version's model again. A stopped run resumes.

    A trained model that is refused stays on disk, so that `force` publishes it without training.

    Args:
      task: the task.
      version: folder of the version that is served now. Its model, hyperparameters and training
        config are used, and the new version is compared with it.
      raw: folder of the raw files.
      records: folder of the records, packed as `packing_of` says.
      plan: how the version is trained again.
      report: receives the progress.

    Returns:
      {"version", "path", "metrics", "comparison"}.

    Raises:
      RetrainingRefused: the new version is worse on the old test groups, or on the new ones.
      UserError: nothing has changed, an old raw file has changed its split, or the weights to start
        from do not fit the records.
    """
    card, manifest = store.read_card(version), data_manifest.read(records)
    if card.data and card.data.fingerprint == manifest.fingerprint and not plan.force:
        raise UserError(
            f"Version {version.name} of {version.parent.name} was trained on these very records. "
            "Add raw files or correct labels first, or train again by --force."
        )
    previous_version.check(version, manifest)
    if card.kind == BOOSTED_TREES:
        made = _retrain_trees(task, version, card, records=records, plan=plan, report=report)
    else:
        made = _retrain_network(
            task, version, card, raw=raw, records=records, plan=plan, report=report
        )
    (version.parent / "refused.json").unlink(missing_ok=True)
    return made | {"comparison": store.read_card(Path(made["path"])).comparison}


def training_config(version: Path, plan: RetrainingPlan) -> TrainingConfig:
    """Returns how a version is trained again: its own config, or a gentler and shorter one.

    The config is that of the version at which its line of weights began, so that each retraining
    is as gentle as the first.
    """
    card, number = store.read_card(version), int(version.name)
    numbers = store.versions(version.parent)
    # A version starts from an earlier one; a card that says otherwise must not lead in a circle.
    while card.initialized_from in numbers and card.initialized_from < number:
        number = card.initialized_from
        card = store.read_card(version.parent / str(number))
    config = json_dataclass.from_json(
        TrainingConfig, card.training, file=str(version / store.CARD), remedy=REMEDY
    )
    if plan.initialized_from:
        config = replace(
            config,
            learning_rate=config.learning_rate * RATE_FACTOR,
            epochs=max(1, config.epochs // EPOCHS_DIVISOR),
            schedule="cosine",
        )
    if plan.epochs is not None:
        config = replace(config, epochs=plan.epochs)
    if plan.seed is not None:
        config = replace(config, seed=plan.seed)
    return config


def _setting(card: VersionCard, part: str, name: str, kind: type) -> Any:
    """Returns a value of the card's part "training" or "search", which must be of a type."""
    value = getattr(card, part).get(name)
    if not isinstance(value, kind):
        raise UserError(
            f"The card of version {card.version} of {card.model} has no {name} in {part!r}, so it "
            "cannot be trained again. Restore it from a copy, or train a new version."
        )
    return value


def _retrain_network(
    task: Task,
    version: Path,
    card: VersionCard,
    *,
    raw: Path,
    records: Path,
    plan: RetrainingPlan,
    report: Reporter,
) -> dict[str, Any]:
    options = packing_of(task, version)["options"]

    def accept(model: keras.Model, evaluation: Evaluation) -> dict[str, Any]:
        in_files = previous_version.compare_files(
            version,
            evaluation.files,
            task=task,
            raw=raw,
            records=records,
            options=options,
            report=report,
        )
        return _comparison(
            version,
            evaluation.predictions,
            evaluation.thresholds,
            task=task,
            records=records,
            force=plan.force,
            in_files=in_files,
        )

    run = train.TrainingRun(
        task=task,
        model=choose(card.model, MODELS, noun="model"),
        raw=raw,
        records=records,
        models=version.parent,
        options=options,
        config=training_config(version, plan),
        precision=choose(
            _setting(card, "training", "precision", str), PRECISIONS, noun="precision"
        ),
        random_split=False,
        report=report,
        initialized_from=plan.initialized_from,
        accept=accept,
    )
    return train.train_as_given(run, card.hyperparameters)


def _retrain_trees(
    task: Task,
    version: Path,
    card: VersionCard,
    *,
    records: Path,
    plan: RetrainingPlan,
    report: Reporter,
) -> dict[str, Any]:
    """Trains boosted trees again with a version's own hyperparameters."""
    if plan.initialized_from:
        raise UserError("Boosted trees cannot start from a version. Train them by --from-scratch.")
    seed = _setting(card, "training", "seed", int) if plan.seed is None else plan.seed
    folds = _setting(card, "search", "folds", int)
    balance = _setting(card, "training", "balance", str)
    return train.train_trees(
        task,
        records,
        version.parent,
        config=TreeSearchConfig(
            0, folds, choose(balance, boosted_trees.BALANCES, noun="balance"), seed
        ),
        command="retrain",
        retrained_from=version,
        report=report,
        accept=lambda predictions, thresholds: _comparison(
            version, predictions, thresholds, task=task, records=records, force=plan.force
        ),
    )


def _comparison(
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
            previous_version.predict_test_examples(version, records, manifest=manifest),
        )
        new = test[[f"p_{name}" for name in classes]].to_numpy(float)
        predictions = [
            metrics.predict_labels(probabilities, thresholds=chosen)
            for probabilities, chosen in ((old, card.thresholds), (new, thresholds))
        ]
        answers = Answers(labels, groups, old, new, *predictions).only(labels >= 0)
    old_groups = previous_version.test_groups(version, manifest)
    comparison = version_comparison.compare(
        answers, old_groups=old_groups, classes=classes, objective=objective, files=in_files
    )
    comparison |= {"with": int(version.name), "forced": comparison["is_worse"] and force}
    if comparison["is_worse"] and not force:
        path = version.parent / "refused.json"
        files.replace(path, json.dumps(comparison, indent=1).encode())
        raise RetrainingRefused(
            f"The new version is worse than version {version.name}, so nothing was published. The "
            f"comparison is in {path}. Label more, or publish it by --force.",
            comparison,
        )
    return comparison
