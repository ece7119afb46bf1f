"""What a task is: a question asked of one kind of picture, as plain values and functions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfpipe.tasks.annotations.decisions import NAME, Decision
from tfpipe.tasks.annotations.spans import Reviewing

SPLITS = ("train", "validation", "test")


class Example(NamedTuple):
    """One picture as a reader yields it.

    Attributes:
      key: unique and stable name, such as "a.png@00120".
      group: name shared by all near-copies; a group is never cut by a split.
      image: [height, width, channels] in the task's dtype.
      label: index into the task's classes, or -1 where nobody has labelled it.
      columns: [len(task.columns)] float32, what a model may know beside the picture.
      metadata: what is kept beside it and never shown to a model, as `Task.metadata` names it.
    """

    key: str
    group: str
    image: np.ndarray
    label: int
    columns: np.ndarray
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Source:
    """One raw file, and what the tables say of it: the unit that is read at once.

    Attributes:
      name: how summaries call it, such as "photos/a.png".
      group: its examples' group.
      path: the raw file.
      about: whatever the task's `read` needs from the tables.
      also: raw files read along with it, such as the rest of a hundred small pictures.
      split: "train", "validation" or "test" where the user has decided; "" for that of the group.
      decided: what reviewers have said of its spans.
    """

    name: str
    group: str
    path: Path
    about: Any = None
    also: tuple[Path, ...] = ()
    split: str = ""
    decided: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What a raw folder holds, found without decoding a picture.

    Attributes:
      sources: the files to read, in a fixed order.
      tables: other files that the examples depend on.
      notes: what is left out and why, one sentence each.
      twins: (source, source, why) for sources that show the same thing by the tables; a split must
        not part them.
      classes: those found in the folder, in label order, for a task that has none of its own.
      columns: names of the numbers found beside the pictures, for a task that has none of its own.
      image_shape: (height, width, channels), for a task whose options set them; () for the task's.
      options: as the records are read and new files will be, where some were left to the survey;
        None for those given.
      joins: whether groups that share near-copies are made one, where the split is ours; else
        near-copies across splits fail the run.
      augmentation: of these pictures, where they bear less than the task's; "" for the task's.
      gaps: whether training and validation may share a group, as what lies between is left out.
      decided: what reviewers have said of single pictures; not a task's own, see `decided`.
    """

    sources: tuple[Source, ...]
    tables: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    twins: tuple[tuple[str, str, str], ...] = ()
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    image_shape: tuple[int, ...] = ()
    options: Any = None
    joins: bool = False
    augmentation: str = ""
    gaps: bool = False
    decided: tuple[Decision, ...] = ()


class Reading(NamedTuple):
    """What reading one source gave.

    Attributes:
      examples: its examples, in a fixed order.
      row: one row of the task's table of sources (`Task.table`), {} for none.
      picture: a picture of how it was read, [height, width, 3] uint8 RGB, or None.
    """

    examples: list[Example]
    row: dict[str, Any] = {}
    picture: np.ndarray | None = None


class Answer(NamedTuple):
    """What a model says of one new raw file, in the user's units.

    Attributes:
      rows: the table's rows.
      windows: a row for each picture that the model was shown.
    """

    rows: list[dict[str, Any]]
    windows: list[dict[str, Any]]


Classify = Callable[..., np.ndarray]  # (images), or (images, columns) where the task has columns


@dataclass(frozen=True)
class Task:
    """A question asked of one kind of picture.

    Attributes:
      name: what users type.
      title: one line for `tfpipe tasks`.
      expects: the raw files, in a sentence.
      classes: names, in label order; the last one is the positive class of a two-class task. ()
        for those that a survey finds in the raw folder.
      image_shape: (height, width, channels).
      columns: names of the numbers a model may see beside the picture. () for none, or for those
        that a survey finds in the raw folder.
      metadata: name -> "str", "int64" or "float64", kept with each example.
      options: a frozen dataclass of the task's own options, at their defaults.
      survey: (raw folder, options) -> Survey.
      read: (source, options) -> Reading; touches the source's own file only.
      survey_new: (raw files, table or None, options) -> Survey of unlabelled files.
      models: names worth trying, the default first.
      look: (source, classify, options) -> whatever `answer` needs, the costly part; `classify`
        takes images [n, *image_shape], then columns [n, columns] where the task has some, and
        returns probabilities [n, classes]. None where each picture is answered for itself; then
        neither `answer` nor `draw` is needed.
      answer: (what look saw, thresholds) -> Answer; thresholds has "decision" where there are two
        classes, and "confident" besides where files are judged.
      draw: likewise -> an overlay, [height, width, 3] uint8 RGB.
      answer_columns: names of the columns of an answer's rows.
      judge: (source, its row of the task's table, answer) -> counts that add up over sources and
        have `.scores`, such as layers found and missed; None where the table's row gives no truth.
        Without it only single examples are scored.
      judged_by: the one of these scores that two classes' decision threshold maximises on
        validation; without `judge` that is the F1 of single examples.
      judged_then: the one of these scores that is to be least where ways of looking are equally
        good by `judged_by`, such as a depth error; "" for none.
      table: name of the table of sources that reading writes ("alignment"), or None.
      objective: the validation score that searches and early stopping maximise.
      writers: ending of a table of answers -> (frame, path) -> None, for tables that another
        program imports; see `interchange.with_pictures`.
      image_dtype: of the examples' images.
      even_exposure: whether camera settings vary, so that only contrast in a picture counts.
      augmentation: how training pictures are changed at random, one of `augmentation.KINDS`.
      pads: whether pictures of other sizes are padded with their background, not stretched.
      alike: whether different things may look the same, as dots do, so that likeness across splits
        is no sign of a copy.
      mark: (source, its rows of the table of answers, options) -> the source's own picture with the
        answers drawn in, [height, width, 3] uint8 RGB, or None where it has none; for pictures that
        are answered for themselves.
      leaderboard: whether `tfpipe shallow` compares many classifiers, not one of trees.
      raw: its raw folder where that is the user's own; None for data/raw/<name>.
      arguments: model -> arguments of its builder that hold for this task unless the user or a
        search gives others.
      compared: contestants of `compare.compare`; () for those that follow from the columns.
      judged_by_splits: whether a comparison judges by the packed validation and test splits, as the
        table that was published does, not by folds.
      quantity: what the classes' names are values of, such as "z", where they are numbers; then
        errors are told in them, and what is to be expected.
      slides: whether `look` slides a window along long pictures. Then `classify` may have an
        attribute `along`: (pictures [n, height, width, channels], first rows of windows [n,
        windows]) -> "probabilities" [n, windows, classes], and perhaps "interval" [n, windows, 2].
      interval: names of the int64 metadata fields that tell on which row of a picture the thing
        looked for begins, and one past its last; -1 where there is none. () where nobody knows.
        Pictures are then changed in training as slices are, or not at all.
      apart: the name of an int64 metadata field that is 1 for pictures that nobody could tell
        apart; they are counted, and scored by themselves as well. "" for none.
      spans: how a file's spans are reviewed, for tasks with `look`.
      decisions: file of reviewers' decisions in the raw folder.
    """

    name: str
    title: str
    expects: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    options: Any
    survey: Callable[[Path, Any], Survey]
    read: Callable[[Source, Any], Reading]
    survey_new: Callable[[list[Path], Path | None, Any], Survey]
    models: tuple[str, ...]
    look: Callable[[Source, Classify, Any], Any] | None = None
    answer: Callable[[Any, dict[str, float]], Answer] | None = None
    draw: Callable[[Any, dict[str, float]], np.ndarray] | None = None
    answer_columns: tuple[str, ...] = ()
    judge: Callable[[Source, dict[str, Any], Answer], Any] | None = None
    judged_by: str = ""
    judged_then: str = ""
    columns: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    table: str | None = None
    objective: str = "average_precision"
    writers: dict[str, Callable[[Any, Path], None]] = field(default_factory=dict)
    image_dtype: str = "uint8"
    even_exposure: bool = False
    augmentation: str = "slices"
    pads: bool = False
    alike: bool = False
    mark: Callable[[Source, Any, Any], np.ndarray | None] | None = None
    leaderboard: bool = False
    raw: Path | None = None
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    compared: tuple[str, ...] = ()
    judged_by_splits: bool = False
    quantity: str = ""
    slides: bool = False
    interval: tuple[str, ...] = ()
    apart: str = ""
    spans: Reviewing | None = None
    decisions: str = NAME


def raw_folder(task: Task, data: Path) -> Path:
    """Returns where a task's raw files lie, by default under the folder of all data."""
    return task.raw or data / "raw" / task.name
