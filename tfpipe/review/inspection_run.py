"""Start of an inspection: opens the one that was drawn, or predicts new files and draws."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfpipe.base import files, storage
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.registry import store
from tfpipe.review import inspection_sample
from tfpipe.review.inspection_sample import (
    PER_CLASS,
    PREDICTIONS,
    InspectionFolder,
    InspectionPlan,
)
from tfpipe.tasks.task import Task


def open_or_draw(
    task: Task,
    version: Path,
    paths: list[Path],
    *,
    predict: Callable[..., Any],
    per_class: int | None = None,
    seed: int | None = None,
    default_seed: int = 0,
    options: dict[str, Any] | None = None,
    out: Path | None = None,
    draws: bool = True,
    report: Reporter = silent,
) -> InspectionFolder:
    """Returns the inspection of new files by a version, drawn now if it has not been.

    Args:
      task: a task that predicts images one by one.
      version: folder of the version.
      paths: new files and folders; [] for the inspection that was drawn last.
      predict: (paths, out, options) writes the table of predictions, and returns what it did.
      per_class: images of each predicted class; None for `PER_CLASS`, or as drawn.
      seed: of the draw; None for `default_seed`, or as drawn.
      default_seed: of a new draw.
      options: task options by name, over those of the version.
      out: the inspection's folder; None for one beside the version.
      draws: whether a new one is drawn where there is none.
      report: receives the stage "draw".

    Raises:
      UserError: there is no inspection, the folder holds another one, or the task predicts whole
        files.
    """
    if task.whole_file is not None:
        raise UserError(
            f"{task.name} predicts whole files, whose parts have no class to draw by. Check its "
            "predictions by `tfpipe review`."
        )
    folder = out or _default_folder(version, paths)
    if storage.storage_of(folder):
        raise UserError(
            "Judges' answers are added one by one, so an inspection must be in a folder of this "
            "machine. Name one by --out."
        )
    absolute = tuple(str(path.absolute()) for path in paths)
    settings = {name: str(value) for name, value in (options or {}).items()}
    if opened := inspection_sample.open_folder(folder):
        _check_same(opened, version, absolute, per_class, settings, seed)
        return opened
    if not paths:
        raise UserError(
            f"There is no inspection in {files.shown(folder)}. Name the new files to draw from."
        )
    if not draws:
        raise UserError(
            f"{files.shown(folder)} holds no inspection of these files, so there is nothing to "
            "report. Run the command without --report first: it draws images, and opens a page."
        )
    card = store.read_card(version)
    # By absolute paths: names of images hold them, and the draw reads the files again.
    inspection_sample.warn_of(predict(absolute, out=folder / PREDICTIONS, options=options))
    plan = InspectionPlan(
        task.name,
        version.parent.name,
        card.version,
        classes=card.classes,
        files=absolute,
        per_class=per_class or PER_CLASS,
        seed=default_seed if seed is None else seed,
        options=settings,
    )
    # The classes and columns of a folder of images are the version's.
    task = replace(task, classes=card.classes, columns=card.columns)
    return inspection_sample.draw(task, plan, folder, trained_options=card.options, report=report)


def _default_folder(version: Path, paths: list[Path]) -> Path:
    if paths:
        name = files.shown(paths[0].absolute().name)  # pyarrow opens paths of valid text only
        return version.with_name(f"inspect-{version.name}-{name}")
    drawn = inspection_sample.find(version)
    if not drawn:
        raise UserError(
            f"Nothing has been inspected by version {version.name} of {version.parent.name}. Name "
            "the new files to draw from."
        )
    return drawn[0]


def _check_same(
    opened: InspectionFolder,
    version: Path,
    paths: tuple[str, ...],
    per_class: int | None,
    settings: dict[str, str],
    seed: int | None,
) -> None:
    """Raises a UserError if an inspection is not the one that is asked for."""
    plan = opened.plan
    differing = {
        "files": bool(paths) and paths != plan.files,
        "--per-class": per_class not in (None, plan.per_class),
        "--seed": seed not in (None, plan.seed),
        "--option": bool(settings) and settings != plan.options,
    }
    names = [name for name, differs in differing.items() if differs]
    ways = [f"leave out {' and '.join(names)}"] if names else []
    if (plan.model, plan.version) != (version.parent.name, int(version.name)):
        model = f"--model {plan.model} " if plan.model != version.parent.name else ""
        ways.insert(0, f"give {model}--version {plan.version}")
    if ways:
        way = " and ".join(ways)
        other = f" with other {' and '.join(names)}" if names else ""
        raise UserError(
            f"{files.shown(opened.path)} holds an inspection of {plan.model} {plan.version}{other} "
            f"({plan.per_class} images of each class of {plan.shown_files}, seed {plan.seed}). "
            f"{way[0].upper()}{way[1:]} to go on with it, or give another --out."
        )
