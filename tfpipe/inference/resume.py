"""Answers to raw files, kept one by one until all are there: a run that was killed goes on."""

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.task import Source


class Kept:
    """What a run has answered so far, in a hidden folder beside its table."""

    def __init__(self, folder: Path):
        self._folder = folder

    def told(self, source: Source) -> dict[str, Any] | None:
        """Returns what was kept of a source; None if it is not finished, or has changed since."""
        try:
            told = json.loads(self.path(source, ".json").read_bytes())
        except FileNotFoundError:
            return None
        return told["told"] if told["of"] == _state_of(source) else None

    def add(self, source: Source, told: dict[str, Any]) -> None:
        """Keeps what is told of a source, which is finished then: after its other files."""
        data = {"of": _state_of(source), "told": told}
        files.replace(self.path(source, ".json"), json.dumps(data, default=_plain).encode())

    def path(self, source: Source, ending: str) -> Path:
        """Returns where more of a source's answers may be kept."""
        name = hashlib.sha256(source.name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return self._folder / name[:2] / f"{name}{ending}"

    def rows(self, source: Source) -> Iterator[pd.DataFrame]:
        """Gives the rows of a source's .parquet, in the pieces they were written in."""
        path = self.path(source, ".parquet")
        if not path.stat().st_size:  # nothing was written to it, not even a schema
            return
        with parquet.ParquetFile(path) as file:
            for i in range(file.num_row_groups):
                yield file.read_row_group(i).to_pandas()


@contextlib.contextmanager
def keeping(out: Path, plan: dict[str, Any]) -> Iterator[Kept]:
    """Gives what is kept of the answers that become a table; it is removed once they are one.

    A run that is killed, or that ends by an error, leaves what it has finished. The next one goes
    on with it if its plan is the same, and else begins afresh.

    Args:
      out: the table.
      plan: all that the answers depend on but the sources: the version, options, tables.

    Raises:
      UserError: another run is writing the same table, or its folder cannot be written to.
    """
    folder = out.parent / f".{out.name}.partial"
    text = hashlib.sha256(json.dumps(plan, sort_keys=True, default=str).encode()).hexdigest()
    with _held(folder, out):
        for unfinished in out.with_suffix("").glob(".*.part"):  # pictures of a run that was killed
            unfinished.unlink()
        plan_path = folder / "plan"
        if not plan_path.is_file() or plan_path.read_text() != text:
            for old in [path for path in folder.iterdir() if path.is_dir()]:
                shutil.rmtree(old)
            files.replace(plan_path, text.encode())
        try:
            yield Kept(folder)
        except BaseException:
            if not any(folder.rglob("*.json")):
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


@contextlib.contextmanager
def _held(folder: Path, out: Path) -> Iterator[None]:
    """Holds the folder for one run; the system frees the lock of a run that died."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise UserError(
            f"{files.shown(out)} cannot be written: {error.strerror or error}. Choose another "
            "folder."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"Another run is writing {files.shown(out)}. Wait for it to end, or give another "
                "--out."
            ) from None
        yield


def _state_of(source: Source) -> list[list[int]]:
    """Returns size and time of writing of a source's files, [] for one that is gone."""
    found = []
    for path in (source.path, *source.also):
        with contextlib.suppress(OSError):
            about = path.stat()
            found.append([about.st_size, about.st_mtime_ns])
    return found


def _plain(value: Any) -> Any:
    """Returns one of numpy's numbers as one of Python's."""
    return value.item()
