"""The commands about versions: retrain, rollback, versions."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tfpipe.base.errors import UserError
from tfpipe.cli import options


def retrain(
    task: options.TaskHere,
    model: options.SavedModel = None,
    initialized_from: Annotated[
        int | None,
        typer.Option("--from", help="Version whose weights to start from (default: the newest)."),
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from random weights.")
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum epochs (default: the version's, or a third of them)."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Publish a worse version; train though nothing has changed."),
    ] = False,
    skip_bad: Annotated[
        int | None,
        typer.Option(min=0, help="Unreadable files that may be left out (default: as before)."),
    ] = None,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="Random seed (default: the version's own)."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Trains a version's model again on more data; publishes it unless it is worse."""
    if from_scratch and initialized_from is not None:
        raise UserError("--from and --from-scratch exclude each other. Give one of them.")
    loaded = options.project(data, models).resolve(task)
    here = options.project(data, models)
    try:
        version = here.retrain(
            loaded,
            model=model,
            initialized_from=initialized_from,
            from_scratch=from_scratch,
            epochs=epochs,
            force=force,
            skip_bad=skip_bad,
            seed=seed,
        )
    except UserError as error:
        comparison = getattr(error, "comparison", None)
        if comparison and json:
            error.summary = {
                "command": "retrain",
                "task": loaded.name,
                "model": model,
                "version": None,
                "comparison": comparison,
            }
        elif comparison:
            _print_comparison(comparison)
        raise
    options.print_notes(here.records(version.task).manifest)
    comparison = version.card.comparison
    if not json:
        _print_comparison(comparison)
    options.done(
        json,
        command="retrain",
        task=loaded.name,
        path=version.path,
        model=version.model,
        version=version.number,
        metrics=version.metrics,
        **({"comparison": comparison} if json else {}),
    )


def rollback(
    task: options.TaskName,
    version: Annotated[int, typer.Argument(help="Version number to go back to.")],
    model: options.SavedModel = None,
    models: options.Models = options.MODELS,
    json: options.Json = False,
) -> None:
    """Publishes a copy of an earlier version as the next one, so that it is served again."""
    loaded = options.project(models=models).resolve(task)
    copy = options.project(models=models).rollback(loaded, version, model=model)
    options.done(
        json,
        command="rollback",
        task=loaded.name,
        path=copy.path,
        model=copy.model,
        version=copy.number,
        copied_from=version,
    )


def versions(
    task: options.TaskHere, models: options.Models = options.MODELS, json: options.Json = False
) -> None:
    """Shows a task's versions: which is served, metrics, size, speed, date, data."""
    loaded = options.project(models=models).resolve(task)
    rows = options.project(models=models).version_rows(loaded)
    if json:
        options.print_json({"command": "versions", "task": loaded.name, "versions": rows})
        return
    shown = [_line(row) for row in rows]
    table = options.empty_table(*shown[0])
    for row in shown:
        table.add_row(*(Text(value) for value in row.values()))
    options.wide_console().print(table)


def _print_comparison(comparison: dict[str, Any]) -> None:
    """Prints a comparison: each set of test groups, then each class."""
    from tfpipe.evaluation import version_comparison

    console = Console(highlight=False)
    for sentence in version_comparison.in_words(comparison):
        console.print(sentence, markup=False, soft_wrap=True)
    rows = [
        {"class": name, **{k: "" if v is None else v for k, v in values.items()}}
        for name, values in comparison["classes"].items()
    ]
    if rows:
        console.print("F1 of each class:")
        console.print(options.table_of(rows))


def _line(row: dict[str, Any]) -> dict[str, str]:
    """Returns what the table of versions shows of one."""
    between = row["between"]
    interval = f" ({between[0]:.3f} to {between[1]:.3f})" if between else ""
    batch = row["batch_ms"] and 1000 * row["batch"] / row["batch_ms"]
    cells = {
        **{name: row[name] for name in ("model", "version", "served")},
        "date": row["date"] and row["date"][:16].replace("T", " "),
        "test score": row["score"] and f"{row['score']} {row['value']:.4f}{interval}",
        "size": row["bytes"] and f"{row['bytes'] / 1e6:.1f} MB",
        "one image": row["one_ms"] and f"{row['one_ms']:.3g} ms",
        "in batches": batch and f"{batch:,.0f} images/s",
        "data": row["examples"] and f"{row['examples']:,} of {row['groups']} groups, {row['data']}",
        "from": row["from"],
    }
    return {name: "" if value is None else str(value) for name, value in cells.items()}
