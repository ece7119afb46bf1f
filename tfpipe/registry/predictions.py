"""A version's predictions.csv, read back."""

from pathlib import Path

import pandas as pd

from tfpipe.base.errors import UserError
from tfpipe.base.tables import GUARDED


def predictions(version: Path, metadata: dict[str, str]) -> pd.DataFrame:
    """Returns a version's predictions.csv, text as it was before it was made safe to open.

    Args:
      version: holds assets.extra/predictions.csv.
      metadata: name -> kind, the records'.

    Raises:
      UserError: if it is missing or no table.
    """
    path = version / "assets.extra" / "predictions.csv"
    text = {"split", "key", "group"} | {n for n, kind in metadata.items() if kind == "str"}
    try:
        names = pd.read_csv(path, nrows=0).columns
        frame = pd.read_csv(
            path,
            dtype={name: str for name in names if name in text},
            keep_default_na=False,  # a photo may be called "NA"
            na_values={name: ["", "nan"] for name in names if name not in text},
        )
    except (FileNotFoundError, ValueError) as error:
        raise UserError(
            f"{path} is missing or no table, so there is nothing to report. Train a new version."
        ) from error
    for name in text & set(names):
        frame[name] = frame[name].str.replace(GUARDED, "", regex=True)
    return frame
