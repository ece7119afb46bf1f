"""The versions that an exploration looks through: the one asked for, and one of the other kind."""

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
    """A version, opened.

    Attributes:
      version: its folder.
      card: what it is.
      data: the records as it learns from them.
      spec: what it may know of them.
    """

    version: Path
    card: VersionCard
    data: Dataset
    spec: Spec

    @functools.cached_property
    def model(self) -> keras.Model:
        """Itself, in float32; read once it is asked for."""
        return load.read_model(self.version)

    @property
    def kind(self) -> str:
        """Returns "classifier" or "autoencoder"."""
        return self.card.kind


def opened(task: Task, version: Path, records: Path) -> tuple[list[Subject], list[str]]:
    """Opens a version, and beside it the newest of the other kind that knows the same records.

    Args:
      task: the question.
      version: folder of a saved version.
      records: folder of the packed records.

    Returns:
      The subjects, the one asked for first, and a sentence for each thing a reader must know.

    Raises:
      UserError: the version takes other pictures than the records hold, or knows other classes.
    """
    first = _opened(task, version, records, is_checked=False)
    wrong = _difference(first)
    if wrong:
        raise UserError(f"{version} {wrong}. Train a version on these records, and explore that.")
    notes = []
    fingerprint = first.data.manifest.fingerprint
    if first.card.data.fingerprint != fingerprint:
        notes.append(
            f"Version {version.name} of {version.parent.name} was trained on other records than "
            "these, so what counts as held out here may be what it has learnt from."
        )
    for other in _others(version):
        card = store.read_card(other)
        pair = {card.kind, first.kind} == {"classifier", "autoencoder"}
        if pair and card.data.fingerprint == fingerprint:
            notes.append(
                f"{other.parent.name} version {other.name}, the newest {card.kind} of the same "
                "records, was looked through as well."
            )
            return [first, _opened(task, other, records, is_checked=True)], notes
    return [first], notes


def _opened(task: Task, version: Path, records: Path, *, is_checked: bool) -> Subject:
    card = store.read_card(version)
    if card.kind not in ("classifier", "autoencoder"):
        raise UserError(
            f"{version} is of trees, which have no embedding to look through. Explore a network: "
            f"--model {' or --model '.join(task.models[:3])}."
        )
    data, spec = open_records.opened(task, records, model=card.model, is_checked=is_checked)
    return Subject(version, card, data, spec)


def _difference(subject: Subject) -> str | None:
    """Says in what a version differs from the records that it is to look at, or None."""
    told, held = subject.card.network_spec, subject.data.manifest
    for name, noun in (
        ("image_shape", "takes pictures of shape"),
        ("image_dtype", "takes pictures of"),
        ("columns", "takes the columns"),
        ("classes", "knows the classes"),
    ):
        one, other = (
            value if isinstance(value, str) else list(value)
            for value in (getattr(told, name), getattr(held, name))
        )
        if one != other:
            return f"{noun} {one}, but the records hold {other}"
    return None


def _others(version: Path) -> list[Path]:
    """Returns the other models' newest versions of the same task, the newest first."""
    found = [
        folder / str(numbers[-1])
        for folder in version.parent.parent.iterdir()
        if folder != version.parent and (numbers := store.versions(folder))
    ]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
