"""Object storage: folders named by a URL, such as s3://bucket/folder, and their local copies.

Storage has no rename and no locks. So commands work in a local copy of the folder, as they do in
any folder; what they read is fetched into it, and what they have made is uploaded from it, the file
by which readers recognise it last. `storage_of` finds the URL of a path in such a copy, so that
code which works on folders needs to know of none.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tfpipe.base import file_systems, files, locks
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent

LOG = logging.getLogger("tfpipe")
MARK = "storage.json"  # in the folder of a copy: the URL that it is a copy of
CACHE = "TFPIPE_CACHE"  # environment variable: where the copies lie
# Protocols whose storage creates a file only where there is none, in one step.
BY_CONDITION = ("s3", "s3a", "gs", "gcs")
BY_OPENING = (*file_systems.LOCAL, "memory")
PROTOCOLS = (*BY_CONDITION, *BY_OPENING, "hdfs")
PACKAGES = {"s3": "'tfpipe[storage]'", "s3a": "'tfpipe[storage]'", "gs": "gcsfs", "gcs": "gcsfs"}
SAVED_EVERY_S = 2.0  # the index of a copy, while files are fetched
_NOTES = ("index.json", "stored.json")  # beside what was fetched or uploaded
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # a Path has lost the second slash
_TAGS = ("ETag", "etag", "md5Hash", "mtime", "created", "LastModified", "last_modified")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")


class MissingInStorage(UserError):
    """A file of a storage that is not there, or not any more."""


class NotWritable(UserError):
    """A storage that does not permit what was asked of it: trying again is of no use."""


class StoredFile(NamedTuple):
    """A file of a storage: bytes, a tag that changes with its contents, time of writing [s]."""

    size: int
    tag: str
    written: float


def is_url(place: str | Path) -> bool:
    """Returns whether a place is a URL, also one that was made a Path."""
    return _URL.match(str(place)) is not None


def local_folder(place: str | Path) -> Path:
    """Returns the folder of a place: itself, or the local copy of that of a URL.

    Args:
      place: folder, or URL such as s3://bucket/folder.

    Raises:
      UserError: the URL is malformed or holds a password, its protocol is unknown, or its package
        is not installed.
    """
    match = _URL.match(str(place))
    if match is None:
        return Path(place)
    protocol, rest = match[1].lower(), str(place)[match.end() :].strip("/")
    if isinstance(place, Path) or not str(place).startswith(f"{match[1]}://") or not rest:
        raise UserError(f"{shown(place)} is no URL of a folder. Write it as s3://bucket/folder.")
    if protocol not in PROTOCOLS:
        names = ", ".join(f"{name}://" for name in ("s3", "gs", "hdfs", "file"))
        raise UserError(
            f"{shown(place)}: {protocol}:// is not supported. Use a folder, or {names}."
        )
    first = rest.partition("/")[0]
    user, at, _ = first.rpartition("@")
    _, colon, port = first.partition(":")
    is_port = protocol == "hdfs" and port.isdecimal()
    # A password may hold a slash, so that the "@" after it is in what looks like a path.
    is_cut = colon and not is_port and "@" in rest and protocol not in file_systems.LOCAL
    if is_cut or (at and (":" in user or protocol in BY_CONDITION)):
        raise UserError(
            f"{shown(place)}: a URL must not hold a user or password, since it is stored and "
            "printed. Leave it out, and set up the storage's own tools, such as ~/.aws/credentials."
        )
    from fsspec import get_filesystem_class  # with asyncio: a tenth of a second

    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        reason = str(error).strip().rstrip(".")
        remedy = PACKAGES.get(protocol)
        raise UserError(
            f"{protocol}:// needs a package that is not installed: {reason}."
            + (f" Run `pip install {remedy}`." if remedy else "")
        ) from error
    url = f"{protocol}://{'/' if str(place)[match.end() + 1 :].startswith('/') else ''}{rest}"
    words = re.sub("[^A-Za-z0-9.]+", "-", url)[:60].strip("-")
    copy = cache_folder() / f"{words}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    if _url_of(copy) != url:
        files.replace(copy / MARK, json.dumps({"url": url}).encode())
    return copy


def shown(place: str | Path) -> str:
    """Returns a URL fit for printing, without the user and password that it may hold."""
    return files.shown(re.sub(r"(:/+).*@", r"\1***@", str(place)))


def cache_folder() -> Path:
    """Returns the folder of all local copies: TFPIPE_CACHE, else tfpipe in the user's cache."""
    home = os.path.expanduser("~")  # it stays "~" for a user who has none, as in a container
    home = tempfile.gettempdir() if home == "~" else home
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path(home) / ".cache") / "tfpipe"
    return Path(os.environ.get(CACHE) or usual).resolve()


def with_urls(text: str) -> str:
    """Returns a text in which paths of local copies are the URLs that they are copies of."""
    pattern = re.escape(str(cache_folder())) + r"/([\w.-]*\w)"
    return re.sub(pattern, lambda match: _url_of(Path(match[0])) or match[0], text)


def on_this_machine(path: Path) -> str:
    """Returns the name of a path in a local copy that is not printed as its URL."""
    root = cache_folder()
    return f"{path.absolute().relative_to(root)} in {root}"


def storage_of(path: Path) -> "StorageFolder | None":
    """Returns the storage that a path is a local copy of; None for any other path."""
    root, path = cache_folder(), path.absolute()
    if path == root or not path.is_relative_to(root):
        return None
    copy = root / path.relative_to(root).parts[0]
    url = _url_of(copy)
    return StorageFolder(url, copy) if url else None


def fetch(folder: Path, *, report: Reporter = silent) -> None:
    """Makes a folder of a local copy as that of the storage is; any other folder is left alone.

    What an earlier call of `push` could not upload is uploaded first.

    Raises:
      UserError: the storage cannot be read.
    """
    storage = storage_of(folder)
    if storage:
        if _beside(folder, "unpushed").exists():
            push(folder, report=report)
        storage.fetch(folder, storage.listing(folder), report=report)


def push(folder: Path, *, report: Reporter = silent) -> Path:
    """Uploads the files of a folder of a local copy, in no order; leaves any other folder alone.

    Returns:
      The folder.

    Raises:
      UserError: the storage cannot be written to.
    """
    with pushing(folder, report=report):
        return folder


def push_or_keep(folder: Path, *, report: Reporter = silent) -> Path:
    """Uploads as `push` does; a failure is a warning, since nothing is lost by it: `push_rest`."""
    try:
        push(folder, report=report)
    except UserError as error:
        LOG.warning(
            "Not uploaded yet: %s. The next command on these versions does it. %s",
            on_this_machine(folder),
            error,
        )
    return folder


def push_rest(folder: Path) -> None:
    """Uploads what `push` could not, of folders in a folder and in those."""
    if storage_of(folder):
        for mark in sorted([*folder.glob(".*.unpushed"), *folder.glob("*/.*.unpushed")]):
            push_or_keep(mark.with_name(mark.name[1 : -len(".unpushed")]))


@contextlib.contextmanager
def pushing(folder: Path, *, report: Reporter = silent) -> Iterator[None]:
    """Uploads what a block writes into a folder, once it has ended well; see `push`.

    A kill loses nothing: the next call of `fetch` uploads the rest.
    """
    storage = storage_of(folder)
    mark = _beside(folder, "unpushed")
    if storage:
        files.replace(mark, b"")
    try:
        yield
    except BaseException:
        if storage:
            mark.unlink(missing_ok=True)
        raise
    if storage:
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        names = {path: storage.name_of(path) for path in paths}
        storage.upload(names, again=True, report=report)
        storage.note_uploaded(folder)
        mark.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Raises a UserError if the storage of a folder cannot publish: before hours of training."""
    storage = storage_of(folder)
    if storage:
        storage.check_writable()


class StorageFolder:
    """A folder of a storage, and its copy on this disk.

    Attributes:
      url: of the folder.
      copy: the local copy.
    """

    def __init__(self, url: str, copy: Path):
        self.url, self.copy = url, copy

    @functools.cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system, and the folder's path in it."""
        from fsspec import core

        with self._asking("cannot be opened"):
            system, root = core.url_to_fs(self.url)
        return system, root.rstrip("/")

    def name_of(self, path: Path) -> str:
        """Returns the name of a local path in the storage, relative to its folder."""
        name = path.absolute().relative_to(self.copy).as_posix()
        return "" if name == "." else name

    def listing(self, folder: Path) -> dict[str, StoredFile]:
        """Returns the files under a folder, in no order.

        Args:
          folder: in the local copy.

        Returns:
          Path relative to the folder -> file.
        """
        system, root = self._opened
        root = "/".join(part for part in (root, self.name_of(folder)) if part)
        self._check_mounted()
        with self._asking("cannot be listed"):
            system.invalidate_cache()
            if self.protocol in BY_CONDITION:
                found = system.find(root, detail=True)
            else:
                found = file_systems.files_under(system, root)
        begin = f"{system._strip_protocol(root).rstrip('/')}/"
        stored = {}
        for path, info in found.items():
            name = path.removeprefix(begin)
            if not path.startswith(begin) or not file_systems.is_file(path):
                continue
            if name.startswith("/") or "//" in name:
                _warn_of_name(f"{self.url}/{self.name_of(folder)}")
                continue
            stored[name] = StoredFile(
                int(info["size"]),
                str(next((info[tag] for tag in _TAGS if info.get(tag)), "")),
                file_systems.seconds(next((info[time] for time in _TIMES if info.get(time)), 0.0)),
            )
        return stored

    def _check_mounted(self) -> None:
        """Refuses a folder that is gone or empty, but was not: a share that is not mounted.

        Otherwise all that was fetched from it would be removed here.
        """
        if self.protocol not in file_systems.LOCAL:
            return
        with self._asking("cannot be listed"):
            notes = (path for word in _NOTES for path in self.copy.rglob(f".*.{word}"))
            is_lost = file_systems.is_empty(self._opened[1]) and any(
                path.read_bytes().strip() != b"{}" for path in notes
            )
        if is_lost:
            raise UserError(
                f"{files.shown(self.url)} is empty or gone, but files were fetched from it. Mount "
                "it again. If it is to be empty, remove its local copy, "
                f"{on_this_machine(self.copy)}."
            )

    def read(self, name: str) -> bytes | None:
        """Returns the contents of a file; None if there is none."""
        system, root = self._opened
        with self._asking("cannot be read", name):
            try:
                return system.cat_file(f"{root}/{name}")
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Writes a file in one step, over any other."""
        system, root = self._opened
        with self._asking("cannot be uploaded", name):
            self._make_parent(name)
            if self.protocol not in file_systems.LOCAL:
                system.pipe_file(f"{root}/{name}", data)
                return
            with file_systems.written_beside(system, f"{root}/{name}", data) as part:
                os.replace(part, f"{root}/{name}")

    def create(self, name: str, data: bytes) -> bool:
        """Writes a file if there is none; of all who try at once, one succeeds.

        Returns:
          Whether this call made it, or one with the same contents.
        """
        system, root = self._opened
        path = f"{root}/{name}"
        with self._asking("cannot be uploaded", name):
            try:
                if self.protocol in BY_CONDITION:
                    system.pipe_file(path, data, mode="create")
                elif self.protocol == "memory":
                    system.open(path, "xb", data=data).close()
                else:
                    self._make_parent(name)
                    with file_systems.written_beside(system, f"{root}/{name}", data) as part:
                        locks.claim_name(part, path)
            except Exception:
                # Servers differ in what they say of a file that is there. It may be ours: where an
                # answer is lost, the library asks again.
                there = self.read(name)
                if there is None:
                    raise
                return there == data
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Removes files; those that are gone already are none of its business."""
        system, root = self._opened
        for name in names:
            with self._asking("cannot be removed", name), contextlib.suppress(FileNotFoundError):
                system.rm_file(f"{root}/{name}")

    def copy_within(self, pairs: Mapping[str, str]) -> None:
        """Copies files in the storage, which sends nothing through this machine.

        Args:
          pairs: name -> name of its copy.
        """
        system, root = self._opened

        def copy_one(source: str, target: str) -> None:
            with self._asking("cannot be copied", source):
                self._make_parent(target)
                system.cp_file(f"{root}/{source}", f"{root}/{target}")

        list(file_systems.results([(copy_one, pair) for pair in pairs.items()]))

    @property
    def protocol(self) -> str:
        """Protocol of the URL."""
        return self.url.partition("://")[0]

    def check_writable(self) -> None:
        """Refuses a storage that cannot create a file only where there is none.

        Raises:
          UserError: it cannot, or cannot be written to.
        """
        if self.protocol in BY_CONDITION + BY_OPENING:
            name = f".probe-{uuid.uuid4().hex}"
            first = self.create(name, b"first")
            is_conditional = not self.create(name, b"second")
            self.remove([name])
            if first and is_conditional:
                return
        raise NotWritable(
            f"{self.url} can be read, but not published to: it has no conditional put (S3's "
            "If-None-Match), so two machines could write one version. Publish to a local folder "
            "and copy that."
        )

    def upload(
        self, paths: Mapping[Path, str], *, again: bool = False, report: Reporter = silent
    ) -> None:
        """Uploads files, then looks whether all are there.

        Args:
          paths: local file -> its name in the storage.
          again: whether files of the same name and size may have other contents. Otherwise those
            are not sent again.
          report: receives the files done and in all, as stage "upload".

        Raises:
          UserError: a file cannot be uploaded, or is not there afterwards.
        """
        system, root = self._opened
        sizes = {name: path.stat().st_size for path, name in paths.items()}
        before = {} if again else self._sizes(sizes)

        def send(path: Path, name: str) -> None:
            with self._asking("cannot be uploaded", name):
                self._make_parent(name)
                system.put_file(str(path), f"{root}/{name}")

        new = [pair for pair in paths.items() if before.get(pair[1]) != sizes[pair[1]]]
        for i, _ in enumerate(file_systems.results([(send, pair) for pair in new])):
            report("upload", {"done": i + 1, "total": len(new)})
        after = self._sizes(sizes)
        missing = [name for name, size in sizes.items() if after.get(name) != size]
        if missing:
            raise UserError(
                f"{self.url}/{missing[0]} was removed while files were uploaded. Run the command "
                "again."
            )

    def _make_parent(self, name: str) -> None:
        """Makes the folder of a file, where the storage has folders."""
        system, root = self._opened
        if self.protocol not in BY_CONDITION:
            system.makedirs(str(PurePosixPath(root, name).parent), exist_ok=True)

    def _sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Returns the bytes of files that are in the storage, by name."""
        sizes = {}
        for folder in {PurePosixPath(name).parts[:-1] for name in names}:
            for name, file in self.listing(self.copy.joinpath(*folder)).items():
                sizes["/".join((*folder, name))] = file.size
        return sizes

    # What is in the local copy.

    def fetch(
        self,
        folder: Path,
        stored: Mapping[str, StoredFile],
        *,
        only: Callable[[str], bool] = lambda name: True,
        into: Path | None = None,
        report: Reporter = silent,
    ) -> None:
        """Fetches files that are missing or have changed, and removes those that are gone.

        Only files that were fetched or uploaded before are removed. A killed call resumes.

        Args:
          folder: in the local copy.
          stored: the files of the storage, as `listing` returns them.
          only: which of them are fetched, by name.
          into: where they are put in place of the folder.
          report: receives the files done and in all, as stage "fetch".

        Raises:
          UserError: a file cannot be fetched.
        """
        target, root = into or folder, self.name_of(folder)
        with locks.hold(_beside(folder, "fetch.lock"), busy=None):
            index = self._index(folder)
            gone = index.keys() - stored.keys()
            for name in gone:
                files.inside(target, name, where=self.url).unlink(missing_ok=True)
                del index[name]
            new = {
                name: file
                for name, file in stored.items()
                if only(name)
                and not (index.get(name) == [file.size, file.tag] and _has(target, name, file.size))
            }
            paths = {name: files.inside(target, name, where=self.url) for name in new}

            def fetch_one(name: str) -> None:
                self.download(f"{root}/{name}", paths[name])
                if not _has(target, name, new[name].size):
                    paths[name].unlink(missing_ok=True)
                    raise UserError(
                        f"{self.url}/{root}/{name} changed while it was fetched. Run the command "
                        "again."
                    )
                index[name] = [new[name].size, new[name].tag]

            saved = time.monotonic()
            try:
                for i, _ in enumerate(file_systems.results([(fetch_one, (name,)) for name in new])):
                    report("fetch", {"done": i + 1, "total": len(new)})
                    if time.monotonic() > saved + SAVED_EVERY_S:
                        saved = self._save_index(folder, index.copy())
            finally:
                if new or gone:
                    self._save_index(folder, index)

    def note_uploaded(self, folder: Path) -> None:
        """Notes that a folder is as in the storage, so that its files are not fetched."""
        stored = self.listing(folder)
        here = {name: file for name, file in stored.items() if (folder / name).is_file()}
        self._save_index(folder, {name: [file.size, file.tag] for name, file in here.items()})

    def is_noted(self, folder: Path) -> bool:
        """Returns whether files of a folder were fetched or noted as uploaded."""
        return _beside(folder, "index.json").is_file()

    def is_whole(self, folder: Path, only: Callable[[str], bool]) -> bool:
        """Returns whether noted files of a folder, chosen by name, are here in their sizes."""
        noted = self._index(folder).items()
        return all(_has(folder, name, size) for name, (size, _) in noted if only(name))

    def forget(self, folder: Path) -> None:
        """Removes the note of what was fetched or uploaded of a folder."""
        _beside(folder, "index.json").unlink(missing_ok=True)

    def download(self, name: str, path: Path) -> None:
        """Fetches a file to a path, where it appears whole.

        Raises:
          MissingInStorage: it is gone.
          UserError: it cannot be read, or there is no space.
        """
        system, root = self._opened
        incoming = self.copy / ".incoming" / hashlib.sha256(str(path).encode()).hexdigest()
        with self._asking(f"cannot be copied to {self.copy}", name):
            incoming.parent.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(f"{root}/{name}", str(incoming))
            os.replace(incoming, path)

    def _index(self, folder: Path) -> dict[str, list[Any]]:
        """Returns size and tag of the fetched files of a folder."""
        try:
            return json.loads(_beside(folder, "index.json").read_bytes())
        except (OSError, ValueError):
            return {}

    def _save_index(self, folder: Path, index: Mapping[str, list[Any]]) -> float:
        files.replace(_beside(folder, "index.json"), json.dumps(index).encode())
        return time.monotonic()

    @contextlib.contextmanager
    def _asking(self, failure: str, name: str = "") -> Iterator[None]:
        """Has a sentence of ours for what the library of a storage raises: each has its own."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            place = f"{self.url}/{name}" if name else self.url
            kind: type[UserError] = UserError
            if isinstance(error, FileNotFoundError):
                kind = MissingInStorage
            elif file_systems.is_forbidden(error):
                kind = NotWritable
            raise kind(
                f"{files.shown(place)} {failure}: {lines[0][:200].rstrip('. ')}. Check the "
                "address, the credentials, the network, and the space on this disk."
            ) from error


def _beside(folder: Path, word: str) -> Path:
    """Returns a hidden file beside a folder."""
    return folder.parent / f".{folder.name}.{word}"


def _has(folder: Path, name: str, size: int) -> bool:
    """Returns whether a folder has a file of a size [bytes]: a damaged disk may have cut it."""
    path = folder / name
    return path.is_file() and path.stat().st_size == size


def _url_of(copy: Path) -> str | None:
    """Returns the URL that a folder is the local copy of, or None."""
    try:
        value = json.loads((copy / MARK).read_bytes())
        return value.get("url")
    except (OSError, ValueError, AttributeError):
        return None


@functools.cache
def _warn_of_name(folder: str) -> None:
    """Warns of names that are no paths, once for a folder: a server lists it again and again."""
    LOG.warning(
        "%s: names with an empty part, as in 'a//b', are left out. Rename those files there.",
        files.shown(folder),
    )
