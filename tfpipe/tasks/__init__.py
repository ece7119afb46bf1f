"""Every task there is."""

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
    """Returns the task of that name, the `TASK` in a Python file, or that of a folder of pictures.

    Raises:
      UserError: there is none of that name, and which is nearest; or what is wrong with the file.
    """
    if name in TASKS:
        return TASKS[name]
    if name.endswith(".py"):
        return _of_file(name)
    if Path(name).is_dir():
        return image_folder.of(Path(name), taken=tuple(TASKS))
    if "/" in name:
        raise UserError(
            f"{files.shown(name)} is no folder. Give the name of a task, a folder of pictures, or "
            "a Python file with a TASK in it."
        )
    return TASKS[choose(name, TASKS, noun="task")]


def lasting(name: str) -> str:
    """Returns what the user typed for a task as it is found from any folder."""
    is_path = name not in TASKS and (name.endswith(".py") or Path(name).is_dir())
    return str(Path(name).resolve()) if is_path else name


def _of_file(name: str) -> Task:
    module = user_modules.load(Path(name), expected="a Python file with a TASK in it")
    task = getattr(module, "TASK", None)
    if not isinstance(task, Task):
        raise UserError(f"{name} defines no TASK. Write TASK = tfpipe.task.Task(...) in it.")
    return task
