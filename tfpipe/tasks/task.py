"""Task: a question asked of one kind of image, as plain values and functions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.tasks.annotations.decisions import NAME, Decision
from tfpipe.tasks.annotations.spans import SpanReview

SPLITS = ("train", "validation", "test")


class Example(NamedTuple):
    """One labelled or unlabelled image, as a task's reader returns it.

    Attributes:
      key: unique and stable name, such as "a.png@00120".
      group: name shared by all near-copies; a split never divides a group.
      image: [height, width, channels] in the task's dtype.
      label: index into the task's classes, or -1 for an unlabelled image.
      columns: [len(task.columns)] float32, numbers that a model may use beside the image.
      metadata: values stored with the example and never shown to a model, see `Task.metadata`.
      row_labels: [height] uint8, index into the task's row classes of each row, or 255 for a row
        without a class; None where rows have no classes.
    """

    key: str
    group: str
    image: np.ndarray
    label: int
    columns: np.ndarray
    metadata: dict[str, Any]
    row_labels: np.ndarray | None = None


@dataclass(frozen=True)
class Source:
    """One raw file and what the tables say about it: the unit that is read at once.

    Attributes:
      name: its name in summaries and messages, such as "photos/a.png".
      group: the group of its examples.
      path: the raw file.
      about: whatever the task's `read` needs from the tables.
      also: other raw files that are read with it, such as the rest of a hundred small images.
      split: "train", "validation" or "test" where the user has chosen it; "" for that of the group.
      strata: classes of its examples, where the tables tell them; each split gets groups of each.
      allowed_splits: those that its group is divided among, where the user has chosen none.
      decisions: of reviewers, about its spans.
    """

    name: str
    group: str
    path: Path
    about: Any = None
    also: tuple[Path, ...] = ()
    split: str = ""
    decisions: tuple[Decision, ...] = ()
    strata: tuple[str, ...] = ()
    allowed_splits: tuple[str, ...] = SPLITS


class LeftOut(str):
    """A note on what is left out, and why."""


@dataclass(frozen=True)
class Survey:
    """The contents of a raw folder, listed without decoding an image.

    Attributes:
      sources: the files to read, in a fixed order.
      tables: other files that the examples depend on.
      notes: what is to be known of the files, one sentence each; what is left out and why, as
        `LeftOut`.
      duplicates: (source, source, reason) for sources that show the same thing according to the
        tables; a split must not separate them.
      classes: class names that the folder defines, in label order, for a task without its own.
      columns: names of the numbers beside the images, for a task without its own.
      image_shape: (height, width, channels) where the options set it; () for the task's.
      options: the options that records are read with and new files will be, where the survey had
        to complete them; None for the options passed in.
      merge_near_duplicates: whether groups that share near-copies are merged, where tfpipe splits;
        otherwise near-copies in two splits are an error.
      augmentation: of these images, where they allow less than the task's; "" for the task's.
      may_share_groups: whether training and validation may share a group, because what lies
        between them is left out.
      decisions: of reviewers, about single images; filled in by `annotations.apply`.
    """

    sources: tuple[Source, ...]
    tables: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    duplicates: tuple[tuple[str, str, str], ...] = ()
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    image_shape: tuple[int, int, int] | tuple[()] = ()
    options: Any = None
    merge_near_duplicates: bool = False
    augmentation: str = ""
    may_share_groups: bool = False
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class Reading:
    """The result of reading one source.

    Attributes:
      examples: its examples, in a fixed order.
      row: its row of the task's source table (`RawFiles.source_table`), {} for none.
      figure: how it was read, [height, width, 3] uint8 RGB, or None.
    """

    examples: list[Example]
    row: dict[str, Any] = field(default_factory=dict)
    figure: np.ndarray | None = None


class FilePrediction(NamedTuple):
    """A model's prediction for one raw file, in the user's units.

    Attributes:
      rows: rows of the prediction table, such as one for each layer.
      windows: one row for each image that the model was shown, in that order; flips are none of
        their own.
    """

    rows: list[dict[str, Any]]
    windows: list[dict[str, Any]]


Classify = Callable[..., np.ndarray]  # (images), or (images, columns) where the task has columns


@dataclass(frozen=True)
class WholeFile:
    """Prediction of whole raw files, such as the layers of a core photo: `Task.whole_file`.

    Attributes:
      infer: (source, classify, options) -> outputs, the slow part. `classify` takes images
        [n, *image_shape], then columns [n, columns] where the task has columns, and returns
        probabilities [n, classes].
      predict: (outputs of `infer`, thresholds) -> FilePrediction. Thresholds have "decision" where
        the task has two classes, and "confident" too where files are evaluated.
      overlay: (outputs of `infer`, thresholds) -> [height, width, 3] uint8 RGB.
      table_columns: names of the columns of the prediction table.
      evaluate: (source, its row of the source table, FilePrediction) -> counts that can be added
        over sources and have `.scores` and `.precision_bound` (a lower one), such as layers found
        and missed; None where the row gives no ground truth. Without it only single examples are
        scored.
      metric: the score in `.scores` that the decision threshold of two classes maximises on
        validation; without `evaluate` it is the F1 of single examples.
      tie_metric: the error in `.scores` that decides between inference modes of equal `metric`,
        smallest first, such as a depth error; "" for none.
      kinds: what is detected besides what the metric counts, such as ("lens",). The counts have a
        `kinds` attribute, kind -> counts with `tabled` and `f1`. Each kind has thresholds of its
        own, named by it and with "_confident"; without them it has "decision" and "confident".
      sliding_window: whether `infer` slides a window along long images. Then `classify` may have
        an attribute `along`: (images [n, height, width, channels], first rows of windows
        [n, windows]) -> "probabilities" [n, windows, classes], and perhaps "interval"
        [n, windows, 2] or "rows" [n, windows, height, row classes].
      interval: names of the two int64 metadata fields with the first row of the object in an image
        and one past its last; -1 where there is none. () where it is unknown. Such images are
        augmented as slices are, or not at all.
      review: how reviewers see and correct a file's spans; None where they cannot.
    """

    infer: Callable[[Source, Classify, Any], Any]
    predict: Callable[[Any, dict[str, float]], FilePrediction]
    overlay: Callable[[Any, dict[str, float]], np.ndarray]
    table_columns: tuple[str, ...] = ()
    evaluate: Callable[[Source, dict[str, Any], FilePrediction], Any] | None = None
    metric: str = ""
    tie_metric: str = ""
    kinds: tuple[str, ...] = ()
    sliding_window: bool = False
    interval: tuple[str, ...] = ()
    review: SpanReview | None = None


@dataclass(frozen=True)
class Scoring:
    """How a task's predictions are scored: `Task.scoring`.

    Attributes:
      objective: the validation score that searches and early stopping maximise.
      ordinal_target: the quantity whose values the class names are, such as "z", where they are
        numbers; then errors are reported in it, with the expected value. "" for none.
      ambiguous: the int64 metadata field that is 1 for images that nobody could tell apart; they
        are counted, and scored separately too. "" for none.
    """

    objective: str = "average_precision"
    ordinal_target: str = ""
    ambiguous: str = ""


@dataclass(frozen=True)
class Preprocessing:
    """How a task's images reach a model: `Task.preprocessing`.

    Attributes:
      augmentation: random changes of training images, one of `augmentation.KINDS`; "measured" for
        those that the training images allow, see `training.symmetries`.
      per_image_standardization: whether camera settings vary, so that only contrast within an
        image counts.
      letterbox: whether images of other sizes are padded with their background, not stretched.
    """

    augmentation: str = "slices"
    per_image_standardization: bool = False
    letterbox: bool = False


@dataclass(frozen=True)
class RawFiles:
    """Where a task's raw files and the tables beside them are: `Task.raw_files`.

    Attributes:
      origin: where the task was loaded from, the absolute path of a Python file or of a folder of
        images; "" for a built-in task.
      folder: the raw folder where the user chose it; None for data/raw/<name>.
      decisions: name of the file of reviewers' decisions in the raw folder.
      source_table: name of the table of sources that reading writes ("alignment"), or None.
      omissions: sentences about sources that reading left out, of the rows of that table.
      skip_duplicate_check: whether different things may look the same, as dots do, so that
        likeness across splits is no sign of a copy.
    """

    folder: Path | None = None
    decisions: str = NAME
    source_table: str | None = None
    omissions: Callable[[list[dict[str, Any]]], list[LeftOut]] = lambda rows: []
    skip_duplicate_check: bool = False
    origin: str = ""


@dataclass(frozen=True)
class ImageOutputs:
    """What predictions of single images are written as, besides a table: `Task.image_outputs`.

    Attributes:
      overlay: (source, its rows of the prediction table, options) -> the source's own image with
        the predictions drawn in, [height, width, 3] uint8 RGB, or None where it has none.
      writers: file suffix -> (table, path) -> notes, for tables of predictions that another
        program imports; see `inference.images.with_images`. A .zip has the images in it.
      write_labels: (table, path) -> None, for the .zip of labels that it imports; or None.
    """

    overlay: Callable[[Source, Any, Any], np.ndarray | None] | None = None
    writers: dict[str, Callable[[Any, Path], list[str]]] = field(default_factory=dict)
    write_labels: Callable[[Any, Path], None] | None = None


@dataclass(frozen=True)
class Baselines:
    """What a task's models are compared with: `Task.baselines`.

    Attributes:
      candidates: models that `tfpipe compare` compares; () for those that follow from the columns.
      packed_splits: whether a comparison uses the packed validation and test splits, as the
        published table does, not folds.
      leaderboard: whether `tfpipe shallow` compares many classifiers, not one of boosted trees.
    """

    candidates: tuple[str, ...] = ()
    packed_splits: bool = False
    leaderboard: bool = False


@dataclass(frozen=True)
class Task:
    """A question asked of one kind of image.

    Attributes:
      name: what users type.
      title: one line for `tfpipe tasks`.
      expects: the raw files, in a sentence.
      classes: names, in label order; the last one is the positive class of a two-class task. ()
        for those that a survey finds in the raw folder.
      image_shape: (height, width, channels).
      options: a frozen dataclass of the task's own options, at their defaults.
      survey: (raw folder, options) -> Survey.
      read: (source, options) -> Reading; reads the source's own files only.
      survey_new: (raw files, table or None, options) -> Survey of unlabelled files.
      models: names worth trying, the default first.
      image_dtype: of the examples' images.
      columns: names of the numbers a model may use beside the image. () for none, or for those
        that a survey finds in the raw folder.
      metadata: name -> "str", "int64" or "float64", stored with each example.
      scoring: objective, ordinal target, ambiguous images.
      preprocessing: augmentation, standardization, padding.
      raw_files: where raw files and their tables are.
      whole_file: prediction of whole raw files; None where each image is predicted for itself.
      image_outputs: overlays and tables of single images' predictions.
      model_arguments: model -> arguments of its builder that hold for this task unless the user or
        a search sets others.
      baselines: what the models are compared with.
      row_classes: names of the classes of an image's rows, where rows have classes.
      view: name of what the images are, where the task has several kinds of images; "" for its own.
      other_views: the same task with images of another kind, for some of its models: other windows
        of the same raw files, in the same groups and splits. Each has its own records.
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
    image_dtype: str = "uint8"
    columns: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    scoring: Scoring = Scoring()
    preprocessing: Preprocessing = Preprocessing()
    raw_files: RawFiles = RawFiles()
    whole_file: WholeFile | None = None
    image_outputs: ImageOutputs = field(default_factory=ImageOutputs)
    model_arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    baselines: Baselines = Baselines()
    row_classes: tuple[str, ...] = ()
    view: str = ""
    other_views: "tuple[Task, ...]" = ()

    def for_model(self, model: str) -> "Task":
        """Returns the task with the images that a model takes."""
        return next((view for view in self.other_views if model in view.models), self)


def raw_folder(task: Task, data: Path) -> Path:
    """Returns the folder of a task's raw files, by default under the folder of all data."""
    return task.raw_files.folder or data / "raw" / task.name


def check_inference_mode(task: Task, inference_mode: str | None) -> None:
    """Raises a UserError if a task that slides no window is asked for an inference mode."""
    if inference_mode and not (task.whole_file and task.whole_file.sliding_window):
        raise UserError(
            f"{task.name} slides no window along its images. Leave out --inference-mode."
        )
