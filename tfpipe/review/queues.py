"""What there is to review of a task, by one of its versions."""

from collections.abc import Callable
from pathlib import Path

from tfpipe import predict
from tfpipe.errors import UserError
from tfpipe.review import packed
from tfpipe.review.desk import Desk
from tfpipe.review.pictures import Pictures
from tfpipe.review.strips import Strips
from tfpipe.task import Task


def opened(
    task: Task,
    version: Path,
    records: Path,
    *,
    raw: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pictures | Strips:
    """Returns the queue: files where the task answers over whole ones, else single pictures.

    Args:
      task: the question.
      version: folder of a saved version, a classifier's.
      records: folder of the packed records.
      raw: the raw folder, which decisions are kept in.
      progress: told (pictures looked at, pictures in all).

    Raises:
      UserError: the version is no classifier, or was made of other records than these, or the
        task's files cannot be reviewed.
    """
    predict.check_kind(version)
    if task.look and task.spans is None:
        raise UserError(
            f"{task.name} answers over whole files and does not tell how their parts are reviewed, "
            "so there is nothing to show."
        )
    desk = Desk(raw, task.decisions, f"{version.parent.name}/{version.name}")
    known = packed.read(task, version, records, desk=desk, progress=progress)
    if task.look:
        return Strips(known, desk, task=task, version=version, raw=raw)
    return Pictures(known, desk)
