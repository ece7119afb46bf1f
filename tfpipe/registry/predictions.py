"""Predictions of a version: its predictions.csv as a table."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError

PREDICTIONS = "assets.extra/predictions.csv"


def predictions(
    version: Path, metadata: dict[str, str], *, classes: Iterable[str] = ()
) -> pd.DataFrame:
    """Returns a version's predictions.csv, text as it was before it was made safe to open.

    Args:
      version: holds assets.extra/predictions.csv.
      metadata: name -> kind, the records'.
      classes: whose probabilities are read, which must be numbers then.

    Raises:
      UserError: if it is missing, no table, or lacks a column.
    """
    path = version / PREDICTIONS
    text = {"split", "key", "group"} | {n for n, kind in metadata.items() if kind == "str"}
    try:
        with files.open_regular(version, PREDICTIONS) as file:
            table = tables.read_csv(file, text=text)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is missing or no table, so there is nothing to report. Train a new version."
        ) from error
    if problem := _column_problem(table, {"label", "error", *(f"p_{name}" for name in classes)}):
        raise UserError(f"{path} {problem}. Train a new version.")
    # Older releases wrote "picture".
    return table.rename(columns={"error_of_mean_picture": "error_of_mean_image"})


def _column_problem(table: pd.DataFrame, numbers: set[str]) -> str:
    """Returns which column is missing or has text in place of numbers; "" for none."""
    for name in ("split", "key", "group", "label"):
        if name not in table:
            return f"has no column {name}"
    for name in table.columns:
        if name in numbers and not pd.api.types.is_numeric_dtype(table[name]):
            return f"has text in the column {name}, expected numbers"
    return ""
