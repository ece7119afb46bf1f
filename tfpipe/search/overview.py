"""Overview of a task's searches: a summary of each, and the page of one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.search import report, results
from tfpipe.search.importance import Importance, importance
from tfpipe.search.results import SearchResult


@dataclass(frozen=True)
class SearchReport:
    """A search and its page.

    Attributes:
      path: the page.
      search: the search that it shows.
      importance: how much each hyperparameter mattered.
      searches: a summary of each search of the task.
      trials: a row of text for each trial, the best first.
    """

    path: Path
    search: SearchResult
    importance: Importance
    searches: list[dict[str, Any]]
    trials: list[dict[str, str]]


def report_of(
    models: Path, *, task: str, typed: str, model: str | None = None, out: Path | None = None
) -> SearchReport:
    """Writes the page of a search: trials, importance of hyperparameters, plots.

    Args:
      models: saved_models/<task>.
      task: name of the task.
      typed: what commands take for it, such as the path of its folder.
      model: name of the model; None for the search that changed last.
      out: page to write; None for one beside the search.

    Raises:
      UserError: there is no such search; the sentence names those there are.
    """
    searches = results.find_searches(models)
    if not searches:
        raise UserError(
            f"There is no search of {task} in {models.parent}. Run `tfpipe tune {typed}`."
        )
    if model:
        choose(model, dict.fromkeys(s.model for s in searches), noun=f"search of {task}")
    candidates = [search for search in searches if search.model == (model or search.model)]
    search = max(candidates, key=lambda candidate: candidate.changed)
    measured = importance(search.completed, names=[*search.names, "epochs"])
    return SearchReport(
        path=report.write(out or search.folder.with_suffix(".html"), search, measured, task=task),
        search=search,
        importance=measured,
        searches=[candidate.summary for candidate in searches],
        trials=[
            {name: results.format_value(row, name) for name in search.columns}
            for row in search.ranked
        ],
    )
