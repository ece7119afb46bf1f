"""The command about boosted trees: shallow."""

from typing import Annotated

import typer

from tfpipe import tasks
from tfpipe.cli import parts
from tfpipe.cli.data import packed
from tfpipe.progress import Progress
from tfpipe.task import choose


def shallow(
    task: parts.TaskName,
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
    option: parts.Option = None,
    split: parts.Split = parts.SHARES,
    salt: parts.Salt = "",
    skip_bad: parts.SkipBad = 0,
    data: parts.Data = parts.DATA,
    models: parts.Models = parts.MODELS,
    seed: parts.Seed = 0,
    json: parts.Json = False,
) -> None:
    """Searches and trains boosted trees on the columns, and exports them as the next version."""
    found = tasks.find(task)
    packed(task, parts.Packing(option, split, salt, skip_bad, data))
    from tfpipe import boosting, boosting_search, shallow_versions
    from tfpipe import shallow as shallows

    choose(balance, boosting.BALANCES, noun="balance")
    with Progress(parts.err) as progress:
        made = shallows.train(
            found,
            data / "records" / found.name,
            models / found.name / shallow_versions.MODEL,
            plan=boosting_search.Plan(trials, folds, balance, seed),
            min_precision=min_precision,
            tell=progress,
        )
    model = shallow_versions.MODEL
    parts.done(json, command="shallow", task=found.name, **{"model": model, **made})
