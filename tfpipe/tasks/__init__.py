"""Every task there is."""

from pathlib import Path

from tfpipe import python_file
from tfpipe.errors import UserError
from tfpipe.task import Task, choose
from tfpipe.tasks.insolubles import TASK as INSOLUBLES
from tfpipe.tasks.ionization import ESCAPE_FRACTION, REDSHIFT
from tfpipe.tasks.melt_layer import TASK as MELT_LAYER

TASKS: dict[str, Task] = {
    task.name: task for task in (MELT_LAYER, INSOLUBLES, REDSHIFT, ESCAPE_FRACTION)
}


def find(name: str) -> Task:
    """Returns the task of that name, or the `TASK` in a Python file of the user's.

    Raises:
      UserError: there is none of that name, and which is nearest; or what is wrong with the file.
    """
    if not name.endswith(".py"):
        return TASKS[choose(name, TASKS, noun="task")]
    module = python_file.load(Path(name), expected="a Python file with a TASK in it")
    task = getattr(module, "TASK", None)
    if not isinstance(task, Task):
        raise UserError(f"{name} defines no TASK. Write TASK = tfpipe.task.Task(...) in it.")
    return task
