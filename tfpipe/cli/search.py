"""The command about searches: search."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfpipe import tasks
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.cli import options

WIDE = 200  # letters in a line where there is no terminal to ask


def search(
    task: options.TaskName,
    model: Annotated[str | None, typer.Option(help="Whose trials; the newest by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Page; beside the search by default.")] = None,
    models: options.Models = options.MODELS,
    json: options.Json = False,
) -> None:
    """Shows a task's searches, the trials of one and what mattered in it; writes a page of them."""
    name = tasks.find(task).name
    from tfpipe.search import results
    from tfpipe.search.importance import importance

    found = results.find_searches(models / name)
    if not found:
        raise UserError(f"There is no search of {name} in {models}. Run `tfpipe tune {name}`.")
    if model:
        choose(model, dict.fromkeys(one.model for one in found), noun=f"search of {name}")
    one = max((k for k in found if k.model == (model or k.model)), key=lambda k: k.changed)
    mattered = importance(one.completed, names=[*one.names, "epochs"])
    from tfpipe.search import report

    path = report.write(out or one.folder.with_suffix(".html"), one, mattered, task=name)
    told = {"searches": [known.summary for known in found], "search": one.folder.name}
    if json:
        told |= {"trials": one.content["trials"], "importance": mattered._asdict()}
        options.done(json, command="search", task=name, model=one.model, path=path, **told)
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    console.print(_table([_line(summary) for summary in told["searches"]]))
    console.print(f"\n{one.model}, {one.folder.name}, by {one.objective}:", markup=False)
    console.print(_table(_trials(one)))
    for row in one.ranked:
        if row.get("message"):
            console.print(f"{row['trial']}: {row['message']}", markup=False)
    console.print(f"\n{mattered.note}", markup=False)
    shares = [{"what": k, "mattered": f"{v:.0%}"} for k, v in mattered.shares.items()]
    if shares:
        console.print(_table(shares))
    console.print(f"\npage: {path}", markup=False, soft_wrap=True)


def _line(summary: dict[str, Any]) -> dict[str, str]:
    """Returns what the list of searches shows of one."""
    return {
        **{name: summary[name] for name in ("model", "search", "algorithm", "state")},
        "trials": f"{summary['completed']} of {summary['n_trials']}",
        "best": "" if summary["best"] is None else f"{summary['best']:.4f}",
        "objective": summary["objective"],
        "changed": summary["changed"],
    }


def _trials(one) -> list[dict[str, str]]:
    """Returns what the table of trials shows of each, the best first."""
    from tfpipe.search.results import format_value

    return [{name: format_value(row, name) for name in one.columns} for row in one.ranked]


def _table(rows: list[dict[str, str]]) -> Table:
    """Returns a table of rows that may lack some of its columns."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(row.get(name, "")) for name in columns))
    return table
