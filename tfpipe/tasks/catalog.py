"""Catalog of tasks: the built-in ones by name, and how a name, file or folder becomes a task."""

from dataclasses import replace
from pathlib import Path

from tfpipe.base import files, user_modules
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.tasks import image_folder
from tfpipe.tasks.ccd_tracks import TASK as CCD_TRACKS
from tfpipe.tasks.fold_geometry import TASK as FOLDS
from tfpipe.tasks.insolubles import TASK as INSOLUBLES
from tfpipe.tasks.ionization import ESCAPE_FRACTION, REDSHIFT
from tfpipe.tasks.melt_layer import TASK as MELT_LAYER
from tfpipe.tasks.task import Task

TASKS: dict[str, Task] = {
    task.name: task
    for task in (MELT_LAYER, INSOLUBLES, CCD_TRACKS, REDSHIFT, ESCAPE_FRACTION, FOLDS)
}


def find(name: str) -> Task:
    """Returns the task of that name, the `TASK` in a Python file, or that of a folder of images.

    Raises:
      UserError: there is none of that name, and which is nearest; or what is wrong with the file.
    """
    if name in TASKS:
        return TASKS[name]
    if name.endswith(".py"):
        return _with_origin(_of_file(name), name)
    if Path(name).is_dir():
        return _with_origin(image_folder.folder_task(Path(name), taken=tuple(TASKS)), name)
    if "/" in name:
        raise UserError(
            f"{files.shown(name)} is no folder. Give the name of a task, a folder of images, or "
            "a Python file with a TASK in it."
        )
    return TASKS[choose(name, TASKS, noun="task")]


def origin_of(task: Task) -> str:
    """Returns what `find` takes to find a task again, from any folder: its name, or its path."""
    return task.raw_files.origin or task.name


def of_version(name: str, origin: str) -> Task:
    """Returns the task that a version was trained for; a folder of images need not be there.

    Args:
      name: of the task, as the version's card has it.
      origin: `origin_of` the task, as the card has it; "" of older releases.

    Raises:
      UserError: the task is defined in a Python file that was not loaded, or cannot be recognised.
    """
    if name in TASKS:
        return TASKS[name]
    if origin.endswith(".py"):
        if not user_modules.is_loaded(Path(origin)):
            raise UserError(
                f"The task {name} of this version is defined in the Python file {origin}. A "
                "version runs no code by itself: name the file in place of the version and give "
                "--models, or load it by tfpipe.load_task first."
            )
        return find(origin)
    if not origin:
        raise UserError(
            f"This version was made by an older release, whose cards do not hold where the task "
            f"{name} is from. Name its folder or Python file in place of the version."
        )
    return _with_origin(replace(image_folder.folder_task(Path(origin)), name=name), origin)


def _with_origin(task: Task, path: str) -> Task:
    raw_files = replace(task.raw_files, origin=str(Path(path).resolve()))
    return replace(task, raw_files=raw_files)


def _of_file(name: str) -> Task:
    module = user_modules.load(Path(name), expected="a Python file with a TASK in it")
    task = getattr(module, "TASK", None)
    if not isinstance(task, Task):
        raise UserError(f"{name} defines no TASK. Write TASK = tfpipe.Task(...) in it.")
    return task
