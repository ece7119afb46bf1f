"""The command about searches: search."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tfpipe.cli import options


def search(
    task: options.TaskHere,
    model: Annotated[
        str | None, typer.Option(help="Model whose search to show (default: latest).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="HTML page to write (default: beside the search).")
    ] = None,
    models: options.LocalModels = options.MODELS,
    json: options.Json = False,
) -> None:
    """Shows a task's searches, the trials of one and what mattered; writes a page of them."""
    loaded = options.project(models=models).resolve(task)
    made = options.project(models=models).search_report(loaded, model=model, out=out)
    search, importance = made.search, made.importance
    if json:
        options.done(
            json,
            command="search",
            task=loaded.name,
            path=made.path,
            model=search.model,
            searches=made.searches,
            search=search.folder.name,
            trials=search.content["trials"],
            importance=importance._asdict(),
        )
        return
    console = options.wide_console()
    console.print(_table([_line(summary) for summary in made.searches]))
    console.print(f"\n{search.model}, {search.folder.name}, by {search.objective}:", markup=False)
    console.print(_table(made.trials))
    for row in search.ranked:
        if row.get("message"):
            console.print(f"{row['trial']}: {row['message']}", markup=False)
    console.print(f"\n{importance.note}", markup=False)
    shares = [{"hyperparameter": k, "importance": f"{v:.0%}"} for k, v in importance.shares.items()]
    if shares:
        console.print(_table(shares))
    console.print(f"\npage: {made.path}", markup=False, soft_wrap=True)


def _line(summary: dict[str, Any]) -> dict[str, str]:
    """Returns what the list of searches shows of one."""
    return {
        **{name: str(summary[name]) for name in ("model", "search", "algorithm", "state")},
        "trials": f"{summary['completed']} of {summary['n_trials']}",
        "best": "" if summary["best"] is None else f"{summary['best']:.4f}",
        "objective": summary["objective"],
        "changed": summary["changed"],
    }


def _table(rows: list[dict[str, str]]) -> Table:
    """Returns a table of rows that may lack some of its columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(row.get(name, "")) for name in columns))
    return table
