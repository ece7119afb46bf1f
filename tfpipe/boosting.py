"""Boosted trees on columns by XGBoost (Chen & Guestrin 2016, arXiv:1603.02754): learn and answer.

They take columns as they are: no scaling, and a value that is missing (nan) goes the way that
lowered the loss for those missing in training.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import xgboost

from tfpipe import balance
from tfpipe.errors import UserError

BALANCES = ("weights", "none")
PATIENCE = 50  # trees without a lower loss on the examples watched, before stopping
NAMES = {  # ours, and XGBoost's
    "learning_rate": "eta",
    "max_depth": "max_depth",
    "columns_a_split": "colsample_bynode",
    "examples_a_tree": "subsample",
    "least_weight": "min_child_weight",
}


class Particles(NamedTuple):
    """Examples by their columns.

    Attributes:
      columns: [n, columns] float32; nan where nothing was measured.
      labels: [n] int, -1 where nobody has labelled one.
      groups: [n] bytes.
      keys: [n] bytes.
    """

    columns: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    keys: np.ndarray

    def only(self, chosen: np.ndarray) -> "Particles":
        """Returns those that are chosen, [n] bool or row numbers."""
        return Particles(*(field[chosen] for field in self))

    @property
    def labelled(self) -> "Particles":
        """Those with a label."""
        return self.only(self.labels >= 0)


def fit(
    particles: Particles,
    *,
    classes: int,
    arguments: dict,
    balanced: str = "weights",
    seed: int = 0,
    watched: Particles | None = None,
) -> xgboost.Booster:
    """Returns trees that tell labelled particles apart.

    Args:
      particles: all labelled.
      classes: how many there are, met in training or not.
      arguments: "trees", and any of `NAMES`, such as `tuning.columns.PUBLISHED`.
      balanced: "weights" by class (`balance.class_weights`), or "none".
      seed: of the columns and examples drawn for a tree.
      watched: labelled particles of other groups; their loss, classes weighing the same, stops
        the growing.
    """
    values = {NAMES[name]: value for name, value in arguments.items() if name != "trees"}
    counts = np.bincount(particles.labels, minlength=classes)
    weights = balance.class_weights(counts) if balanced == "weights" else np.ones(classes)
    told = {
        **{"objective": "multi:softprob", "num_class": classes, "eval_metric": "mlogloss"},
        **{"tree_method": "hist", "seed": seed, "verbosity": 0},
    }
    return xgboost.train(
        told | values,
        _matrix(particles, weights),
        num_boost_round=arguments["trees"],
        evals=[(_matrix(watched, weights), "watched")] if watched else [],
        early_stopping_rounds=PATIENCE if watched else None,
        verbose_eval=False,
    )


def classify(trees: xgboost.Booster, columns: np.ndarray, *, first: int = 0) -> np.ndarray:
    """Returns probabilities [n, classes] float32 of columns [n, columns] float32.

    Args:
      trees: as trained or loaded.
      columns: nan where nothing was measured.
      first: how many trees a class are asked; 0 for all.
    """
    if not len(columns):
        return np.zeros((0, _classes(trees)), np.float32)
    asked = (0, min(first, trees.num_boosted_rounds()))
    return trees.predict(xgboost.DMatrix(columns, missing=np.nan), iteration_range=asked)


def contributions(trees: xgboost.Booster, columns: np.ndarray) -> np.ndarray:
    """Returns what each column adds to each class's log-odds, [n, classes, columns] float32.

    Exact Shapley values of trees (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9): with the
    class's mean they add up to its answer before softmax.
    """
    matrix = xgboost.DMatrix(columns, missing=np.nan)
    return trees.predict(matrix, pred_contribs=True, strict_shape=True)[:, :, :-1]


def leaves(trees: xgboost.Booster) -> int:
    """Returns how many leaves there are, each one value learnt."""
    return sum(tree.count("leaf=") for tree in trees.get_dump())


def save(trees: xgboost.Booster, path: Path) -> None:
    """Writes trees as UBJSON, which holds numbers only and runs nothing when it is read."""
    trees.save_model(path)


def load(path: Path) -> xgboost.Booster:
    """Returns the trees of a file.

    Raises:
      UserError: it is missing or holds no trees.
    """
    trees = xgboost.Booster()
    try:
        trees.load_model(path)
    except xgboost.core.XGBoostError as error:
        raise UserError(
            f"{path} holds no trees that XGBoost can read. Train them again."
        ) from error
    return trees


def _matrix(particles: Particles, weights: np.ndarray) -> xgboost.DMatrix:
    """Returns particles as XGBoost takes them, each with the weight [classes] of its class."""
    of = weights[particles.labels]
    return xgboost.DMatrix(particles.columns, particles.labels, weight=of, missing=np.nan)


def _classes(trees: xgboost.Booster) -> int:
    return len(trees.get_dump()) // max(trees.num_boosted_rounds(), 1)
