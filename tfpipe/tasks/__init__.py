"""Every task there is."""

from tfpipe.task import Task, choose
from tfpipe.tasks.melt_layer import TASK as MELT_LAYER

TASKS: dict[str, Task] = {task.name: task for task in (MELT_LAYER,)}


def find(name: str) -> Task:
    """Returns the task of that name; a UserError offers the nearest one."""
    return TASKS[choose(name, TASKS, noun="task")]
