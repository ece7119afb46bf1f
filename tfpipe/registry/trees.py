"""Export of boosted trees, and the check that their file equals the trained ones.

N/model.ubj                        the trees, as UBJSON
N/assets.extra/card.json           what they are, with their temperature and thresholds
N/assets.extra/predictions.csv     every validation and test example
N/assets.extra/contributions.npz   SHAP values of test examples, for the report
N/assets.extra/shap.csv            mean |SHAP| for each column and class
N/assets.extra/report.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost

from tfpipe.base import tables
from tfpipe.base.errors import UserError
from tfpipe.models import boosted_trees
from tfpipe.registry import parity
from tfpipe.registry.card import BOOSTED_TREES

MODEL = "xgboost"
BATCH = 64  # rows in a timed batch
PACKAGES = ("xgboost", "scikit-learn", "numpy", "tfpipe")


@dataclass(frozen=True)
class TreesExport:
    """Trained trees, for `store.publish`.

    Attributes:
      trees: as trained.
      columns: names of the columns.
      classes: names in label order.
      explained: columns [n, columns] float32 of the examples whose predictions are explained.
      examples: columns [n, columns] float32. Trees read from the file must predict the same for
        them.
    """

    trees: xgboost.Booster
    columns: Sequence[str]
    classes: Sequence[str]
    explained: np.ndarray
    examples: np.ndarray

    def write(self, draft: Path) -> dict[str, Any]:
        """Writes trees and SHAP values, and compares the file with the trained trees.

        Returns:
          Fields of the card.

        Raises:
          UserError: the trees in the file predict something else.
        """
        extra = draft / "assets.extra"
        extra.mkdir()
        boosted_trees.save(self.trees, draft / "model.ubj")
        shap = boosted_trees.contributions(self.trees, self.explained)
        np.savez_compressed(extra / "contributions.npz", added=shap, columns=self.explained)
        means = mean_shap(shap, columns=self.columns, classes=self.classes)
        tables.write_csv(means, extra / "shap.csv")
        again = boosted_trees.load(draft / "model.ubj")
        expected = boosted_trees.classify(self.trees, self.examples)
        if not np.array_equal(boosted_trees.classify(again, self.examples), expected):
            raise UserError(
                f"The trees in {draft / 'model.ubj'} predict something else than the trained ones. "
                "Nothing was published."
            )
        single, batch = self.examples[:1], self.examples[:BATCH]
        return {
            "model": MODEL,
            "kind": BOOSTED_TREES,
            "inputs": ("columns",),
            "parity": {
                "loaded": "from its file",
                "examples": len(self.examples),
                "max_difference": 0.0,
                "tolerance": 0.0,
            },
            "speed": {
                "one_ms": parity.median_ms(lambda: boosted_trees.classify(self.trees, single)),
                "batch_ms": parity.median_ms(lambda: boosted_trees.classify(self.trees, batch)),
                "batch": len(batch),
            },
            "packages": {name: metadata.version(name) for name in PACKAGES},
        }


def mean_shap(added: np.ndarray, *, columns: Sequence[str], classes: Sequence[str]) -> pd.DataFrame:
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
