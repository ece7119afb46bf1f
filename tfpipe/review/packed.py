"""What a version makes of the packed records, and what reviewers have said of them so far."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfpipe import descriptions, inputs, observations, subjects
from tfpipe.review import scores
from tfpipe.review.desk import Desk
from tfpipe.review.scores import Told
from tfpipe.settings import Data
from tfpipe.task import Task


class Packed(NamedTuple):
    """The records as a reviewer goes through them.

    Attributes:
      data: the records.
      frame: a row for each picture: split, key, group, metadata, label by the source.
      told: what is known of each.
      card: the version's.
      notes: what a reviewer should know.
    """

    data: Data
    frame: pd.DataFrame
    told: Told
    card: dict[str, Any]
    notes: tuple[str, ...]


def read(
    task: Task,
    version: Path,
    records: Path,
    *,
    desk: Desk,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Packed:
    """Shows all packed pictures to a version.

    Raises:
      UserError: there are no records, or the version is of others or no classifier's.
    """
    first = subjects.opened(task, version, records)[0][0]
    data, classes = first.data, tuple(first.data.manifest["classes"])
    frame = pd.concat(
        [_described(data, split) for split in observations.splits_of(data)], ignore_index=True
    )
    held = {key: one for (file, key), one in desk.known().held.items() if not file}
    labels = frame["label"].to_numpy().copy()
    for row, key in enumerate(frame["key"]):
        if key in held:
            is_known = held[key].state == "validated" and held[key].label in classes
            labels[row] = classes.index(held[key].label) if is_known else -1
    seen = observations.seen(first.model, data, progress=progress)
    known = (frame["split"] == "train").to_numpy() & (frame["label"] >= 0).to_numpy()
    told = scores.told(seen, labels=labels, groups=frame["group"].to_numpy(str), known=known)
    notes = told.notes
    if first.card["data"]["fingerprint"] != data.manifest["fingerprint"]:
        says = f"Version {version.name} of {version.parent.name} has learnt from other records."
        notes = (says, *notes)
    return Packed(data, frame, told, first.card, notes)


def _described(data: Data, split: str) -> pd.DataFrame:
    own = inputs.labels_of(data.folder, (split,), manifest=data.manifest)
    return descriptions.described(data, split, np.asarray(own))
