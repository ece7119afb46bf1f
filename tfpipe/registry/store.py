"""Version store: numbering, drafts, publishing, cards, finding a version."""

import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from tfpipe.base import files, hardware, json_dataclass, locks, processes
from tfpipe.base.errors import UserError
from tfpipe.base.tables import write_csv
from tfpipe.registry import stored_versions
from tfpipe.registry.card import VersionCard

LOCK = ".publish.lock"  # held while a number is given
CARD = "assets.extra/card.json"
MAX_CARD_BYTES = 64_000_000
CLOCK_STEP_NS = 1_000_000_000  # file systems keep times to the second at least
DRAFT = ".draft"  # beginning of the name of a folder that is no version yet


class Export(Protocol):
    """A trained model that can be published: `export.NetworkExport`, `trees.TreesExport`."""

    def write(self, draft: Path) -> dict[str, Any]:
        """Writes the model's files into a folder, checks them, and returns fields of the card.

        Raises:
          UserError: what was written differs from the trained model.
        """


def publish(
    model: Export,
    folder: Path,
    *,
    card: VersionCard,
    tables: Mapping[str, pd.DataFrame] | None = None,
    extra_files: Callable[[Path], None] = lambda draft: None,
) -> Path:
    """Publishes a trained model under the next number; a failure leaves no version.

    Several processes may publish into one folder at once: each writes a draft of its own, and
    numbers are given one after the other.

    Args:
      model: the trained model.
      folder: saved_models/<task>/<model>.
      card: what the version is; the fields marked (publish) in `VersionCard` are filled in.
      tables: name -> table, written as assets.extra/<name>.csv.
      extra_files: called with the draft once its card holds the version's number; it may add files
        to assets.extra, such as a report.

    Returns:
      The version's folder.

    Raises:
      UserError: the exported model differs from the trained one, or the folder cannot be written.
    """
    with files.writing_to(folder, option="--models"), _open_draft(folder) as draft:
        draft.mkdir(parents=True)
        fields = model.write(draft)
        paths = [path for path in sorted(draft.rglob("*")) if path.is_file()]
        sums = {path.relative_to(draft).as_posix(): files.sha256(path) for path in paths}
        card = replace(card, sha256=sums, **fields, **_circumstances(paths))
        for name, table in (tables or {}).items():
            write_csv(table, draft / "assets.extra" / f"{name}.csv")
        version = _give_number(draft, card, extra_files)
    stored_versions.publish(version)
    return version


def publish_copy(version: Path, *, extra_files: Callable[[Path], None]) -> Path:
    """Publishes a copy of a version under the next number, and returns its folder.

    Raises:
      UserError: the version cannot be read, or there is no space for a copy.
    """
    with (
        files.writing_to(version.parent, option="--models"),
        _open_draft(version.parent) as draft,
    ):
        _copy(version, draft)
        card = replace(read_card(version), copied_from=int(version.name))
        made = _give_number(draft, card, extra_files)
    stored_versions.publish(made)
    return made


def versions(folder: Path) -> list[int]:
    """Returns the numbers of a model's published versions, in ascending order."""
    return files.numbers_in(folder)


def next_version(folder: Path) -> int:
    """Returns the number that the next version gets; it is sure only for who holds the lock."""
    return max(versions(folder), default=0) + 1


def write_card(version: Path, card: VersionCard) -> None:
    """Writes the card of a version or draft."""
    files.replace(version / "assets.extra" / "card.json", card.to_json())


def read_card(version: Path) -> VersionCard:
    """Returns a version's card.

    Raises:
      UserError: if there is none that can be read.
    """
    name = files.shown(version / CARD)
    try:
        with files.open_regular(version, CARD) as file:
            data = file.read(MAX_CARD_BYTES + 1)
        if len(data) > MAX_CARD_BYTES:
            raise ValueError(f"larger than {MAX_CARD_BYTES / 1e6:.0f} MB")
        value = json_dataclass.parse(data)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"{files.shown(version)} has no readable card.json ({reason}), so it is no tfpipe "
            "version."
        ) from error
    card = VersionCard.from_json(value, file=name)
    # A copy from elsewhere has the number of its folder, under which it is served.
    return replace(card, version=int(version.name)) if version.name.isdecimal() else card


def find(
    models: Path,
    *,
    task: str,
    model: str | None,
    version: int | None,
    kinds: tuple[str, ...] = (),
    typed: str = "",
) -> Path:
    """Returns the folder of a version; by default the newest of the model that was written last.

    Args:
      models: saved_models/.
      task: name.
      model: name, or None for the one written last.
      version: number, or None for the newest.
      kinds: kinds of model that are preferred where no model is named.
      typed: what commands take for the task, such as the path of its folder; "" for its name.

    Raises:
      UserError: if there is none, naming those there are.
    """
    numbers_of = {
        path.name: versions(path) for path in sorted((models / task).glob("*")) if versions(path)
    }
    if not numbers_of:
        if typed and (Path(typed) / "saved_model.pb").is_file():
            raise UserError(
                f"{files.shown(Path(typed))} is a SavedModel of other software: tfpipe needs the "
                "card that it writes beside its own versions (assets.extra/card.json), with "
                "classes, image size and thresholds. Train a version from the images by `tfpipe "
                "train FOLDER`, or run the model by tf.saved_model.load."
            )
        raise UserError(
            f"{models / task} holds no version yet. Run `tfpipe tune {typed or task}` first."
        )
    if model is None:
        newest = {name: models / task / name / str(n[-1]) for name, n in numbers_of.items()}
        preferred = [n for n, path in newest.items() if kinds and read_card(path).kind in kinds]
        model = max(preferred or newest, key=lambda name: newest[name].stat().st_mtime)
    numbers = numbers_of.get(model, [])
    if not numbers or (version is not None and version not in numbers):
        available = "; ".join(f"{name}: {', '.join(map(str, n))}" for name, n in numbers_of.items())
        raise UserError(f"{task} has no version {version or ''} of {model}. There are {available}.")
    return models / task / model / str(version or numbers[-1])


@contextlib.contextmanager
def _open_draft(folder: Path) -> Iterator[Path]:
    """Gives the path of this thread's own draft, and removes what is left of it afterwards.

    Drafts of processes of this machine that ended before they published are removed, too.
    """
    host = socket.gethostname()
    for draft in folder.glob(f"{DRAFT}*") if folder.is_dir() else ():
        if _is_abandoned(draft, host):
            shutil.rmtree(draft, ignore_errors=True)
    draft = folder / f"{DRAFT}-{host}-{os.getpid()}-{threading.get_ident()}"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _copy(version: Path, draft: Path) -> None:
    """Copies a version; raises the first error of a file, where shutil would raise a list."""
    try:
        shutil.copytree(version, draft)
    except shutil.Error as error:
        source, target, reason = error.args[0][0]
        raise OSError(None, f"{reason} ({files.shown(source)})") from error


def _is_abandoned(draft: Path, host: str) -> bool:
    """Returns whether the process that made a draft has ended, as far as this machine shows."""
    if draft.name == DRAFT:  # of an older release
        return True
    name, _, process = draft.name.removesuffix(f"-{draft.name.rpartition('-')[2]}").rpartition("-")
    if name != f"{DRAFT}-{host}" or not process.isdecimal():
        return False
    return not processes.is_running(int(process))


def _give_number(draft: Path, card: VersionCard, extra_files: Callable[[Path], None]) -> Path:
    """Makes a draft the next version: card, other files, and the folder's name."""
    folder = draft.parent
    with locks.hold(folder / LOCK, busy=None):
        card = replace(card, version=stored_versions.claim(folder, next_version(folder)))
        write_card(draft, card)
        extra_files(draft)
        final = folder / str(card.version)
        _mark_as_last(draft, folder.parent)
        os.replace(draft, final)
    return final


def _mark_as_last(draft: Path, task: Path) -> None:
    """Gives a draft a later time than all versions have: `find` takes the latest by default.

    It is later also where the clock was set back meanwhile.
    """
    os.utime(draft)
    newest = [model / str(n) for model in task.glob("*") for n in versions(model)[-1:]]
    latest = max((path.stat().st_mtime_ns for path in newest), default=0)
    if draft.stat().st_mtime_ns <= latest:
        os.utime(draft, ns=(latest + CLOCK_STEP_NS,) * 2)


def _circumstances(paths: Iterable[Path]) -> dict[str, Any]:
    """Returns when and where a version's files were made, and how large they are."""
    machine = hardware.examine()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "size_bytes": sum(path.stat().st_size for path in paths),
        "hardware": {name: machine[name] for name in ("processor", "threads", "GPU")},
        "python": machine["python"],
    }
