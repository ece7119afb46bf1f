"""Records to review: a version's scores of them, and the reviewers' decisions so far."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfpipe.data import dataset, metadata
from tfpipe.data.dataset import Dataset
from tfpipe.data.manifest import RecordManifest
from tfpipe.explore import embeddings, versions
from tfpipe.explore.versions import Subject
from tfpipe.registry import predictions
from tfpipe.registry.card import VersionCard
from tfpipe.review import ranking
from tfpipe.review.background import Progress, ScoreImages
from tfpipe.review.cache import OutputCache
from tfpipe.review.decision_desk import DecisionDesk
from tfpipe.review.ranking import ImageScores
from tfpipe.tasks.task import Task


class ReviewRecords(NamedTuple):
    """The records as a reviewer goes through them.

    Attributes:
      data: the records.
      frame: a row for each image: split, key, group, metadata, label by the source.
      scores: of each image so far.
      card: the version's.
      notes: sentences for the reviewer about records and version.
      score_all: scores all images, which may take long; None if `scores` are these.
    """

    data: Dataset
    frame: pd.DataFrame
    scores: ImageScores
    card: VersionCard
    notes: tuple[str, ...] = ()
    score_all: ScoreImages | None = None


def read(task: Task, version: Path, records: Path, *, desk: DecisionDesk) -> ReviewRecords:
    """Opens the packed images of a version, with all that has been computed of them.

    Raises:
      UserError: there are no records, or the version was made of others or is no classifier.
    """
    subject = versions.opened(task, version, records)[0][0]
    data = subject.data
    frame = pd.concat(
        [_examples(data, split) for split in embeddings.splits_of(data)], ignore_index=True
    )
    sha256 = subject.card.sha256["assets.extra/model.keras"]
    cache = OutputCache(version, sha256=sha256, data=data, count=len(frame))
    score_all = _scoring(subject, frame, cache, desk)
    notes: tuple[str, ...] = ()
    if subject.card.data.fingerprint != data.manifest.fingerprint:
        model = version.parent.name
        notes = (f"Version {version.name} of {model} was trained on other records.",)
    if cache.is_complete:
        scores = score_all(lambda done, total: None)
        return ReviewRecords(data, frame, scores, subject.card, notes)
    scores = ranking.score_probabilities(stored_probabilities(version, frame, data.manifest))
    return ReviewRecords(data, frame, scores, subject.card, notes, score_all)


def stored_probabilities(
    version: Path, frame: pd.DataFrame, manifest: RecordManifest
) -> np.ndarray:
    """Returns the probabilities [n, classes] of the version's predictions.csv; nan without one.

    Args:
      version: folder of the version.
      frame: the images, with their `key`.
      manifest: of the records.
    """
    names = [f"p_{name}" for name in manifest.classes]
    if (version / "assets.extra" / "predictions.csv").is_file():
        tested = predictions.predictions(version, manifest.metadata, classes=manifest.classes)
        if {*names} <= {*tested}:
            by_key = tested.drop_duplicates("key").set_index("key")
            return by_key.reindex(frame["key"])[names].to_numpy(float)
    return np.full((len(frame), len(names)), np.nan)


def _scoring(
    subject: Subject, frame: pd.DataFrame, cache: OutputCache, desk: DecisionDesk
) -> ScoreImages:
    packed, groups = frame["label"].to_numpy(), frame["group"].to_numpy(str)
    is_training = (frame["split"] == "train").to_numpy() & (packed >= 0)

    def score_all(progress: Progress) -> ImageScores:
        outputs = cache.outputs(lambda: subject.model, progress=progress)
        # By the labels as they were packed: they are the same at each start.
        held_out = cache.held_out(
            lambda: ranking.out_of_fold(outputs.embedding, labels=packed, groups=groups)
        )
        labels = _current_labels(frame, desk, tuple(subject.data.manifest.classes))
        return ranking.score_images(outputs, held_out, labels=labels, is_training=is_training)

    return score_all


def _current_labels(
    frame: pd.DataFrame, desk: DecisionDesk, classes: tuple[str, ...]
) -> np.ndarray:
    """Returns labels [n] int by the source and the reviewers so far, -1 for none."""
    decisions = {key: line for (file, key), line in desk.log().current.items() if not file}
    labels = frame["label"].to_numpy().copy()
    for row, key in enumerate(frame["key"]):
        if decision := decisions.get(key):
            is_valid = decision.state == "validated" and decision.label in classes
            labels[row] = classes.index(decision.label) if is_valid else -1
    return labels


def _examples(data: Dataset, split: str) -> pd.DataFrame:
    labels = dataset.labels_of(data.folder, (split,), manifest=data.manifest)
    return metadata.read_metadata(data, split, np.asarray(labels))
