"""Results of raw files, stored one by one until all are there: a killed prediction is resumed."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet

from tfpipe.base import files
from tfpipe.base.resumable import ResumableFolder
from tfpipe.tasks.task import Source


class SourceResults:
    """What a run has predicted of each source so far, in a hidden folder beside its table.

    Attributes:
      folder: the hidden folder.
    """

    def __init__(self, folder: Path):
        """Finds results in a folder that this process or another one has opened."""
        self.folder = folder
        self._results = ResumableFolder(folder, None, work="prediction", busy=None)

    def result(self, source: Source) -> dict[str, Any] | None:
        """Returns a source's result; None if it is not finished, or the source has changed."""
        return self._results.result(_name_of(source), _state_of(source))

    def add(self, source: Source, result: dict[str, Any]) -> None:
        """Stores a source's result, which is finished with this: call it after other files."""
        self._results.add_result(_name_of(source), _state_of(source), result)

    def failure(self, source: Source) -> str | None:
        """Returns why a worker could not predict a source; None if it did not say so."""
        return self._results.read(f"{_name_of(source)}.failed")

    def add_failure(self, source: Source, reason: str) -> None:
        """Stores why a source cannot be predicted, for the process that reads the results."""
        self._results.write(f"{_name_of(source)}.failed", reason)

    def remove_failure(self, source: Source) -> None:
        """Removes why an earlier run could not predict a source."""
        self.path(source, ".failed").unlink(missing_ok=True)

    def path(self, source: Source, ending: str) -> Path:
        """Returns where a further file of a source may be stored."""
        return self.folder / f"{_name_of(source)}{ending}"

    def rows(self, source: Source) -> Iterator[pd.DataFrame]:
        """Gives the rows of a source's .parquet, in the pieces they were written in."""
        path = self.path(source, ".parquet")
        if not path.stat().st_size:  # nothing was written to it, not even a schema
            return
        with parquet.ParquetFile(path) as file:
            for i in range(file.num_row_groups):
                yield file.read_row_group(i).to_pandas()


@contextlib.contextmanager
def open_results(out: Path, plan: dict[str, Any]) -> Iterator[SourceResults]:
    """Opens the results that become a table; they are removed once the table is written.

    A run that is killed, or that ends with an error, leaves the results it has finished. The next
    run uses them if its plan is the same, and else removes them.

    Args:
      out: the table.
      plan: all that the results depend on except the sources: the version, options, tables.

    Raises:
      UserError: another run is writing the same table, or its folder cannot be written to.
    """
    folder = ResumableFolder(
        out.parent / f".{out.name}.partial",
        plan,
        work="prediction",
        busy=f"Another run is writing {files.shown(out)}. Wait for it to end, or give another "
        "--out.",
        target=out,
        keep_other=False,
    )
    with folder:
        for unfinished in out.with_suffix("").glob(".*.part"):  # images of a run that was killed
            unfinished.unlink()
        try:
            yield SourceResults(folder.path)
        except BaseException:
            if not any(folder.path.glob("*/*.json")):
                folder.remove()
            raise
        folder.remove()


def _name_of(source: Source) -> str:
    """Returns the name of a source's files, in one of 256 folders."""
    name = hashlib.sha256(source.name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return f"{name[:2]}/{name}"


def _state_of(source: Source) -> list[list[int]]:
    """Returns size and modification time of a source's files, [] for one that is missing."""
    states = []
    for path in (source.path, *source.also):
        with contextlib.suppress(OSError):
            status = path.stat()
            states.append([status.st_size, status.st_mtime_ns])
    return states
