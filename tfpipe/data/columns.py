"""Columns of packed examples, without their images, as boosted trees take them."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.data import dataset
from tfpipe.data.manifest import RecordManifest

LOG = logging.getLogger("tfpipe")


class ColumnExamples(NamedTuple):
    """Examples by their columns.

    Attributes:
      columns: [n, columns] float32; nan where nothing was measured.
      labels: [n] int, -1 where nobody has labelled one.
      groups: [n] bytes.
      keys: [n] bytes.
    """

    columns: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    keys: np.ndarray

    def select(self, chosen: np.ndarray) -> "ColumnExamples":
        """Returns the chosen examples, by [n] bool or row numbers."""
        return ColumnExamples(*(field[chosen] for field in self))

    @property
    def labelled(self) -> "ColumnExamples":
        """The examples with a label."""
        return self.select(self.labels >= 0)


def read(records: Path, splits: tuple[str, ...], *, manifest: RecordManifest) -> ColumnExamples:
    """Returns the examples of some splits, in the records' order.

    Raises:
      UserError: the records have no columns, or one of their values is infinite.
    """
    if not manifest.columns:
        name = manifest.task
        raise UserError(
            f"The records of {name} have no columns for trees, only images. Train a model of "
            f"images: `tfpipe train {name}`."
        )
    fields = (dataset.columns_of, dataset.labels_of, dataset.groups_of, dataset.keys_of)
    examples_read = ColumnExamples(*(field(records, splits, manifest=manifest) for field in fields))
    endless = np.isinf(examples_read.columns)
    if endless.any():
        row, column = np.argwhere(endless)[0]
        raise UserError(
            f"{examples_read.keys[row].decode()}: column {manifest.columns[column]!r} is infinite, "
            "expected a number, or nothing where none was measured. Correct the table."
        )
    return examples_read


def check(parts: dict[str, ColumnExamples], *, classes: tuple[str, ...]) -> None:
    """Refuses splits with too few labels to teach and judge; names classes of one group only.

    Args:
      parts: split -> its examples, "train" among them.
      classes: names in label order.

    Raises:
      UserError: a split has no label, or all of training are of one class.
    """
    more = "Label others of more groups, or pack with another --split or --salt."
    for split, examples in parts.items():
        if not len(examples.labelled.labels):
            raise UserError(
                f"No {split} example has a label, so trees cannot be trained and evaluated. {more}"
            )
    training = parts["train"].labelled
    labels = np.unique(training.labels)
    if len(labels) < 2:
        raise UserError(
            f"All training examples with a label are {classes[labels[0]]!r}, expected two classes "
            f"or more. {more}"
        )
    lone = [c for c in labels if len(set(training.groups[training.labels == c].tolist())) == 1]
    if lone:
        names = listed(classes[c] for c in lone)
        LOG.warning("In one training group only, so cross-validation cannot judge: %s.", names)
