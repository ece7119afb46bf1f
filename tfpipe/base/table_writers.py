"""Long tables written piece by piece, so that memory does not grow with them: CSV or Parquet."""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow
from pyarrow import parquet

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError

Write = Callable[[pd.DataFrame], None]


@contextlib.contextmanager
def writing(path: Path, *, metadata: Mapping[str, str] | None = None) -> Iterator[Write]:
    """Gives a function that adds rows to a table, which takes its name when all are written.

    Args:
      path: .csv or .parquet; missing parent folders are made. Every piece must have the columns and
        kinds of the first.
      metadata: of the whole table; a .csv has no place for it.

    Raises:
      UserError: another ending, or the folder cannot be written to or is full; an older file is
        then as it was, as it is after any other error.
    """
    check(path)
    begin = _KINDS[path.suffix.lower()]
    beside = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with begin(beside, metadata or {}) as write:
            yield write
        os.replace(beside, path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{files.shown(path)} cannot be written: {reason}. Free some space or choose another "
            "folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def check(path: Path) -> None:
    """Raises a UserError if no table can be written under a name of this ending."""
    if path.suffix.lower() not in _KINDS:
        raise UserError(
            f"{files.shown(path.name)} ends in {path.suffix or 'nothing'}, expected "
            f"{' or '.join(_KINDS)}. Give --out another name."
        )


@contextlib.contextmanager
def _csv(path: Path, metadata: Mapping[str, str]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:

        def write(frame: pd.DataFrame) -> None:
            file.write(tables.csv_of(frame, headings=file.tell() == 0))

        yield write
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _parquet(path: Path, metadata: Mapping[str, str]) -> Iterator[Write]:
    with path.open("wb") as file, contextlib.ExitStack() as stack:
        writers: list[parquet.ParquetWriter] = []

        def write(frame: pd.DataFrame) -> None:
            table = pyarrow.Table.from_pandas(frame, preserve_index=False)
            if not writers:
                schema = table.schema.with_metadata({**(table.schema.metadata or {}), **metadata})
                writers.append(stack.enter_context(parquet.ParquetWriter(file, schema)))
            writers[0].write_table(table.cast(writers[0].schema))

        yield write
        stack.close()
        file.flush()
        os.fsync(file.fileno())


_KINDS = {".csv": _csv, ".parquet": _parquet}
