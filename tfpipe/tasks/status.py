"""Task status: raw files present, records packed, versions saved. Imports nothing heavy."""

import dataclasses
from pathlib import Path

from tfpipe.base import files, resumable
from tfpipe.tasks.task import Task, raw_folder


@dataclasses.dataclass(frozen=True)
class TaskStatus:
    """One row of the table of `tfpipe tasks`.

    Attributes:
      task: name of the task.
      title: what it is for, one line.
      raw: its raw folder.
      has_raw_files: whether the raw folder holds anything.
      counts: split -> class -> number of packed examples; None where nothing is packed.
      versions: model -> numbers of its saved versions, oldest first.
    """

    task: str
    title: str
    raw: Path
    has_raw_files: bool
    counts: dict[str, dict[str, int]] | None
    versions: dict[str, tuple[int, ...]]

    @property
    def is_packed(self) -> bool:
        """Whether records are packed."""
        return self.counts is not None

    @property
    def n_examples(self) -> int:
        """Number of packed examples; 0 where nothing is packed."""
        return sum(sum(classes.values()) for classes in (self.counts or {}).values())

    @property
    def n_versions(self) -> int:
        """Number of saved versions of all models."""
        return sum(map(len, self.versions.values()))


@dataclasses.dataclass(frozen=True)
class OptionHelp:
    """One option of a task: its name, its default and what it sets."""

    name: str
    default: str | bool | int | float
    help: str


@dataclasses.dataclass(frozen=True)
class TaskDetails(TaskStatus):
    """What `tfpipe tasks NAME` prints.

    Attributes:
      expects: the raw files, in a sentence.
      classes: names, in label order; () for those that the raw folder defines.
      models: names worth trying, the default first.
      options: in the order of the task.
    """

    expects: str
    classes: tuple[str, ...]
    models: tuple[str, ...]
    options: tuple[OptionHelp, ...]


def task_status(task: Task, *, data: Path, models: Path) -> TaskStatus:
    """Returns the row of a task in the table of `tfpipe tasks`.

    Args:
      task: the question.
      data: folder that holds raw/ and records/.
      models: folder of saved versions.
    """
    raw = raw_folder(task, data)
    return TaskStatus(
        task=task.name,
        title=task.title,
        raw=raw,
        has_raw_files=raw.is_dir() and any(raw.iterdir()),
        counts=_counts(data / "records" / task.name / "manifest.json"),
        versions=_versions(models / task.name),
    )


def task_details(task: Task, *, data: Path, models: Path) -> TaskDetails:
    """Returns all that `tfpipe tasks NAME` prints about a task; arguments as `task_status`."""
    row = task_status(task, data=data, models=models)
    return TaskDetails(
        **{field.name: getattr(row, field.name) for field in dataclasses.fields(row)},
        expects=task.expects,
        classes=task.classes,
        models=task.models,
        options=tuple(
            OptionHelp(field.name, getattr(task.options, field.name), field.metadata["help"])
            for field in dataclasses.fields(task.options)
        ),
    )


def _counts(manifest: Path) -> dict[str, dict[str, int]] | None:
    value = resumable.read_json(manifest)
    return value.get("counts") if isinstance(value, dict) else None


def _versions(folder: Path) -> dict[str, tuple[int, ...]]:
    numbers = {model.name: tuple(files.numbers_in(model)) for model in sorted(folder.glob("*"))}
    return {model: versions for model, versions in numbers.items() if versions}
