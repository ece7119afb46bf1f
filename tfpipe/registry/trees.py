"""Numbered versions of boosted trees, beside those of networks.

N/model.ubj                        the trees, as UBJSON
N/assets.extra/card.json           what they are, their temperature and thresholds among it
N/assets.extra/predictions.csv     every validation and test example
N/assets.extra/contributions.npz   what each column added, for the report
N/assets.extra/shap.csv            its mean size for each column and class
N/assets.extra/report.html
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import xgboost

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.evaluation import calibration
from tfpipe.models import boosted_trees
from tfpipe.registry import parity, store
from tfpipe.registry.card import BOOSTED_TREES, VersionCard

MODEL = "xgboost"
BATCH = 64  # rows that are timed together
PACKAGES = ("xgboost", "scikit-learn", "numpy", "tfpipe")


def draft(
    trees: xgboost.Booster,
    folder: Path,
    *,
    card: VersionCard,
    predictions: pd.DataFrame,
    explained: np.ndarray,
    checked: np.ndarray,
) -> Path:
    """Writes all but the report of a version beside its place.

    Args:
      trees: as trained.
      folder: saved_models/<task>/xgboost.
      card: what the version is; kind, inputs, file sums and package versions are added.
      predictions: a row for each validation and test example.
      explained: columns [n, columns] float32 of the examples whose answers are explained.
      checked: columns [n, columns] float32; trees read from the file must answer them as before.

    Returns:
      The hidden folder, for `store.number` to publish.

    Raises:
      UserError: the folder cannot be written, or the file answers otherwise.
    """
    found = folder / ".draft"
    shutil.rmtree(found, ignore_errors=True)
    extra = found / "assets.extra"
    try:
        extra.mkdir(parents=True)
        boosted_trees.save(trees, found / "model.ubj")
        added = boosted_trees.contributions(trees, explained)
        np.savez_compressed(extra / "contributions.npz", added=added, columns=explained)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror or error}. Free some space or choose "
            "another folder by --models."
        ) from error
    again = boosted_trees.classify(boosted_trees.load(found / "model.ubj"), checked)
    if not np.array_equal(again, boosted_trees.classify(trees, checked)):
        raise UserError(
            f"The trees in {found / 'model.ubj'} answer otherwise than those trained. Nothing was "
            "published."
        )
    tables.write_csv(predictions, extra / "predictions.csv")
    means = sizes(added, columns=card.columns, classes=card.classes)
    tables.write_csv(means, extra / "shap.csv")
    kept = ("model.ubj", "assets.extra/contributions.npz")
    card = replace(
        card,
        version=(store.versions(folder) or [0])[-1] + 1,
        model=MODEL,
        kind=BOOSTED_TREES,
        inputs=("columns",),
        parity={
            "loaded": "from its file",
            "examples": len(checked),
            "max_difference": 0.0,
            "tolerance": 0.0,
        },
        speed={
            "one_ms": parity.median_ms(lambda: boosted_trees.classify(trees, checked[:1])),
            "batch_ms": parity.median_ms(lambda: boosted_trees.classify(trees, checked[:BATCH])),
            "batch": min(BATCH, len(checked)),
        },
        packages={name: metadata.version(name) for name in PACKAGES},
        sha256={name: files.sha256(found / name) for name in kept},
        **store.circumstances(found / name for name in kept),
    )
    files.replace(extra / "card.json", card.to_json())
    return found


def sizes(added: np.ndarray, *, columns: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
    """Returns a row for each column, the most important first: its mean |SHAP| for each class.

    Args:
      added: [n, classes, columns] float, see `boosted_trees.contributions`.
      columns: their names.
      classes: their names.
    """
    means = np.abs(added).mean(axis=0).T
    frame = pd.DataFrame(means, columns=list(classes))
    frame.insert(0, "column", list(columns), allow_duplicates=True)
    return frame.iloc[np.argsort(-means.sum(axis=1), kind="stable")].reset_index(drop=True)


class Loaded:
    """A version's trees, ready to classify; they are checked against their card first."""

    def __init__(self, version: Path):
        self.path, self.card = version, store.read_card(version)
        if self.card.kind != BOOSTED_TREES:
            raise UserError(f"{version} is no version of boosted trees but a {self.card.kind}.")
        store.check(version, self.card.sha256, self.card)
        self._trees = boosted_trees.load(version / "model.ubj")

    def classify(self, columns: np.ndarray) -> np.ndarray:
        """Returns calibrated probabilities [n, classes] float64.

        Args:
          columns: [n, columns] float32 in the card's order; nan where nothing was measured.

        Raises:
          UserError: there are more or fewer columns than the trees know.
        """
        names = self.card.columns
        if columns.ndim != 2 or columns.shape[1] != len(names):
            raise UserError(
                f"{self.path} knows {len(names)} columns ({', '.join(names)}), but was given "
                f"{' x '.join(map(str, columns.shape))} numbers."
            )
        raw = boosted_trees.classify(self._trees, np.asarray(columns, np.float32))
        return calibration.apply(raw, self.card.calibration["temperature"])
