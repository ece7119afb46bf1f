"""Search of boosted trees: random candidates, scored by grouped cross-validation; resumable.

    search/plan.json       what is searched: another plan moves the folder aside
    search/trials.jsonl    one candidate a line, replaced whole after each
    search/best.json       the best candidate, once all are scored

The random seed alone decides the order of the candidates. The first is the published winner of
seed document 000, so more trials add to those scored before.
"""

import json
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from sklearn import metrics

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.base.resumable import ResumableFolder
from tfpipe.baselines.config import TreeSearchConfig
from tfpipe.data.columns import ColumnExamples
from tfpipe.evaluation import metrics as evaluation_metrics
from tfpipe.models import boosted_trees
from tfpipe.training import cross_validation
from tuning import boosted_trees as tree_space


def search(
    examples: ColumnExamples,
    folder: Path,
    *,
    classes: int,
    config: TreeSearchConfig,
    fingerprint: str,
    report: Reporter = silent,
) -> dict[str, Any]:
    """Scores candidates by their predictions of held-out groups, and returns the best.

    The log loss decides: with few groups, counts of mistakes rank candidates by luck, and what
    follows needs probabilities. Each fold's trees grow until the loss on its held-out groups falls
    no more. All folds are then evaluated at one number of trees, their median, and the winner gets
    as many. Accuracies (seed document 000 reports merror, 1 - accuracy) are reported beside.

    Args:
      examples: the labelled examples of the training split.
      folder: the search's folder.
      classes: number of classes.
      config: what is searched.
      fingerprint: fingerprint of the records.
      report: receives the stage "trees" with {"done", "total", "loss": the best so far}.

    Returns:
      {"arguments" of `boosted_trees.fit`, "candidate", "log_loss", "folds", "candidates": a row for
      each}.

    Raises:
      UserError: there are fewer groups than folds.
    """
    folds = make_folds(examples, config)
    unfinished = ResumableFolder(
        folder,
        _identity(config, fingerprint),
        work="search",
        busy=f"Another search is running in {folder}. Wait for it to end.",
    )
    with unfinished:
        rows = _read_trials(unfinished)
        for number in range(len(rows), config.trials):
            loss = min((row["log_loss"] for row in rows), default=None)
            report("trees", {"done": number, "total": config.trials, "loss": loss})
            arguments = candidate(number, seed=config.seed)
            scores = _evaluate(examples, folds, arguments, classes=classes, config=config)
            rows.append({"candidate": number, **scores})
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            files.replace(folder / "trials.jsonl", lines.encode())
        best = _best_of(rows[: config.trials], config)
        unfinished.write("best.json", best)
    report("trees", {"done": config.trials, "total": config.trials, "loss": best["log_loss"]})
    return best


def out_of_fold(
    examples: ColumnExamples, *, classes: int, arguments: dict[str, Any], config: TreeSearchConfig
) -> np.ndarray:
    """Returns probabilities [n, classes] float32 of each example, by trees fitted on other folds.

    They show how a model predicts unseen groups, for as many groups as there are in training.
    Temperature and thresholds then need not rest on the few groups of the validation split alone.
    """
    probabilities = np.zeros((len(examples.labels), classes), np.float32)
    for train, validation in make_folds(examples, config):
        trees = boosted_trees.fit(
            examples.select(train),
            classes=classes,
            arguments=arguments,
            balanced=config.balance,
            seed=config.seed,
        )
        probabilities[validation] = boosted_trees.classify(trees, examples.columns[validation])
    return probabilities


def candidate(number: int, *, seed: int) -> dict[str, Any]:
    """Returns a candidate's arguments; the first is the published winner of seed document 000."""
    if number == 0:
        return dict(tree_space.PUBLISHED)
    hp, space = keras_tuner.HyperParameters(), _hyperparameters()
    seeds = np.random.SeedSequence([seed, number]).generate_state(len(space))
    for parameter, parameter_seed in zip(space, seeds.tolist(), strict=True):
        hp.values[parameter.name] = parameter.random_sample(parameter_seed)
    return tree_space.space(hp)


def make_folds(
    examples: ColumnExamples, config: TreeSearchConfig
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns (training rows, validation rows) of each fold; no group is in both.

    Raises:
      UserError: there are fewer groups than folds.
    """
    n_groups = len(set(examples.groups.tolist()))
    if not 2 <= config.folds <= n_groups:
        raise UserError(
            f"--folds is {config.folds}, but there are {n_groups} groups with labels to train on. "
            f"Give 2 to {n_groups} folds, or more data."
        )
    return cross_validation.grouped_folds(
        examples.labels, examples.groups, config.folds, seed=config.seed
    )


def _evaluate(
    examples: ColumnExamples,
    folds: list[tuple[np.ndarray, np.ndarray]],
    arguments: dict[str, Any],
    *,
    classes: int,
    config: TreeSearchConfig,
) -> dict[str, Any]:
    """Returns a candidate's scores, and its number of trees."""
    models = [
        boosted_trees.fit(
            examples.select(train),
            classes=classes,
            arguments=arguments,
            balanced=config.balance,
            seed=config.seed,
            validation_set=examples.select(validation),
        )
        for train, validation in folds
    ]
    n_trees = int(np.median([model.best_iteration + 1 for model in models]))
    labels, probs = examples.labels, np.zeros((len(examples.labels), classes))
    for model, (_, validation) in zip(models, folds, strict=True):
        probs[validation] = boosted_trees.classify(
            model, examples.columns[validation], first=n_trees
        )
    probs /= probs.sum(axis=1, keepdims=True)  # XGBoost's float32 sums to 1 only roughly
    every_class = np.arange(classes)
    losses = [
        metrics.log_loss(labels[validation], probs[validation], labels=every_class)
        for _, validation in folds
    ]
    return {
        "arguments": arguments,
        "trees": n_trees,
        "log_loss": float(metrics.log_loss(labels, probs, labels=every_class)),
        "spread": float(np.std(losses)),
        "accuracy": float((probs.argmax(axis=1) == labels).mean()),
        "balanced_accuracy": evaluation_metrics.balanced_accuracy(labels, probs.argmax(axis=1)),
    }


def _best_of(rows: list[dict[str, Any]], config: TreeSearchConfig) -> dict[str, Any]:
    """Returns the candidate with the lowest log loss, and all of them."""
    best = min(rows, key=lambda row: row["log_loss"])
    return {
        "arguments": best["arguments"] | {"trees": best["trees"]},
        "candidate": best["candidate"],
        "log_loss": best["log_loss"],
        "folds": config.folds,
        "candidates": rows,
    }


def _hyperparameters() -> list[Any]:
    """Returns the hyperparameters of the space, as KerasTuner describes them."""
    hp = keras_tuner.HyperParameters()
    tree_space.space(hp)
    return hp.space


def _identity(config: TreeSearchConfig, fingerprint: str) -> dict[str, Any]:
    """Returns what makes two searches the same; the number of candidates is no part of it."""
    return {
        "folds": config.folds,
        "balance": config.balance,
        "seed": config.seed,
        "published": tree_space.PUBLISHED,
        "space": [parameter.get_config() for parameter in _hyperparameters()],
        "data": fingerprint,
    }


def _read_trials(folder: ResumableFolder) -> list[dict[str, Any]]:
    """Returns the candidates that were scored before."""
    trials = folder.path / "trials.jsonl"
    try:
        return [json.loads(line) for line in trials.read_text().splitlines()]
    except FileNotFoundError:
        return []
    except ValueError:
        folder.discard("cannot be read")
        return []
