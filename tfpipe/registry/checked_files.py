"""Files of a version, checked against its card and copied: what is loaded is what was checked.

Whoever can write to a version's folder could change a file between its check and its loading. So
each file is opened once, without following links, and copied into a folder that only this user can
write to, while its SHA-256 is computed. The copy is loaded, and removed afterwards.
"""

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.registry import store, stored_versions
from tfpipe.registry.card import VersionCard

MODEL_KERAS = "assets.extra/model.keras"
LOADED = re.compile(  # what TensorFlow, XGBoost and NumPy read, and the warm-up requests
    r"saved_model\.(pb|pbtxt|cpb)|fingerprint\.pb|variables/[^/]+|assets/.+"
    r"|assets\.extra/([^/]+_requests|novelty\.npz)|model\.ubj"
)
MAX_BYTES = 16 << 30  # of all files of a version: a file may declare any size and hold nothing
CHUNK_BYTES = 1 << 20


class CheckedCopy(NamedTuple):
    """Copy of a version's files that exists while they are loaded.

    Attributes:
      folder: of the copy; its last three parts are those of the version, TASK/MODEL/N.
      card: of the version.
    """

    folder: Path
    card: VersionCard


@contextlib.contextmanager
def checked_copy(version: Path, *names: str) -> Iterator[CheckedCopy]:
    """Gives a checked copy of some files of a version until the end of the block.

    Args:
      version: its folder.
      names: of the files. Without any, all files of the card are checked, and those that
        TensorFlow and XGBoost read are copied.

    Raises:
      UserError: a file is missing, is not what the card has, or TensorFlow would read one that the
        card lacks; something in the folder is no regular file; there is no space for the copy.
    """
    stored_versions.complete(version)
    check_regular(version)
    card = store.read_card(version)
    if not names:
        _check_listed(version, card)
    try:
        private = tempfile.TemporaryDirectory(prefix="tfpipe-", ignore_cleanup_errors=True)
    except OSError as error:
        raise _not_copied(version, error) from error
    with private:
        folder = Path(private.name, *version.absolute().parts[-3:])
        for name in names or card.sha256:
            is_copied = name in names or LOADED.fullmatch(name)
            _check(version, name, card, target=folder / name if is_copied else None)
        yield CheckedCopy(folder, card)


def check(version: Path, card: VersionCard) -> None:
    """Raises a UserError if a file of a version is not the one that its card has."""
    stored_versions.complete(version)
    check_regular(version)
    for name in card.sha256:
        _check(version, name, card, target=None)


def check_regular(version: Path) -> None:
    """Raises a UserError if a version's folder holds anything but regular files and folders."""
    n_bytes = 0
    for path in (version, *version.rglob("*")):
        shown = files.shown(path.relative_to(version) if path != version else version.name)
        if path.is_symlink():
            raise UserError(f"{_name(version)} contains a link, {shown}. Copy the file itself.")
        if not path.is_file() and not path.is_dir():
            raise UserError(
                f"{_name(version)} contains {shown}, which is neither a file nor a folder. Remove "
                "it, or export the version again."
            )
        n_bytes += path.stat().st_size if path.is_file() else 0
    if n_bytes > MAX_BYTES:
        raise UserError(
            f"{_name(version)} has {n_bytes / 1e9:.0f} GB, expected at most {MAX_BYTES / 1e9:.0f}. "
            "Export it again."
        )


def _check_listed(version: Path, card: VersionCard) -> None:
    """Refuses files that TensorFlow would read and the card lacks."""
    paths = (path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file())
    unlisted = sorted(name for name in paths if LOADED.fullmatch(name) and name not in card.sha256)
    if unlisted:
        raise UserError(
            f"{_name(version)} contains {files.shown(unlisted[0])}, which its card lacks. Export "
            "it again."
        )


def _check(version: Path, name: str, card: VersionCard, *, target: Path | None) -> None:
    """Compares a file with the card, and copies it to `target` while it is read."""
    try:
        source = files.open_regular(version, name)
    except OSError as error:
        raise _wrong(version, name) from error
    digest = hashlib.sha256()
    with source:
        try:
            with contextlib.ExitStack() as stack:
                copy = None
                if target is not None:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    copy = stack.enter_context(target.open("xb"))
                while piece := source.read(CHUNK_BYTES):
                    digest.update(piece)
                    if copy is not None:
                        copy.write(piece)
        except OSError as error:
            raise _not_copied(version / name, error) from error
    if digest.hexdigest() != card.sha256.get(name):
        raise _wrong(version, name)


def _not_copied(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{files.shown(path)} cannot be copied to {tempfile.gettempdir()}, where it is loaded "
        f"from: {error.strerror or error}. Free some space, or set TMPDIR to another folder."
    )


def _wrong(version: Path, name: str) -> UserError:
    return UserError(
        f"{files.shown(version / name)} is missing or not what was exported. Export it again."
    )


def _name(version: Path) -> str:
    return files.shown("/".join(version.absolute().parts[-3:]))
