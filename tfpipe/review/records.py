"""What a version makes of the packed records, and what reviewers have said of them so far."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfpipe.data import dataset, metadata
from tfpipe.data.dataset import Dataset
from tfpipe.data.manifest import RecordManifest
from tfpipe.explore import embeddings, versions
from tfpipe.explore.embeddings import Progress
from tfpipe.explore.versions import Subject
from tfpipe.registry import predictions
from tfpipe.registry.card import VersionCard
from tfpipe.review import ranking
from tfpipe.review.background import Look
from tfpipe.review.cache import Kept
from tfpipe.review.decision_desk import Desk
from tfpipe.review.ranking import Told
from tfpipe.tasks.task import Task


class Packed(NamedTuple):
    """The records as a reviewer goes through them.

    Attributes:
      data: the records.
      frame: a row for each picture: split, key, group, metadata, label by the source.
      told: what is known of each so far.
      card: the version's.
      notes: what a reviewer should know of records and version.
      look: looks at all pictures and returns what is known then, which may take long; None where
        that is what is known so far.
    """

    data: Dataset
    frame: pd.DataFrame
    told: Told
    card: VersionCard
    notes: tuple[str, ...] = ()
    look: Look | None = None


def read(task: Task, version: Path, records: Path, *, desk: Desk) -> Packed:
    """Opens the packed pictures of a version, with all that has been computed of them.

    Raises:
      UserError: there are no records, or the version is of others or no classifier's.
    """
    first = versions.opened(task, version, records)[0][0]
    data = first.data
    frame = pd.concat(
        [_described(data, split) for split in embeddings.splits_of(data)], ignore_index=True
    )
    sha256 = first.card.sha256["assets.extra/model.keras"]
    kept = Kept(version, sha256=sha256, data=data, count=len(frame))
    look = _looking(first, frame, kept, desk)
    notes = ()
    if first.card.data.fingerprint != data.manifest.fingerprint:
        says = f"Version {version.name} of {version.parent.name} has learnt from other records."
        notes = (says,)
    if kept.is_whole:
        return Packed(data, frame, look(lambda done, total: None), first.card, notes)
    told = ranking.first(_tested(version, frame, data.manifest))
    return Packed(data, frame, told, first.card, notes, look)


def _looking(first: Subject, frame: pd.DataFrame, kept: Kept, desk: Desk) -> Look:
    packed, groups = frame["label"].to_numpy(), frame["group"].to_numpy(str)
    known = (frame["split"] == "train").to_numpy() & (packed >= 0)

    def look(progress: Progress) -> Told:
        seen = kept.seen(lambda: first.model, progress=progress)
        # By the labels as they were packed: they are the same at each start.
        held_out = kept.held_out(
            lambda: ranking.out_of_fold(seen.embedding, labels=packed, groups=groups)
        )
        labels = _decided(frame, desk, tuple(first.data.manifest.classes))
        return ranking.told(seen, held_out, labels=labels, known=known)

    return look


def _decided(frame: pd.DataFrame, desk: Desk, classes: tuple[str, ...]) -> np.ndarray:
    """Returns labels [n] int by the source and the reviewers so far, -1 for none."""
    held = {key: one for (file, key), one in desk.known().current.items() if not file}
    labels = frame["label"].to_numpy().copy()
    for row, key in enumerate(frame["key"]):
        if key in held:
            is_known = held[key].state == "validated" and held[key].label in classes
            labels[row] = classes.index(held[key].label) if is_known else -1
    return labels


def _tested(version: Path, frame: pd.DataFrame, manifest: RecordManifest) -> np.ndarray:
    """Returns the probabilities [n, classes] that the version gave when it was tested, or nan."""
    names = [f"p_{name}" for name in manifest.classes]
    likely = np.full((len(frame), len(names)), np.nan)
    if (version / "assets.extra" / "predictions.csv").is_file():
        said = predictions.predictions(version, manifest.metadata).drop_duplicates("key")
        if {*names} <= {*said}:
            likely = said.set_index("key").reindex(frame["key"])[names].to_numpy(float)
    return likely


def _described(data: Dataset, split: str) -> pd.DataFrame:
    own = dataset.labels_of(data.folder, (split,), manifest=data.manifest)
    return metadata.described(data, split, np.asarray(own))
