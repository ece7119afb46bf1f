"""Predictions of a version: its predictions.csv as a table."""

from pathlib import Path

import pandas as pd

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError

PREDICTIONS = "assets.extra/predictions.csv"


def predictions(version: Path, metadata: dict[str, str]) -> pd.DataFrame:
    """Returns a version's predictions.csv, text as it was before it was made safe to open.

    Args:
      version: holds assets.extra/predictions.csv.
      metadata: name -> kind, the records'.

    Raises:
      UserError: if it is missing or no table.
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
    # Older releases wrote "picture".
    return table.rename(columns={"error_of_mean_picture": "error_of_mean_image"})
