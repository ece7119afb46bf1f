"""Epoch callback that logs metrics to a CSV."""

import csv
import io
from pathlib import Path

from tfpipe.base import files
from tfpipe.training.loop import EpochCallback


def history_csv(path: Path) -> EpochCallback:
    """Returns a callback that writes a table with one row per epoch.

    The first column is `epoch`, from 1. The file is replaced after each epoch. A resumed training
    appends to the earlier rows, and replaces those of epochs that it repeats.
    """

    def log(epoch: int, metrics: dict[str, float]) -> None:
        rows = _rows_before(path, epoch)
        rows.append({"epoch": str(epoch)} | {name: repr(v) for name, v in metrics.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[-1]), restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        files.replace(path, text.getvalue().encode())

    return log


def _rows_before(path: Path, epoch: int) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if int(row["epoch"]) < epoch]
