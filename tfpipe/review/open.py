"""Opening of a review: the queue of a task, seen through one of its versions."""

from pathlib import Path

from tfpipe.base.errors import UserError
from tfpipe.registry import load
from tfpipe.review import records as review_records
from tfpipe.review.background import ScoreImages
from tfpipe.review.decision_desk import DecisionDesk
from tfpipe.review.image_queue import ImageQueue
from tfpipe.review.photo_queue import PhotoQueue
from tfpipe.tasks.task import Task


def open_queue(
    task: Task,
    version: Path,
    records: Path,
    *,
    raw: Path,
) -> tuple[ImageQueue | PhotoQueue, ScoreImages | None]:
    """Returns the queue: photos if the task predicts whole files, else single images.

    And what scores all images for its order, see `background.BackgroundScoring`; None if that is
    done.

    Args:
      task: the task.
      version: folder of a saved version, a classifier's.
      records: folder of the packed records.
      raw: the raw folder, where decisions are saved.

    Raises:
      UserError: the version is no classifier, or was made of other records, or the task's files
        cannot be reviewed.
    """
    load.check_kind(version)
    if task.whole_file and task.whole_file.review is None:
        raise UserError(
            f"{task.name} predicts whole files and does not define how their parts are reviewed, "
            "so there is nothing to show."
        )
    desk = DecisionDesk(raw, task.raw_files.decisions, f"{version.parent.name}/{version.name}")
    opened = review_records.read(task, version, records, desk=desk)
    if task.whole_file:
        return PhotoQueue(opened, desk, task=task, version=version, raw=raw), opened.score_all
    return ImageQueue(opened, desk), opened.score_all
