"""Sample of an inspection: images drawn by predicted class, stored without their predictions."""

import getpass
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from tfpipe.base import files, images, tables
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, counter, silent
from tfpipe.tasks.annotations import decisions
from tfpipe.tasks.annotations.decisions import Decision, DecisionLog
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Source, Task

if TYPE_CHECKING:
    from tfpipe.version import Prediction

LOG = logging.getLogger(__name__)
PER_CLASS = 50  # images of each predicted class
UNIDENTIFIABLE = "(unidentifiable)"  # a judge's answer beside the classes
PLAN, SAMPLE, PREDICTIONS = "plan.json", "sample.csv", "predictions.parquet"
SKIPPED = "predictions/skipped.csv"  # files that could not be predicted, as `predict` writes them
JUDGES = "judges"  # folder of one file of answers for each judge
_JUDGE = re.compile(r"\w[\w .-]{0,59}")


@dataclass(frozen=True)
class InspectionPlan:
    """What was drawn for an inspection, and from what; in plan.json of its folder.

    Attributes:
      task: name of the task.
      model: name of the version's model.
      version: number of the version.
      classes: the version's, in label order.
      files: the new files and folders, absolute.
      per_class: images drawn of each predicted class, all where there are fewer.
      seed: of the draw.
      options: task options by name, over those of the version.
    """

    task: str
    model: str
    version: int
    classes: tuple[str, ...]
    files: tuple[str, ...]
    per_class: int
    seed: int
    options: dict[str, str]

    @property
    def shown_files(self) -> str:
        """The new files and folders, fit for a message."""
        return files.shown(listed(self.files, most=5))


class InspectionFolder(NamedTuple):
    """A drawn inspection.

    Attributes:
      path: its folder: plan.json, predictions.parquet, sample.csv, images/, judges/.
      plan: what was drawn.
    """

    path: Path
    plan: InspectionPlan

    @property
    def sample(self) -> pd.DataFrame:
        """A row for each drawn image, in the order of the page: image, key, group."""
        return tables.read_csv(self.path / SAMPLE, text={"image", "key", "group"})

    @property
    def predictions(self) -> pd.DataFrame:
        """A row for each new image: key, group, label, abstain, probabilities."""
        return pd.read_parquet(self.path / PREDICTIONS)

    @property
    def judges(self) -> list[str]:
        """Names of the judges who have answered, in alphabetical order."""
        return sorted(path.stem for path in (self.path / JUDGES).glob("*.csv"))

    @property
    def skipped(self) -> list[str]:
        """Names of the new files that could not be read, so that none of their images was drawn."""
        path = self.path / SKIPPED
        return tables.read_csv(path, text={"file"})["file"].tolist() if path.is_file() else []

    def log(self, judge: str) -> DecisionLog:
        """Returns all answers of a judge.

        Raises:
          UserError: a line is about no drawn image, or its label is no answer; naming the line.
        """
        log = decisions.read(self.path / JUDGES, name=f"{judge}.csv")
        labels, drawn = (*self.plan.classes, UNIDENTIFIABLE), {*self.sample["image"]}
        for number, line in zip(log.numbers, log.lines, strict=True):
            where = f"{files.shown(self.path / JUDGES / judge)}.csv line {number}"
            if line.is_span or line.what not in drawn:
                raise UserError(
                    f"{where}: there is no drawn image {line.what[:40]!r} in "
                    f"{SAMPLE}. Correct the cell, or remove the line."
                )
            if line.label not in labels:
                raise UserError(
                    f"{where}: the label is {line.label[:40]!r}, expected {listed(labels)}. "
                    "Correct the cell, or remove the line."
                )
        return log

    def answers(self, judge: str) -> dict[str, Decision]:
        """Returns image -> a judge's answer that holds; errors as `log`."""
        return {image: decision for (_, image), decision in self.log(judge).current.items()}


def user_name() -> str | None:
    """Returns the name that the user has logged in by; None in a container without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None


def judge_name(judge: str | None) -> str:
    """Returns the name of a judge, which becomes the name of a file; that of the user for None.

    Raises:
      UserError: it cannot be one, or the user has no name on this machine.
    """
    if judge is None:
        judge = user_name()
    if judge is None:
        raise UserError("The user has no name on this machine, as in containers. Give --judge.")
    judge = judge.strip()
    if not _JUDGE.fullmatch(judge):
        raise UserError(
            f"The judge {files.shown(judge[:80])!r} cannot name a file. Expected at most 60 "
            "letters, digits, spaces, dots and hyphens. Give it by --judge."
        )
    return judge


def warn_of(prediction: "Prediction") -> None:
    """Logs which new files could not be predicted, and what was noted of the others."""
    for name, reason in prediction.skipped.items():
        LOG.warning("%s was skipped: %s", name, reason)
    for note in prediction.notes:
        LOG.warning("%s", note)


def find(version: Path) -> list[Path]:
    """Returns the folders of a version's inspections, the last drawn first."""
    plans = version.parent.glob(f"inspect-{version.name}-*/{PLAN}")
    return [path.parent for path in sorted(plans, key=lambda path: -path.stat().st_mtime)]


def open_folder(path: Path) -> InspectionFolder | None:
    """Returns the inspection in a folder; None where none has been drawn to the end.

    Raises:
      UserError: its plan is damaged.
    """
    if not (path / PLAN).is_file():
        return None
    try:
        # Undecodable bytes of a file's name are escaped, and were written as they are before.
        values = json.loads((path / PLAN).read_bytes().decode("utf-8", "surrogateescape"))
        lists = {name: tuple(values[name]) for name in ("classes", "files")}
        return InspectionFolder(path, InspectionPlan(**(values | lists)))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{files.shown(path / PLAN)} is damaged. Restore it from a copy, or give another --out."
        ) from error


def draw(
    task: Task,
    plan: InspectionPlan,
    folder: Path,
    *,
    trained_options: dict[str, Any],
    rows: np.ndarray | None = None,
    report: Reporter = silent,
) -> InspectionFolder:
    """Draws images of each predicted class, and stores them under numbers in a random order.

    Args:
      task: the task.
      plan: what to draw, from which files.
      folder: holds predictions.parquet, the table of `predict` for these files.
      trained_options: task options that the version was trained with.
      rows: of the predictions, that are drawn; None for those of each predicted class.
      report: receives the stage "draw" with the files read.

    Raises:
      UserError: nothing was predicted, two images have the same key, or a file has changed since.
    """
    predicted = pd.read_parquet(folder / PREDICTIONS, columns=["key", "group", "label"])
    _check_keys(predicted["key"])
    rng = np.random.default_rng(plan.seed)
    if rows is None:
        rows = _draw_rows(predicted["label"], plan, rng)
    rows = rng.permutation(rows)
    if not len(rows):
        raise UserError(
            f"There is no image in {plan.shown_files}, so none can be inspected. Give files with "
            "images."
        )
    names = [f"{i:0{len(str(len(rows)))}d}" for i in range(1, len(rows) + 1)]
    by_key = dict(zip(predicted["key"].iloc[rows], names, strict=True))
    options = parse_options(
        task, [f"{name}={value}" for name, value in {**trained_options, **plan.options}.items()]
    )
    missing, unreadable = dict(by_key), {}
    for source in _sources(task, plan, options, {*predicted["key"]}, {*by_key}, report):
        try:
            reading = task.read(source, options)
        except UserError as error:  # `predict` has named it, unless it was readable then
            unreadable[source.name] = str(error)
            continue
        for example in reading.examples:
            if name := missing.pop(example.key, None):
                image = images.to_display(example.image)
                images.write_png(image, folder / "images" / f"{name}.png")
    if missing:
        reasons = [f" {reason}" for reason in [*unreadable.values()][:1]]
        raise UserError(
            f"{files.shown(next(iter(missing)))} is no longer in the new files.{''.join(reasons)} "
            "Inspect them again once they are complete."
        )
    sample = pd.DataFrame({"image": names}).join(
        predicted[["key", "group"]].iloc[rows].reset_index(drop=True)
    )
    tables.write_csv(sample, folder / SAMPLE)
    files.replace(folder / PLAN, json.dumps(asdict(plan), indent=1).encode("ascii"))
    return InspectionFolder(folder, plan)


def _check_keys(keys: pd.Series) -> None:
    """Raises a UserError if two images have the same key: answers are joined by it."""
    repeated = keys[keys.duplicated()]
    if len(repeated):
        raise UserError(
            f"Two new images are called {files.shown(repeated.iloc[0])}, and {len(repeated)} names "
            "occur twice in all, so answers cannot be told apart. Rename the files, or inspect "
            "them one folder after the other."
        )


def _draw_rows(labels: pd.Series, plan: InspectionPlan, rng: np.random.Generator) -> np.ndarray:
    drawn = []
    for name in plan.classes:
        of_class = np.flatnonzero(labels.to_numpy() == name)
        drawn.append(rng.permutation(of_class)[: plan.per_class])
    return np.concatenate(drawn)


def _sources(
    task: Task,
    plan: InspectionPlan,
    options: Any,
    keys: set[str],
    drawn: set[str],
    report: Reporter,
) -> Iterator[Source]:
    """Yields the sources of the files that may hold drawn images.

    A source of one image, whose key is the source's name, is yielded only if it is drawn.
    """
    sources = task.survey_new([Path(file) for file in plan.files], None, options).sources
    chosen = [source for source in sources if source.name in drawn or source.name not in keys]
    progress = counter(report, "draw")
    for i, source in enumerate(chosen):
        progress(i, len(chosen))
        yield source
    progress(len(chosen), len(chosen))
