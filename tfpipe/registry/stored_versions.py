"""Versions in object storage: published there, and fetched from there.

    TASK/MODEL/.claims/N                   who publishes version N, by a conditional put
    TASK/MODEL/N/...                       the files of version N
    TASK/MODEL/N/assets.extra/card.json    written last: without it there is no version N

So two machines never publish one number, and an upload that was cut short is no version. The local
copy of a version has its assets.extra; the model is fetched when it is loaded, by `complete`.
Folders that are no copy of a storage are left alone by all functions.
"""

import json
import logging
import os
import shutil
import socket
import time
import uuid
from pathlib import Path, PurePosixPath

from tfpipe.base import files, locks, storage
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.base.storage import NotWritable, StorageFolder, StoredFile

LOG = logging.getLogger("tfpipe")
CARD = "assets.extra/card.json"
CLAIMS = ".claims"
LOCK = ".versions.lock"
LARGE = ("assets.extra/model.keras", "assets.extra/tf_serving_warmup_requests")
PATIENCE_S = 3600.0  # for a storage that cannot be reached when a trained model gets its number
RETRY_S = 30.0
STRAY_S = 86_400.0  # after which a version without a card is one that nobody publishes


def fetch(models: Path, task: str = "") -> None:
    """Fetches cards, tables and reports of versions; first uploads what an earlier run could not.

    Args:
      models: folder of saved versions.
      task: name; "" for all tasks.

    Raises:
      UserError: the storage cannot be read.
    """
    place = storage.storage_of(models)
    if place is None:
        return
    local = [card.parents[1] for card in sorted(models.glob(f"{task or '*'}/*/*/{CARD}"))]
    for version in local:
        if files.is_number(version.name) and not place.is_noted(version):
            try:
                publish(version)
            except UserError as error:
                LOG.warning("%s is not published yet. %s", version, error)
    with locks.hold(models / LOCK, busy=None):  # the workers of a server fetch at once
        stored = _stored_versions(place, models, task)
        for version in local:
            if version not in stored and place.is_noted(version) and version.is_dir():
                shutil.rmtree(version)
                _completeness(version).unlink(missing_ok=True)
                place.forget(version)
        for version, listing in stored.items():
            try:
                _fetch_version(place, version, listing)
            except UserError as error:
                LOG.warning("%s is not fetched. %s", version, error)


def complete(version: Path) -> None:
    """Fetches the files of a version that are not here yet.

    Raises:
      UserError: the storage cannot be read, or has the version no more.
    """
    place = storage.storage_of(version)
    if place is None or not place.is_noted(version):
        return
    if _completeness(version).is_file() and place.is_whole(version, _is_of_model):
        return
    listing = place.listing(version)
    if CARD not in listing:
        raise UserError(f"{version} was removed meanwhile. Choose another version.")
    place.fetch(version, listing)
    _completeness(version).touch()
    _set_time(version, listing)


def claim(folder: Path, number: int) -> int:
    """Returns the number that the next version gets: nobody else can publish it.

    The model is trained by now. So a storage that cannot be reached is tried again for an hour,
    but not one that refuses.

    Args:
      folder: saved_models/TASK/MODEL.
      number: the next one, as far as this machine knows.

    Raises:
      UserError: the storage cannot be written to.
    """
    place = storage.storage_of(folder)
    if place is None:
        return number
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return _claim(place, folder, number)
        except NotWritable:
            raise
        except UserError as error:
            if time.monotonic() > end:
                raise
            LOG.warning("%s Trying again in %.0f s; Ctrl-C gives up.", error, RETRY_S)
            time.sleep(RETRY_S)


def publish(version: Path, *, report: Reporter = silent) -> None:
    """Uploads a version whose number was claimed here; its card last. A killed call resumes.

    Raises:
      UserError: the storage cannot be written to. The next command on these versions goes on.
    """
    place = storage.storage_of(version)
    if place is None:
        return
    with locks.hold(version.parent / f".{version.name}.publish.lock", busy=None):
        if place.is_noted(version):
            return
        paths = [path for path in sorted(version.rglob("*")) if path.is_file()]
        names = {path: place.name_of(path) for path in paths if path != version / CARD}
        # TensorFlow Serving takes a folder with a number for a version, so its graph comes last.
        graph = {path: name for path, name in names.items() if path.name == "saved_model.pb"}
        rest = {path: name for path, name in names.items() if path not in graph}
        place.upload(rest, report=report)
        place.upload(graph)
        place.write(place.name_of(version / CARD), (version / CARD).read_bytes())
        _completeness(version).touch()
        place.note_uploaded(version)
        _set_time(version, place.listing(version))
        _remove_strays(place, version.parent, now=version.stat().st_mtime)


def _remove_strays(place: StorageFolder, folder: Path, *, now: float) -> None:
    """Removes files of versions that nobody finished publishing for a day; their numbers stay."""
    begun: dict[str, dict[str, StoredFile]] = {}
    for name, file in place.listing(folder).items():
        number, _, rest = name.partition("/")
        if files.is_number(number):
            begun.setdefault(number, {})[rest] = file
    for number, listing in begun.items():
        newest = max(file.written for file in listing.values())
        if CARD not in listing and newest < now - STRAY_S:
            place.remove(f"{place.name_of(folder)}/{number}/{name}" for name in listing)


def push_file(path: Path) -> None:
    """Uploads a file of a published version, such as a new report."""
    place = storage.storage_of(path)
    if place:
        place.write(place.name_of(path), path.read_bytes())


def _claim(place: StorageFolder, folder: Path, number: int) -> int:
    owner = {"host": socket.gethostname(), "process": os.getpid(), "id": uuid.uuid4().hex}
    while True:
        names = [PurePosixPath(name).parts for name in place.listing(folder)]
        used = {parts[1] if parts[0] == CLAIMS else parts[0] for parts in names if parts[1:]}
        number = max([number, *(int(name) + 1 for name in used if files.is_number(name))])
        name = f"{place.name_of(folder)}/{CLAIMS}/{number}"
        if place.create(name, json.dumps(owner).encode()):
            return number


def _stored_versions(
    place: StorageFolder, models: Path, task: str
) -> dict[Path, dict[str, StoredFile]]:
    """Returns the files of each published version, by its path here."""
    stored: dict[Path, dict[str, StoredFile]] = {}
    for name, file in place.listing(models / task).items():
        parts = PurePosixPath(task, name).parts
        if len(parts) > 3 and files.is_number(parts[2]) and ".." not in parts:
            stored.setdefault(models.joinpath(*parts[:3]), {})["/".join(parts[3:])] = file
    return {version: listing for version, listing in stored.items() if CARD in listing}


def _fetch_version(place: StorageFolder, version: Path, listing: dict[str, StoredFile]) -> None:
    """Fetches what is small of a version, which appears here at once."""
    is_new = not version.is_dir()
    if is_new:
        _completeness(version).unlink(missing_ok=True)
    target = version.parent / f".{version.name}.fetched" if is_new else version
    place.fetch(
        version,
        listing,
        only=lambda name: not _is_of_model(name),
        into=target,
    )
    if is_new:
        os.replace(target, version)
        _set_time(version, listing)


def _is_of_model(name: str) -> bool:
    """Returns whether a file of a version is fetched when it is loaded only."""
    return not name.startswith("assets.extra/") or name in LARGE


def _set_time(version: Path, listing: dict[str, StoredFile]) -> None:
    """Gives a version the time of its publication: the one written last is the default."""
    os.utime(version, (listing[CARD].written,) * 2)


def _completeness(version: Path) -> Path:
    """Returns the file that says that all files of a version are here."""
    return version.parent / f".{version.name}.complete"
