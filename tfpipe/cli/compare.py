"""The command that sets models side by side: compare."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tfpipe import tasks
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.progress import ProgressBar
from tfpipe.cli import options
from tfpipe.cli.data import packed
from tfpipe.models import calls


def compare(
    task: options.TaskName,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="One of those compared; again for each. xgboost is trees on columns. Behind a "
            "network's name may stand +pretrained or +random, and +grey."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Grouped folds; each judges once. 5, or one a group if few."),
    ] = None,
    splits: Annotated[
        bool | None,
        typer.Option("--splits", help="Judge by validation and test as packed, not by folds."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of each network.")] = 20,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller networks.")] = False,
    naive_split: options.Naive = False,
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
    """Trains models on the same examples and sets their scores, time and size side by side."""
    found = tasks.find(task)
    manifest = packed(task, options.Packing(option, split, salt, skip_bad, data))
    options.start_tensorflow()
    import tuning
    from tfpipe.baselines import candidates, compare_summary, variants
    from tfpipe.baselines import compare as baselines_compare
    from tfpipe.search import plan as search_plan
    from tfpipe.training import schedules
    from tfpipe.training.config import SEARCHABLE, TrainingConfig

    names = model or candidates.usual(found, tuple(manifest.columns))
    for name in names:
        choose(variants.of(name).model, candidates.known(found), noun=f"model for {found.name}")
    hp = [*(hp or ()), *([f"weights={weights}"] if weights else ())]
    given = dict(options.hyperparameter(setting) for setting in hp)
    networks = list(filter(None, map(candidates.network_of, names)))
    taken = {argument for name in networks for argument in calls.arguments_of(name)}
    for name in given:
        choose(name, [*taken, *SEARCHABLE], noun="hyperparameter of the models compared")
    learnt = tuning.training_of(found.name)(search_plan.hyperparameters({}))
    learnt |= {name: value for name, value in given.items() if name in SEARCHABLE}
    settings = TrainingConfig(
        epochs=epochs,
        mining=True,
        balance=balance,
        augmentation=found.preprocessing.augmentation,
        seed=seed,
        **learnt,
    )
    if not schedules.ends_at_zero(settings.schedule):
        raise UserError(
            f"A comparison trains for a fixed number of epochs, so the rate must fall to 0, which "
            f"{settings.schedule} does not. Give --hp schedule=cosine or one-cycle."
        )
    fixed = {name: value for name, value in given.items() if name not in SEARCHABLE}
    by_splits = found.baselines.packed_splits if splits is None else splits
    count = folds if folds or not by_splits else 0
    with ProgressBar(options.err) as progress:
        frame = baselines_compare.compare(
            found,
            data / "records" / found.name,
            names=tuple(names),
            count=count,
            settings=settings,
            models=models / found.name,
            quick=quick,
            fixed=fixed,
            tell=progress,
        )
        rows = compare_summary.summary(frame).to_dict("records")
        for done, row in enumerate(rows if naive_split else ()):
            progress("random-split", {"done": done, "total": len(rows)})
            row["random_split_accuracy"] = baselines_compare.claimed(
                found,
                data / "records" / found.name,
                row["model"],
                settings=settings,
                quick=quick,
                fixed=fixed,
            )
    path = models / found.name / "comparison"
    if json:
        options.done(json, command="compare", task=found.name, path=path, compared=rows)
        return
    show = _splits if "split" in frame else _folds
    Console(highlight=False).print(show(rows, compare_summary.metrics_of(frame)))
    for row in rows:
        if row["failed"]:
            Console(highlight=False).print(f"{row['model']}: {row['failed']}", soft_wrap=True)
    Console(highlight=False).print(f"table and figure: {path}", markup=False, soft_wrap=True)


def _folds(rows: list[dict], metrics: tuple[str, ...]) -> Table:
    """Returns the table of models judged by folds: means and deviations."""
    claims = any("random_split_accuracy" in row for row in rows)
    table = _table("model", *(metric.replace("_", " ") for metric in metrics), "s a training", "MB")
    if claims:
        table.add_column("accuracy by a random split")
    for row in rows:
        scores = [f"{row[m]:.3f} ± {row[f'{m}_sd']:.3f}" for m in metrics]
        told = [f"{row['seconds']:.1f}", f"{row['megabytes']:.1f}"]
        table.add_row(row["model"], *scores, *told, *([_claim(row)] if claims else ()))
    return table


def _splits(rows: list[dict], metrics: tuple[str, ...]) -> Table:
    """Returns seed 004's table: model, pretrained or not, colours, test, validation, time, machine.

    Behind an accuracy stands twice its binomial standard error.
    """
    claims = any("random_split_accuracy" in row for row in rows)
    shown = ("model", "pretrained", "colours", "test", "validation", "min", "machine")
    table = _table(*shown, *(("by a random split",) if claims else ()))
    for row in rows:
        claim = [_claim(row)] if claims else []
        if row["failed"]:
            table.add_row(row["model"], *["-"] * 5, "left out, see below", *claim)
            continue
        accuracies = []
        for split in ("test", "validation"):
            share, count = row[f"{split}_accuracy"], row[f"{split}_examples"]
            accuracies.append(f"{share:.3f} ± {2 * (share * (1 - share) / count) ** 0.5:.3f}")
        table.add_row(
            row["model"],
            "yes" if row["pretrained"] else "no",
            "no" if row["grey"] else "yes",
            *accuracies,
            f"{row['seconds'] / 60:.1f}",
            row["machine"],
            *claim,
        )
    return table


def _claim(row: dict) -> str:
    claim = row.get("random_split_accuracy")
    return "-" if claim is None else f"{claim:.3f}"


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(headings[0], no_wrap=True)
    for heading in headings[1:]:
        table.add_column(heading, overflow="fold")
    return table
