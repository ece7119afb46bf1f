"""What there is to review of a task, by one of its versions."""

from pathlib import Path

from tfpipe.base.errors import UserError
from tfpipe.registry import load
from tfpipe.review import records as review_records
from tfpipe.review.background import Look
from tfpipe.review.decision_desk import Desk
from tfpipe.review.image_queue import Pictures
from tfpipe.review.photo_queue import Strips
from tfpipe.tasks.task import Task


def opened(
    task: Task,
    version: Path,
    records: Path,
    *,
    raw: Path,
) -> tuple[Pictures | Strips, Look | None]:
    """Returns the queue: files where the task answers over whole ones, else single pictures.

    And what looks at all pictures for its order (`looking.Looking`); None where that is done.

    Args:
      task: the question.
      version: folder of a saved version, a classifier's.
      records: folder of the packed records.
      raw: the raw folder, which decisions are kept in.

    Raises:
      UserError: the version is no classifier, or was made of other records than these, or the
        task's files cannot be reviewed.
    """
    load.check_kind(version)
    if task.whole_file and task.whole_file.review is None:
        raise UserError(
            f"{task.name} answers over whole files and does not tell how their parts are reviewed, "
            "so there is nothing to show."
        )
    desk = Desk(raw, task.raw_files.decisions, f"{version.parent.name}/{version.name}")
    known = review_records.read(task, version, records, desk=desk)
    if task.whole_file:
        return Strips(known, desk, task=task, version=version, raw=raw), known.look
    return Pictures(known, desk), known.look
