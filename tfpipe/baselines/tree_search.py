"""Randomized search of boosted trees by grouped cross-validation; killed, it goes on.

    search/plan.json       what is searched: another plan moves the folder aside
    search/trials.jsonl    one candidate a line, replaced whole after each
    search/best.json       the winner, once all are scored

Candidates come in an order that the seed alone decides, seed 000's published winner first, so more
trials add to those scored before.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras_tuner
import numpy as np
from sklearn import metrics

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.base.resumable import ResumableFolder
from tfpipe.data.columns import Measured
from tfpipe.evaluation import metrics as evaluation_metrics
from tfpipe.models import boosted_trees
from tfpipe.training.cross_validation import grouped_folds
from tuning import boosted_trees as tuned

FOLDS = 5


class Plan(NamedTuple):
    """What is searched.

    Attributes:
      trials: candidates.
      folds: of cross-validation, at least 2; 0 for `FOLDS`, or one a group where these are few.
      balance: one of `boosted_trees.BALANCES`.
      seed: of candidates, folds and trees.
    """

    trials: int = 20
    folds: int = FOLDS
    balance: str = "weights"
    seed: int = 0


def search(
    learnt: Measured,
    folder: Path,
    *,
    classes: int,
    plan: Plan,
    fingerprint: str,
    tell: Callable[[int, float | None], None] = lambda scored, best: None,
) -> dict[str, Any]:
    """Scores candidates by what trees say of groups they never saw, and returns the best.

    What decides is the log loss: with few groups counts of mistakes rank candidates by luck, and
    what follows asks for probabilities. Each fold's trees grow until the loss on its held-out
    groups falls no more; all folds are then judged at one number of trees, the median of theirs,
    and so many are the winner's. Accuracies (seed 000 tells merror, 1 - accuracy) stand beside.

    Args:
      learnt: the labelled examples of the training split.
      folder: where candidates scored are kept.
      classes: how many there are.
      plan: what is searched.
      fingerprint: of the records.
      tell: told (candidates scored, the best log loss so far).

    Returns:
      {"arguments" of `boosted_trees.fit`, "candidate", "log_loss", "folds", "candidates": a row
      each}.

    Raises:
      UserError: there are fewer groups than folds.
    """
    parts = folds(learnt, plan)
    unfinished = ResumableFolder(
        folder,
        _identity(plan, fingerprint),
        work="search",
        busy=f"Another search is running in {folder}. Wait for it to end.",
    )
    with unfinished:
        rows = _scored_before(unfinished)
        for number in range(len(rows), plan.trials):
            tell(number, min((row["log_loss"] for row in rows), default=None))
            arguments = candidate(number, seed=plan.seed)
            told = _judged(learnt, parts, arguments, classes=classes, plan=plan)
            rows.append({"candidate": number, **told})
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            files.replace(folder / "trials.jsonl", lines.encode())
        best = _best_of(rows[: plan.trials], plan)
        unfinished.write("best.json", best)
    tell(plan.trials, best["log_loss"])
    return best


def _best_of(rows: list[dict[str, Any]], plan: Plan) -> dict[str, Any]:
    """Returns the candidate with the lowest log loss, and all of them."""
    best = min(rows, key=lambda row: row["log_loss"])
    return {
        "arguments": best["arguments"] | {"trees": best["trees"]},
        "candidate": best["candidate"],
        "log_loss": best["log_loss"],
        "folds": plan.folds,
        "candidates": rows,
    }


def crossed(learnt: Measured, *, classes: int, arguments: dict[str, Any], plan: Plan) -> np.ndarray:
    """Returns probabilities [n, classes] float32 of each example, by trees of other folds.

    They are what a model says of groups it never saw, for as many groups as there are in training,
    so temperature and thresholds need not rest on the few of the validation split alone.
    """
    likely = np.zeros((len(learnt.labels), classes), np.float32)
    told = {"classes": classes, "arguments": arguments, "balanced": plan.balance}
    for own, others in folds(learnt, plan):
        trees = boosted_trees.fit(learnt.only(own), **told, seed=plan.seed)
        likely[others] = boosted_trees.classify(trees, learnt.columns[others])
    return likely


def candidate(number: int, *, seed: int) -> dict[str, Any]:
    """Returns a candidate's arguments; the first is seed 000's published winner."""
    if number == 0:
        return dict(tuned.PUBLISHED)
    drawn, space = keras_tuner.HyperParameters(), _space()
    seeds = np.random.SeedSequence([seed, number]).generate_state(len(space))
    for one, own in zip(space, seeds.tolist(), strict=True):
        drawn.values[one.name] = one.random_sample(own)
    return tuned.space(drawn)


def folds(learnt: Measured, plan: Plan) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns (row numbers to learn from, to be judged by) of each fold; no group is in both.

    Raises:
      UserError: there are fewer groups than folds.
    """
    groups = len(set(learnt.groups.tolist()))
    if not 2 <= plan.folds <= groups:
        raise UserError(
            f"--folds is {plan.folds}, but there are {groups} groups with labels to train on. "
            f"Give 2 to {groups} folds, or more data."
        )
    return grouped_folds(learnt.labels, learnt.groups, plan.folds, seed=plan.seed)


def _judged(learnt: Measured, parts, arguments, *, classes: int, plan: Plan) -> dict[str, Any]:
    """Returns a candidate's scores, and its number of trees."""
    grown = [
        boosted_trees.fit(
            learnt.only(own),
            **{"classes": classes, "arguments": arguments},
            **{"balanced": plan.balance, "seed": plan.seed},
            watched=learnt.only(judged),
        )
        for own, judged in parts
    ]
    trees = int(np.median([one.best_iteration + 1 for one in grown]))
    labels, likely = learnt.labels, np.zeros((len(learnt.labels), classes))
    for one, (_, judged) in zip(grown, parts, strict=True):
        likely[judged] = boosted_trees.classify(one, learnt.columns[judged], first=trees)
    likely /= likely.sum(axis=1, keepdims=True)  # XGBoost's float32 adds up to 1 but roughly
    every = np.arange(classes)
    losses = [metrics.log_loss(labels[own], likely[own], labels=every) for _, own in parts]
    return {
        "arguments": arguments,
        "trees": trees,
        "log_loss": float(metrics.log_loss(labels, likely, labels=every)),
        "spread": float(np.std(losses)),
        "accuracy": float((likely.argmax(axis=1) == labels).mean()),
        "balanced_accuracy": evaluation_metrics.balanced_accuracy(labels, likely),
    }


def _space() -> list:
    hp = keras_tuner.HyperParameters()
    tuned.space(hp)
    return hp.space


def _identity(plan: Plan, fingerprint: str) -> dict[str, Any]:
    """Returns what makes two searches the same; how many candidates are asked for does not."""
    told = {name: value for name, value in plan._asdict().items() if name != "trials"}
    space = [one.get_config() for one in _space()]
    return {**told, "published": tuned.PUBLISHED, "space": space, "data": fingerprint}


def _scored_before(folder: ResumableFolder) -> list[dict[str, Any]]:
    """Returns the candidates that were scored before."""
    trials = folder.path / "trials.jsonl"
    try:
        return [json.loads(line) for line in trials.read_text().splitlines()]
    except FileNotFoundError:
        return []
    except ValueError:
        folder.discard("cannot be read")
        return []
