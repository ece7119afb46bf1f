"""The command that compares models: compare."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tfpipe.cli import options

FILE_METRICS = {  # of whole files
    "layer_f1": "layer F1",
    "layer_precision": "precision",
    "layer_recall": "recall",
    "layer_depth_error_mm": "depth error (mm)",
}
# Accuracy in new groups, and the paired difference on the same images; 95 % intervals.
INTERVALS = ("accuracy in new groups", "difference to the best")


def compare(
    task: options.TaskHere,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to compare; repeat for more. xgboost is boosted trees on columns. A "
            "network's name may end in +pretrained or +random, and in +grey."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Grouped folds (default: 5, or one a group where fewer)."),
    ] = None,
    splits: Annotated[
        bool | None,
        typer.Option("--splits", help="Score on the validation and test splits, not by folds."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each network.")] = 20,
    quick: Annotated[bool, typer.Option("--quick", help="Use smaller networks.")] = False,
    random_split: options.RandomSplit = False,
    hp: options.Hp = None,
    weights: options.Weights = None,
    balance: options.Balance = "sampling",
    option: options.Option = None,
    split: options.Split = options.SHARES,
    salt: options.Salt = "",
    skip_bad: options.SkipBad = 0,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Trains models on the same examples, and compares their metrics, time and size."""
    loaded = options.project(data, models).resolve(task)
    here = options.project(data, models, seed)
    made = here.compare(
        loaded,
        models=model,
        folds=folds,
        by_splits=splits,
        epochs=epochs,
        quick=quick,
        random_split=random_split,
        hyperparameters=options.hyperparameters(hp, weights),
        balance=balance,
        packing=options.packing(option, split, salt, skip_bad),
    )
    options.print_notes(here.records(loaded).manifest)
    rows = made.table.to_dict("records")
    if json:
        options.done(json, command="compare", task=loaded.name, path=made.path, compared=rows)
        return
    by_split = "split" in made.folds
    table = _by_split(rows, made.metrics) if by_split else _by_fold(rows, made.metrics)
    console = Console(highlight=False)
    console.print(table)
    for row in rows:
        if row["failed"]:
            console.print(f"{row['model']}: {row['failed']}", soft_wrap=True)
    console.print(f"table and figure: {made.path}", markup=False, soft_wrap=True)


def _by_fold(rows: list[dict[str, Any]], metrics: tuple[str, ...]) -> Table:
    """Returns the table of models scored by folds: means and standard deviations."""
    has_random_split = any("random_split_accuracy" in row for row in rows)
    headings = [metric.replace("_", " ") for metric in metrics]
    table = options.empty_table("model", *headings, *INTERVALS, "s per training", "MB")
    if has_random_split:
        table.add_column("accuracy by a random split")
    for row in rows:
        scores = [f"{row[m]:.3f} ± {row[f'{m}_sd']:.3f}" for m in metrics]
        cost = [f"{row['seconds']:.1f}", f"{row['megabytes']:.1f}"]
        table.add_row(
            row["model"],
            *scores,
            *_intervals(row),
            *cost,
            *([_random_split(row)] if has_random_split else []),
        )
    return table


def _by_split(rows: list[dict[str, Any]], metrics: tuple[str, ...]) -> Table:
    """Returns the table of seed document 004: model, pretrained, colours, test, validation, time.

    Behind an accuracy stands twice its binomial standard error. Scores of whole files are those of
    the test split.
    """
    has_random_split = any("random_split_accuracy" in row for row in rows)
    of_files = [name for name in metrics if name in FILE_METRICS]
    titles = [f"test {FILE_METRICS[name]}" for name in of_files]
    headings = ("model", "pretrained", "colours", "test", "validation", *titles)
    table = options.empty_table(*headings, *INTERVALS, "min", "machine")
    if has_random_split:
        table.add_column("by a random split")
    for row in rows:
        random_split = [_random_split(row)] if has_random_split else []
        if row["failed"]:
            dashes = ["-"] * (5 + len(of_files) + len(INTERVALS))
            table.add_row(row["model"], *dashes, "left out, see below", *random_split)
            continue
        accuracies = []
        for split in ("test", "validation"):
            accuracy, count = row[f"{split}_accuracy"], row[f"{split}_examples"]
            error = 2 * (accuracy * (1 - accuracy) / count) ** 0.5
            accuracies.append(f"{accuracy:.3f} ± {error:.3f}")
        table.add_row(
            row["model"],
            "yes" if row["pretrained"] else "no",
            "no" if row["grey"] else "yes",
            *accuracies,
            *(_score(row.get(f"test_{name}")) for name in of_files),
            *_intervals(row),
            f"{row['seconds'] / 60:.1f}",
            row["machine"],
            *random_split,
        )
    return table


def _intervals(row: dict[str, Any]) -> list[str]:
    """Returns the cells of `INTERVALS`."""
    low, high = row.get("accuracy_low"), row.get("accuracy_high")
    accuracy = "-" if low is None or low != low else f"{low:.3f} to {high:.3f}"
    difference, low = row.get("difference"), row.get("difference_low")
    if difference is None or difference != difference:
        return [accuracy, "-"]
    if low is None or low != low:
        return [accuracy, "best" if difference == 0 else f"{difference:+.3f}"]
    return [accuracy, f"{difference:+.3f} ({low:+.3f} to {row['difference_high']:+.3f})"]


def _score(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def _random_split(row: dict[str, Any]) -> str:
    accuracy = row.get("random_split_accuracy")
    return "-" if accuracy is None else f"{accuracy:.3f}"
