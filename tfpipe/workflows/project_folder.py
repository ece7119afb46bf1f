"""Project folder: raw files of a small example, run.yaml and README.md, made by `tfpipe init`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfpipe.base import files
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.search.config import SearchConfig
from tfpipe.tasks import catalog, samples
from tfpipe.tasks.task import Task
from tfpipe.workflows import run_config
from tfpipe.workflows.run_config import RunConfig

README = """# {title}

This folder holds an example of the task `{task}`: {drawn}. Three commands, typed in this folder:

```sh
tfpipe check                  # reads the raw files and lists what is wrong with them
tfpipe tune --quick           # packs them, tries a few small models and saves the best one
tfpipe predict {task} {new} --out predictions.csv
```

`tfpipe tune` names the saved version and its report at its end. In the last command, the example's
own files stand in for new ones.

## Your own files

Empty `{raw}` and put yours there: {expects}.
`tfpipe tasks {task}` lists the options for them. `tfpipe check` says whether they can be read.

## Settings

Commands without a task take that of `run.yaml`. `tfpipe rerun run.yaml` runs all of `run.yaml`:
change its options, model or search, and run it again.
"""
HEADING = (
    "# Settings of this folder's task. `tfpipe rerun run.yaml` runs all of them; other commands\n"
    "# take only the task from here, where none is typed.\n"
)
# Sizes of an example that is checked and tuned in minutes; the others are drawn in their own sizes.
SIZES: dict[str, dict[str, float | str | None]] = {
    "melt-layer": {"px_per_m": 1000},
    "insolubles": {"runs": 9, "field_runs": 1, "particles": 120},
}
NEW_FILES = {"melt-layer": "photos"}  # folder that `predict` takes; elsewhere all raw files


def create(folder: Path, *, task: str, seed: int) -> dict[str, Any]:
    """Makes a project folder with a small example of a task.

    Args:
      folder: to be made; must not hold anything yet.
      task: name of a built-in task.
      seed: random seed of the example.

    Returns:
      {"raw": folder of the raw files, "files": what else was written, "drawn": counts}.

    Raises:
      UserError: there is no such task, the folder holds something, or cannot be written.
    """
    choose(task, samples.SAMPLES, noun="task with an example")
    if folder.resolve() == Path.cwd():
        raise UserError(
            f"{folder} is the folder you are in. Give the name of a new one, such as {task}: "
            f"tfpipe init {task} --task {task}."
        )
    raw = Path("data", "raw", task)
    with files.new_folder(folder, option="another name for DIR") as draft:
        counts = samples.draw(task, draft / raw, seed=seed, **SIZES.get(task, {}))
        drawn = {name: count for name, count in counts.items() if name != "truth"}
        text = _configuration(catalog.TASKS[task]).to_yaml(heading=HEADING)
        (draft / run_config.FILE).write_text(text, encoding="utf-8")
        (draft / "README.md").write_text(
            README.format(
                title=folder.resolve().name,
                task=task,
                drawn=", ".join(f"{count:,} {name}" for name, count in drawn.items()),
                new=raw / NEW_FILES.get(task, ""),
                raw=raw,
                expects=catalog.TASKS[task].expects,
            ),
            encoding="utf-8",
        )
    return {
        "raw": folder / raw,
        "files": [str(folder / name) for name in (run_config.FILE, "README.md")],
        "drawn": drawn,
    }


def task_here() -> str:
    """Returns the task of run.yaml in the working folder.

    Raises:
      UserError: there is none, or its task is a Python file, which only its name on the command
        line runs.
    """
    path = Path(run_config.FILE)
    if not path.is_file():
        raise UserError(
            "Which task? Name one: `tfpipe tasks` lists them. In a folder of `tfpipe init` it may "
            "be left out."
        )
    task = run_config.read(path).task
    if task.endswith(".py"):
        raise UserError(
            f"The task of {path} is the Python file {files.shown(task)}, which is run only if you "
            "name it. Name it in the command."
        )
    return task


def _configuration(task: Task) -> RunConfig:
    """Returns a quick search of the task's first model, with the task's options as they are."""
    model = task.models[0]
    return RunConfig(
        command="tune",
        task=task.name,
        model=model,
        options=asdict(task.options),
        search=SearchConfig(task=task.name, model=model, records="", quick=True),
        precision="auto",
    )
