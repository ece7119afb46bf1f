"""The command about boosted trees and other shallow classifiers: shallow."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tfpipe import tasks
from tfpipe.base.choose import choose
from tfpipe.base.progress import ProgressBar
from tfpipe.cli import options
from tfpipe.cli.data import packed
from tfpipe.tasks.task import Task, raw_folder


def shallow(
    task: options.TaskName,
    leaderboard: Annotated[
        bool | None,
        typer.Option("--leaderboard/--trees", help="Many classifiers, or searched trees."),
    ] = None,
    features: Annotated[
        str, typer.Option(help="Of the leaderboard: columns, texture, hog, lbp, with commas.")
    ] = "",
    select: Annotated[
        int, typer.Option(min=0, help="Of the leaderboard: keep the best features; 0 for all.")
    ] = 0,
    trials: Annotated[int, typer.Option(min=1, help="Candidates; the published one first.")] = 20,
    folds: Annotated[
        int,
        typer.Option(
            min=0, help="Of cross-validation by whole groups; 0: 5, or one a group if few."
        ),
    ] = 0,
    balance: Annotated[
        str, typer.Option(help="Against rare classes: weights or none.")
    ] = "weights",
    min_precision: Annotated[
        float, typer.Option(min=0, max=1, help="Below it a class is said to be unsure.")
    ] = 0.9,
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
    found = tasks.find(task)
    packing = options.Packing(option, split, salt, skip_bad, data)
    if found.baselines.leaderboard if leaderboard is None else leaderboard:
        kinds = tuple(kind.strip() for kind in features.split(",") if kind.strip())
        known = _features(found, task, packing, kinds)
        folder = models / found.name / "leaderboard"
        _leaderboard(found, known, folder, folds=folds or None, select=select, seed=seed, json=json)
        return
    packed(task, packing)
    from tfpipe.baselines import train_trees as shallows
    from tfpipe.baselines import tree_search
    from tfpipe.models import boosted_trees
    from tfpipe.registry import trees

    choose(balance, boosted_trees.BALANCES, noun="balance")
    with ProgressBar(options.err) as progress:
        made = shallows.train(
            found,
            data / "records" / found.name,
            models / found.name / trees.MODEL,
            plan=tree_search.Plan(trials, folds, balance, seed),
            min_precision=min_precision,
            tell=progress,
        )
    model = trees.MODEL
    options.done(json, command="shallow", task=found.name, **{"model": model, **made})


def _features(found: Task, task: str, packing: options.Packing, kinds: tuple[str, ...]):
    """Returns the features of ready tables in the raw folder, else those of packed records."""
    from tfpipe.baselines import feature_tables as baselines_feature_tables

    raw = raw_folder(found, packing.data)
    if baselines_feature_tables.there(raw):
        return baselines_feature_tables.read(raw)
    manifest = packed(task, packing)
    from tfpipe.baselines import packed_features

    return packed_features.features(packing.data / "records" / found.name, kinds, manifest=manifest)


def _leaderboard(found: Task, features, folder: Path, *, json: bool, **wanted) -> None:
    """Runs the leaderboard and prints it, validation beside test."""
    from tfpipe.baselines import feature_tables as baselines_feature_tables
    from tfpipe.baselines import leaderboard as baselines_leaderboard

    for note in features.notes:
        options.err.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    with ProgressBar(options.err) as progress:
        frame = baselines_leaderboard.run(features, folder, **wanted, tell=progress)
    baselines_feature_tables.write(features, folder)
    if json:
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        told = {"notes": features.notes, "features": features.names, "classifiers": rows}
        options.done(json, command="shallow", task=found.name, path=folder, **told)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    heads = ("accuracy", "balanced", "ROC AUC", "F1")
    for heading in ("classifier", *heads, *(f"test {h}" for h in heads), "folds", "s", "note"):
        table.add_column(heading)
    for row in frame.to_dict("records"):
        scores = [
            f"{row[f'{split}_{metric}']:.3f}"
            for split in baselines_leaderboard.JUDGED
            for metric in baselines_leaderboard.METRICS
        ]
        spread = f"{row['fold_accuracy']:.3f} ± {row['fold_accuracy_sd']:.3f}"
        table.add_row(row["classifier"], *scores, spread, f"{row['seconds']:.2f}", row["note"])
    console = Console(highlight=False)
    console.width = max(console.width, 180)
    console.print(table)
    console.print(f"table: {folder / 'leaderboard.csv'}", markup=False, soft_wrap=True)
