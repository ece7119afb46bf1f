"""Runs the pages of reviews and inspections: binds the port, serves until it is interrupted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfpipe.base import files, storage
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.review import app as review_app
from tfpipe.review import inspection_sample
from tfpipe.review.inspection_queue import InspectionQueue
from tfpipe.review.inspection_sample import InspectionFolder
from tfpipe.tasks import catalog
from tfpipe.tasks.task import Task


def write_queue(
    task: Task,
    out: Path,
    *,
    models: Path,
    records: Path,
    raw: Path,
    model: str | None = None,
    number: int | None = None,
    report: Reporter = silent,
) -> dict[str, Any]:
    """Writes the queue of a review as a table, with its images beside.

    Args:
      task: the task.
      out: the .csv to write.
      models: folder of saved versions.
      records: folder of the packed records.
      raw: folder of the raw files.
      model: name of the model; None for that of the version written last.
      number: the version's number; None for the newest.
      report: receives the progress of scoring.

    Returns:
      {"path", "model", "version", "images", "notes"}.

    Raises:
      UserError: the task is reviewed in whole photos, there is no classifier or no records, or
        images would be written among the raw files.
    """
    beside = out.with_suffix("").resolve()
    if raw.resolve() in (beside, *beside.parents):
        raise UserError(
            f"Images would be written into {files.shown(out.with_suffix(''))}, among the raw files "
            "of the task. Give the table another place or name by --queue."
        )
    start_tensorflow()
    from tfpipe.review import open as review_open
    from tfpipe.review import queue_table

    version = _classifier(task, models, model, number)
    task = task.for_model(version.parent.name)
    queue, score_all = review_open.open_queue(task, version, records, raw=raw)
    n_images = queue_table.write(queue, score_all, out, report=report)
    return {
        "path": out,
        "model": version.parent.name,
        "version": int(version.name),
        "images": n_images,
        "notes": list(queue.notes),
    }


def _classifier(task: Task, models: Path, model: str | None, number: int | None) -> Path:
    """Returns the folder of the version through which a task is reviewed."""
    from tfpipe.registry import store

    return store.find(
        models,
        task=task.name,
        model=model,
        version=number,
        kinds=("classifier",),
        typed=catalog.origin_of(task),
    )


def review(
    task: Task,
    *,
    models: Path,
    records: Callable[[Task], Path],
    raw: Path,
    model: str | None = None,
    number: int | None = None,
    port: int = 8502,
    started: Callable[[dict[str, Any]], None] = lambda page: None,
    report: Reporter = silent,
) -> None:
    """Serves the annotation page of a task until it is interrupted.

    Args:
      task: the task.
      models: folder of saved versions.
      records: returns the folder of a task's packed records.
      raw: folder of the raw files.
      model: name of the model; None for that of the version written last.
      number: the version's number; None for the newest.
      port: port to listen on; 0 for any free one.
      started: called with "path" of the decisions, "model", "version", "address" and "notes".
      report: receives the progress of scoring in the background.

    Raises:
      UserError: the port is taken, there is no classifier or no records, or they are in object
        storage.
    """
    if any(storage.storage_of(folder) for folder in (models, records(task), raw)):
        raise UserError(
            "A review adds decisions to the raw folder one by one, so its data and models must be "
            "folders of this machine. Copy them."
        )
    listener = review_app.bind(port)  # before anything that takes long
    start_tensorflow()
    from tfpipe.review import background
    from tfpipe.review import open as review_open

    version = _classifier(task, models, model, number)
    task = task.for_model(version.parent.name)
    queue, score_all = review_open.open_queue(task, version, records(task), raw=raw)
    secret, port = review_app.create_secret(), listener.getsockname()[1]
    started(
        {
            "path": queue.desk.path,
            "model": version.parent.name,
            "version": int(version.name),
            "address": f"http://{review_app.HOST}:{port}/{secret}/",
            "notes": list(queue.notes),
        }
    )
    title = f"{task.name}: review by {version.parent.name} {version.name}"
    who = inspection_sample.user_name() or ""  # then the reviewer types one
    app = review_app.create_app(queue, secret=secret, port=port, title=title, who=who)
    with background.BackgroundScoring(queue, score_all, report=report):
        review_app.run(app, listener)


def inspect(
    folder: InspectionFolder,
    *,
    judge: str | None = None,
    port: int = 8502,
    started: Callable[[dict[str, Any]], None] = lambda page: None,
) -> None:
    """Serves the page of a drawn inspection to one judge until it is interrupted.

    Args:
      folder: the inspection.
      judge: name of the judge; None for the user's.
      port: port to listen on; 0 for any free one.
      started: called with "path" of the answers, "judge", "images" and "address".

    Raises:
      UserError: the port is taken, or the judge has no name, or one that cannot name a file.
    """
    judge = inspection_sample.judge_name(judge)
    listener = review_app.bind(port)
    queue = InspectionQueue(folder, judge=judge)
    secret, port = review_app.create_secret(), listener.getsockname()[1]
    title = f"{folder.plan.task}: inspection by {judge}"
    app = review_app.create_app(queue, secret=secret, port=port, title=title, who=judge)
    started(
        {
            "path": queue.desk.path,
            "judge": judge,
            "images": len(queue.queue()),
            "address": f"http://{review_app.HOST}:{port}/{secret}/",
        }
    )
    review_app.run(app, listener)
