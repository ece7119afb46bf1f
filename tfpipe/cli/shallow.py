"""The command about boosted trees and other classical classifiers: shallow."""

from typing import Annotated

import typer
from rich.console import Console

from tfpipe.cli import options
from tfpipe.results import Comparison


def shallow(
    task: options.TaskHere,
    leaderboard: Annotated[
        bool | None,
        typer.Option(
            "--leaderboard/--trees", help="Compare many classifiers, or search boosted trees."
        ),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            help="Features of the leaderboard, separated by commas: columns, texture, hog, lbp."
        ),
    ] = "",
    select: Annotated[
        int, typer.Option(min=0, help="Number of features that the leaderboard selects (0: all).")
    ] = 0,
    trials: Annotated[
        int, typer.Option(min=1, help="Candidates of the search; the published one is the first.")
    ] = 20,
    folds: Annotated[
        int,
        typer.Option(min=0, help="Grouped cross-validation folds (0: 5, or one a group if fewer)."),
    ] = 0,
    balance: Annotated[str, typer.Option(help="Class balancing: weights or none.")] = "weights",
    min_precision: options.MinPrecision = 0.9,
    option: options.Option = None,
    split: options.Split = options.SHARES,
    salt: options.Salt = "",
    skip_bad: options.SkipBad = 0,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Searches and trains boosted trees on the columns; or compares many classifiers."""
    loaded = options.project(data, models).resolve(task)
    here = options.project(data, models, seed)
    packing = options.packing(option, split, salt, skip_bad)
    if loaded.baselines.leaderboard if leaderboard is None else leaderboard:
        kinds = [kind.strip() for kind in features.split(",") if kind.strip()]
        made = here.leaderboard(
            loaded, features=kinds, select=select, folds=folds or None, packing=packing
        )
        _print_leaderboard(made, task=loaded.name, json=json)
        return
    version = here.train_trees(
        loaded,
        trials=trials,
        folds=folds,
        balance=balance,
        min_precision=min_precision,
        packing=packing,
    )
    options.print_notes(here.records(loaded).manifest)
    options.done(
        json,
        command="shallow",
        task=loaded.name,
        path=version.path,
        model=version.model,
        version=version.number,
        metrics=version.metrics,
    )


def _print_leaderboard(made: Comparison, *, task: str, json: bool) -> None:
    """Prints the classifiers, validation beside test."""
    frame, notes = made.table, made.table.attrs["notes"]
    for note in notes:
        options.err.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    if json:
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        summary = {"notes": notes, "features": frame.attrs["features"], "classifiers": rows}
        options.done(json, command="shallow", task=task, path=made.path, **summary)
        return
    metrics = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced",
        "roc_auc": "ROC AUC",
        "f1": "F1",
    }
    table = options.empty_table(
        "classifier",
        *metrics.values(),
        *(f"test {heading}" for heading in metrics.values()),
        "folds",
        "s",
        "note",
    )
    for row in frame.to_dict("records"):
        scores = [f"{row[f'{s}_{m}']:.3f}" for s in ("validation", "test") for m in metrics]
        spread = f"{row['fold_accuracy']:.3f} ± {row['fold_accuracy_sd']:.3f}"
        table.add_row(row["classifier"], *scores, spread, f"{row['seconds']:.2f}", row["note"])
    console = Console(highlight=False)
    console.width = max(console.width, options.WIDTH)
    console.print(table)
    console.print(f"table: {made.path / 'leaderboard.csv'}", markup=False, soft_wrap=True)
