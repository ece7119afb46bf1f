"""Packed records in object storage: published there, and fetched from there.

    records/TASK/HASH/...                shards and other files; HASH is that of the manifest
    records/TASK/manifest-000007.json    the manifest, written last, by a conditional put

The records are those of the manifest with the highest number. So readers meet the old records or
the new ones, and of two machines that pack at once one is refused. Records that were copied there
from a folder, with a manifest.json among them, are read, too. Folders that are no copy of a storage
are left alone by both functions.
"""

import hashlib
import json
import logging
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tfpipe.base import files, resumable, storage
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.base.storage import MissingInStorage, NotWritable, StorageFolder
from tfpipe.data import exchange, fingerprint, pack
from tfpipe.data.checksum_cache import ChecksumCache
from tfpipe.data.manifest import RecordManifest
from tfpipe.data.pack import PackingEngine
from tfpipe.tasks.task import Task

LOG = logging.getLogger("tfpipe")
MANIFEST = "manifest.json"
STRAY_S = 86_400.0  # after which files that no manifest names are removed
ATTEMPTS = 3  # at records that are replaced while they are fetched
_NUMBERED = re.compile(r"manifest-(\d{6})\.json")
_HASH = re.compile("[0-9a-f]{16}")


class StoredRecords(NamedTuple):
    """What a storage has of a task: number and bytes of the manifest, its SHA-256, its folder."""

    number: int
    manifest: bytes
    sha256: str
    folder: str


def fetch(folder: Path, *, report: Reporter = silent) -> None:
    """Makes the local copy of records as the storage has them.

    Records that were packed here but not uploaded to the end are uploaded; if another machine has
    published others meanwhile, those are fetched, with a warning.

    Args:
      folder: the records.
      report: receives the files done and in all, as stage "fetch" or "upload".

    Raises:
      UserError: the storage cannot be read, or a file is not what the manifest has.
    """
    place = storage.storage_of(folder)
    if place is None:
        return
    for attempt in range(ATTEMPTS):
        stored, here = _newest(place, folder), _sha256_here(folder)
        if here and stored and here == stored.sha256:
            _note(folder, stored)
            if not _is_damaged(folder, stored):
                return
            LOG.warning("The copy of %s is damaged: what has changed is fetched anew.", folder)
        noted = _noted(folder)
        is_unpublished = here is not None and here != noted["sha256"]
        if is_unpublished and (stored is None or noted["number"] == stored.number):
            publish_or_keep(folder, report=report)
            return
        if is_unpublished:
            LOG.warning("Another machine published %s meanwhile: those records are taken.", folder)
        if stored is None and here is None:
            return
        try:
            if stored is None:
                is_done = _remove(folder, here)
            else:
                is_done = _download(place, folder, stored, here, report=report)
        except MissingInStorage:
            if attempt + 1 == ATTEMPTS:
                raise
        else:
            if is_done:
                return
    raise UserError(f"{folder} changes while it is fetched. Wait for other runs, and try again.")


def pack_and_publish(
    task: Task,
    raw: Path,
    folder: Path,
    *,
    engine: PackingEngine = pack.THIS_PROCESS,
    report: Reporter = silent,
    **how: Any,
) -> RecordManifest:
    """Packs records as `pack.pack` does, and uploads them.

    Whether the storage can be written to is seen before the first shard is written. Where nothing
    has changed it may be read only.

    Raises:
      UserError: as of `pack.pack` and `publish`.
    """

    def write_shards(*arguments: Any) -> list[dict[str, Any]]:
        storage.check_writable(folder)
        return engine.write_shards(*arguments)

    checked = engine._replace(write_shards=write_shards)
    manifest = pack.pack(task, raw, folder, engine=checked, report=report, **how)
    publish_or_keep(folder, report=report)
    return manifest


def publish_or_keep(folder: Path, *, report: Reporter = silent) -> None:
    """Uploads records as `publish` does; where the storage is read only, they are used from here.

    Raises:
      UserError: as `publish`, but for a storage that is read only.
    """
    try:
        publish(folder, report=report)
    except NotWritable as error:
        here = storage.on_this_machine(folder)
        LOG.warning("%s The records are used from this machine: %s.", error, here)


def publish(folder: Path, *, report: Reporter = silent) -> None:
    """Uploads records; the manifest last. A killed call resumes.

    Args:
      folder: the records.
      report: receives the files done and in all, as stage "upload".

    Raises:
      UserError: another machine has published records meanwhile, or the storage cannot be written.
    """
    place = storage.storage_of(folder)
    if place is None:
        return
    with exchange.gathering(folder, "partial", work="packing"):
        stored, data = _newest(place, folder), (folder / MANIFEST).read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        if stored and stored.sha256 == sha256:
            _note(folder, stored)
            return
        number = stored.number if stored else 0
        if stored and number != _noted(folder)["number"]:
            raise _overtaken(folder)
        place.check_writable()
        new = StoredRecords(number + 1, data, sha256, sha256[:16])
        base = place.name_of(folder)
        names = {name: f"{base}/{new.folder}/{name}" for name in (*_sums(folder, data), MANIFEST)}
        if stored:
            _reuse(place, folder, stored, names, data)
        place.upload({folder / name: target for name, target in names.items()}, report=report)
        is_first = place.create(f"{base}/manifest-{new.number:06d}.json", data)
        newest = _newest(place, folder)
        if not is_first or newest is None or newest.number != new.number:
            raise _overtaken(folder)
        _note(folder, new)
        _remove_others(place, folder, new, stored)


def _newest(place: StorageFolder, folder: Path) -> StoredRecords | None:
    """Returns the records that a storage has; None for none."""
    base = place.name_of(folder)
    listing = place.listing(folder)
    numbers = [int(match[1]) for name in listing if (match := _NUMBERED.fullmatch(name))]
    if not numbers and MANIFEST not in listing:
        return None
    number = max(numbers, default=0)
    data = place.read(f"{base}/manifest-{number:06d}.json" if numbers else f"{base}/{MANIFEST}")
    if data is None:  # replaced by a newer one meanwhile
        return _newest(place, folder)
    sha256 = hashlib.sha256(data).hexdigest()
    return StoredRecords(number, data, sha256, sha256[:16] if numbers else "")


def _sums(folder: Path, data: bytes) -> dict[str, str]:
    """Returns the SHA-256 of each file that a manifest has, by name."""
    manifest = _parsed(folder, data)
    return {shard.name: shard.sha256 for shard in manifest.shards} | manifest.files


def _parsed(folder: Path, data: bytes) -> RecordManifest:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"The manifest of {folder} is damaged. Remove the newest one there and pack again."
        ) from error
    return RecordManifest.from_json(value, file=str(folder / MANIFEST))


def _is_damaged(folder: Path, stored: StoredRecords) -> bool:
    """Returns whether a local file is not what the manifest has; reads those that have changed."""
    sums = _sums(folder, stored.manifest)
    if not all((folder / name).is_file() for name in sums):
        return True
    computed = _packed(folder).checksums([folder / name for name in sums])
    return computed != list(sums.values())


def _packed(folder: Path) -> ChecksumCache:
    place = exchange.hidden(folder, "packed")
    return ChecksumCache(place, fingerprint.checksums, are_linked=True)


def _remove(folder: Path, here: str | None) -> bool:
    """Removes local records; returns False if another run has replaced them meanwhile."""
    with exchange.gathering(folder, "partial", work="packing"):
        if _sha256_here(folder) != here:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        exchange.hidden(folder, "stored.json").unlink(missing_ok=True)
        return True


def _download(
    place: StorageFolder,
    folder: Path,
    stored: StoredRecords,
    here: str | None,
    *,
    report: Reporter,
) -> bool:
    """Fetches records beside the local ones, and exchanges them. A killed call resumes.

    Returns:
      False if another run has replaced the local records, whose SHA-256 was `here`, meanwhile.
    """
    sums = _sums(folder, stored.manifest)
    base = "/".join(part for part in (place.name_of(folder), stored.folder) if part)
    gathering = exchange.gathering(folder, "fetched", work="fetching")
    with gathering:
        exchange.recover(folder)
        if _sha256_here(folder) != here:
            return False
        gathering.begin({"manifest": stored.sha256})
        old = folder / MANIFEST
        sums_here = _sums(folder, old.read_bytes()) if old.is_file() else {}
        name_of = {sha256: name for name, sha256 in sums_here.items()}
        for i, (name, sha256) in enumerate(sums.items()):
            report("fetch", {"done": i, "total": len(sums)})
            path = files.inside(gathering.path, name, where=f"{folder}/{MANIFEST}")
            if path.is_file():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            same = folder / name_of.get(sha256, "")
            if same.is_file() and files.sha256(same) == sha256:
                files.link(same, path)
                continue
            place.download(f"{base}/{name}", path)
            if files.sha256(path) != sha256:
                path.unlink()
                raise UserError(
                    f"{folder / name} is not what its manifest has. Remove the records there and "
                    "pack again."
                )
        files.replace(gathering.path / MANIFEST, stored.manifest)
        exchange.exchange(gathering.path, folder)
        every = {folder / name: sha256 for name, sha256 in sums.items()}
        _packed(folder).store(every, written=every)
        _note(folder, stored)
    return True


def _reuse(
    place: StorageFolder,
    folder: Path,
    stored: StoredRecords,
    names: dict[str, str],
    data: bytes,
) -> None:
    """Copies files that the records before have, too, within the storage."""
    base = place.name_of(folder)
    there = {sha256: name for name, sha256 in _sums(folder, stored.manifest).items()}
    begun = place.listing(folder / names[MANIFEST].split("/")[-2])
    before = f"{base}/{stored.folder}" if stored.folder else base
    place.copy_within(
        {
            f"{before}/{there[sha256]}": names[name]
            for name, sha256 in _sums(folder, data).items()
            if sha256 in there and name not in begun
        }
    )


def _remove_others(
    place: StorageFolder, folder: Path, new: StoredRecords, before: StoredRecords | None
) -> None:
    """Removes the records before, and what uploads that ended long ago have left."""
    base, listing = place.name_of(folder), place.listing(folder)
    newest: dict[str, float] = {}
    for name, file in listing.items():
        top = PurePosixPath(name).parts[0]
        if _HASH.fullmatch(top):
            newest[top] = max(newest.get(top, 0.0), file.written)
    limit = listing[f"manifest-{new.number:06d}.json"].written - STRAY_S  # of the storage's clock
    old = {name for name, written in newest.items() if written < limit}
    old = (old | ({before.folder} if before else set())) - {new.folder, ""}
    gone = [
        f"{base}/{name}"
        for name in listing
        if PurePosixPath(name).parts[0] in old
        or ((match := _NUMBERED.fullmatch(name)) and int(match[1]) < new.number)
    ]
    place.remove(gone)


def _sha256_here(folder: Path) -> str | None:
    """Returns the SHA-256 of the manifest of the local records; None where there are none."""
    path = folder / MANIFEST
    return files.sha256(path) if path.is_file() else None


def _noted(folder: Path) -> dict:
    """Returns number and sha256 of the records that were fetched or published last."""
    value = resumable.read_json(exchange.hidden(folder, "stored.json"))
    return value if isinstance(value, dict) else {"number": 0, "sha256": None}


def _note(folder: Path, records: StoredRecords) -> None:
    value = {"number": records.number, "sha256": records.sha256}
    if _noted(folder) != value:
        resumable.write_json(exchange.hidden(folder, "stored.json"), value)


def _overtaken(folder: Path) -> UserError:
    return UserError(
        f"Another machine published records of {folder.name} meanwhile. Run the command again: it "
        "begins with those."
    )
