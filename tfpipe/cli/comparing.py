"""The command that sets models side by side: compare."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tfpipe import tasks
from tfpipe.cli import parts
from tfpipe.cli.data import packed
from tfpipe.progress import Progress
from tfpipe.task import choose


def compare(
    task: parts.TaskName,
    model: Annotated[
        list[str] | None,
        typer.Option(help="One of those compared; again for each. xgboost is trees on columns."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Grouped folds; each judges once. 5, or one a group if few."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of each network.")] = 20,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller networks.")] = False,
    naive_split: parts.Naive = False,
    hp: parts.Hp = None,
    weights: parts.Weights = None,
    learning_rate: Annotated[float, typer.Option(help="Of networks, the highest.")] = 1e-3,
    balance: parts.Balance = "sampling",
    option: parts.Option = None,
    split: parts.Split = parts.SHARES,
    salt: parts.Salt = "",
    skip_bad: parts.SkipBad = 0,
    data: parts.Data = parts.DATA,
    models: parts.Models = parts.MODELS,
    seed: parts.Seed = 0,
    json: parts.Json = False,
) -> None:
    """Trains models on the same grouped folds and sets their scores, time and size side by side."""
    found = tasks.find(task)
    manifest = packed(task, parts.Packing(option, split, salt, skip_bad, data))
    parts.start_tensorflow()
    from tfpipe import comparing, contestants, jobs
    from tfpipe.settings import Settings

    names = model or contestants.usual(found, tuple(manifest["columns"]))
    for name in names:
        choose(name, contestants.known(found), noun=f"model for {found.name}")
    settings = Settings(
        epochs=epochs,
        learning_rate=learning_rate,
        schedule="cosine",
        mining=True,
        balance=balance,
        augmentation=found.augmentation,
        seed=seed,
    )
    hp = [*(hp or ()), *([f"weights={weights}"] if weights else ())]
    fixed = dict(parts.hyperparameter(setting) for setting in hp)
    networks = filter(None, map(contestants.network_of, names))
    taken = {argument for name in networks for argument in jobs.arguments_of(name)}
    for name in fixed:
        choose(name, taken, noun="hyperparameter of the models compared")
    with Progress(parts.err) as progress:
        frame = comparing.compare(
            found,
            data / "records" / found.name,
            names=tuple(names),
            count=folds,
            settings=settings,
            models=models / found.name,
            quick=quick,
            fixed=fixed,
            tell=progress,
        )
        rows = comparing.summary(frame).to_dict("records")
        for done, row in enumerate(rows if naive_split else ()):
            progress("naive", {"done": done, "total": len(rows)})
            row["random_split_accuracy"] = comparing.claimed(
                found,
                data / "records" / found.name,
                row["model"],
                settings=settings,
                quick=quick,
                fixed=fixed,
            )
    path = models / found.name / "comparison"
    if json:
        parts.done(json, command="compare", task=found.name, path=path, compared=rows)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    claims = ("accuracy by a random split",) if naive_split else ()
    metrics = comparing.metrics_of(frame)
    table.add_column("model", no_wrap=True)
    for heading in (*(m.replace("_", " ") for m in metrics), "s a training", "MB", *claims):
        table.add_column(heading)
    for row in rows:
        scores = [f"{row[m]:.3f} ± {row[f'{m}_sd']:.3f}" for m in metrics]
        told = [f"{row['seconds']:.1f}", f"{row['megabytes']:.1f}"]
        claim = row.get("random_split_accuracy")
        told += ["-" if claim is None else f"{claim:.3f}"] if naive_split else []
        table.add_row(row["model"], *scores, *told)
    Console(highlight=False).print(table)
    Console(highlight=False).print(f"table and figure: {path}", markup=False, soft_wrap=True)
