"""Versions of an exploration: the chosen version, and the newest of the other kind."""

import functools
from dataclasses import dataclass
from pathlib import Path

import keras

from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset
from tfpipe.models.spec import Spec
from tfpipe.registry import load, store
from tfpipe.registry.card import VersionCard
from tfpipe.tasks.task import Task
from tfpipe.training import open_records


@dataclass(frozen=True)
class Subject:
    """An opened version with its records.

    Attributes:
      version: its folder.
      card: its card.
      data: the records, with the splits and objective of the model.
      spec: of the model.
    """

    version: Path
    card: VersionCard
    data: Dataset
    spec: Spec

    @functools.cached_property
    def model(self) -> keras.Model:
        """The model in float32; read at the first use."""
        return load.read_model(self.version)

    @property
    def kind(self) -> str:
        """The kind of the version: "classifier" or "autoencoder"."""
        return self.card.kind


def opened(task: Task, version: Path, records: Path) -> tuple[list[Subject], list[str]]:
    """Opens a version, and the newest version of the other kind that has the same records.

    Args:
      task: the task of the records.
      version: folder of a saved version.
      records: folder of the packed records.

    Returns:
      The subjects, the chosen version first, and sentences for the reader.

    Raises:
      UserError: the version's images, columns or classes differ from those of the records.
    """
    first = _opened(task, version, records, is_checked=False)
    difference = _difference(first)
    if difference:
        raise UserError(f"{version} {difference}. Train a version on these records.")
    notes = []
    fingerprint = first.data.manifest.fingerprint
    if first.card.data.fingerprint != fingerprint:
        notes.append(
            f"Version {version.name} of {version.parent.name} was trained on other records. It may "
            "have been trained on images that are held out here."
        )
    for other in _others(version):
        card = store.read_card(other)
        pair = {card.kind, first.kind} == {"classifier", "autoencoder"}
        if pair and card.data.fingerprint == fingerprint:
            notes.append(
                f"{other.parent.name} version {other.name}, the newest {card.kind} of the same "
                "records, was used as well."
            )
            return [first, _opened(task, other, records, is_checked=True)], notes
    return [first], notes


def _opened(task: Task, version: Path, records: Path, *, is_checked: bool) -> Subject:
    card = store.read_card(version)
    if card.kind not in ("classifier", "autoencoder"):
        raise UserError(
            f"{version} is of boosted trees, which have no embedding. Explore a network: "
            f"--model {' or --model '.join(task.models[:3])}."
        )
    data, spec = open_records.opened(task, records, model=card.model, is_checked=is_checked)
    return Subject(version, card, data, spec)


def _difference(subject: Subject) -> str | None:
    """Returns how the version's inputs or classes differ from the records, or None."""
    spec, manifest = subject.card.network_spec, subject.data.manifest
    for name, noun in (
        ("image_shape", "takes images of shape"),
        ("image_dtype", "takes images of"),
        ("columns", "takes the columns"),
        ("classes", "has the classes"),
    ):
        expected, actual = (
            value if isinstance(value, str) else list(value)
            for value in (getattr(spec, name), getattr(manifest, name))
        )
        if expected != actual:
            return f"{noun} {expected}, but the records hold {actual}"
    return None


def _others(version: Path) -> list[Path]:
    """Returns the newest version of each other model of the task, the newest first."""
    newest = [
        folder / str(numbers[-1])
        for folder in version.parent.parent.iterdir()
        if folder != version.parent and (numbers := store.versions(folder))
    ]
    return sorted(newest, key=lambda path: path.stat().st_mtime, reverse=True)
