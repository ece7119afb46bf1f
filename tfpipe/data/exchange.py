"""Exchange of records: new ones are gathered in a hidden folder and take the old ones' name last.

Beside the records NAME lie

    .NAME.lock      held by the one process that packs or repacks them
    .NAME.partial   what an unfinished packing has so far
    .NAME.regrouped what it had before groups that share near-copies became one
    .NAME.repacked  what an unfinished repacking has so far
    .NAME.sums      checksums that workers of a runner compute
    .NAME.raw       checksums of raw files, see `checksum_cache`
    .NAME.packed    checksums of the records' own files
    .NAME.unchanged the state of the raw files that they were packed from, see `unchanged`
    .NAME.old       the old records, for as long as the new ones take their name
"""

import os
import shutil
from pathlib import Path

from tfpipe.base import resumable
from tfpipe.base.resumable import ResumableFolder


def hidden(folder: Path, word: str) -> Path:
    """Returns the hidden file or folder beside records that ends in a word."""
    return folder.parent / f".{folder.name}.{word}"


def gathering(folder: Path, word: str, *, work: str) -> ResumableFolder:
    """Returns the hidden folder in which new records are gathered; entering it takes the lock.

    Args:
      folder: the records.
      word: what the hidden folder's name ends in.
      work: what is done there, for warnings.
    """
    return ResumableFolder(
        hidden(folder, word),
        None,
        work=work,
        busy=f"Another run is packing {folder}. Wait for it to end.",
        target=folder,
        lock=hidden(folder, "lock"),
        keep_other=False,
    )


def recover(folder: Path) -> None:
    """Ends an exchange of old and new records that was cut short. The caller holds the lock."""
    old = hidden(folder, "old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)


def exchange(parts: Path, folder: Path) -> None:
    """Gives new records the name of the old ones, which are removed.

    Args:
      parts: the new records, whole.
      folder: the old ones, if there are some.
    """
    old = hidden(folder, "old")
    if folder.exists():
        os.replace(folder, old)
    os.replace(parts, folder)
    tidy(folder)


def tidy(folder: Path) -> None:
    """Removes what only a stopped run would need: last, so that it loses no finished shard."""
    for word in ("old", "regrouped", "repacked", "sums"):
        shutil.rmtree(hidden(folder, word), ignore_errors=True)
    for path in [*folder.glob("*.tfrecord-*.json"), folder / resumable.PLAN]:
        path.unlink(missing_ok=True)
