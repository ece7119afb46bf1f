"""Boosted trees on columns by XGBoost (Chen & Guestrin 2016, arXiv:1603.02754).

They need no scaling of columns. A missing value (nan) takes the branch that lowered the loss of
missing values in training.
"""

from pathlib import Path

import numpy as np
import xgboost

from tfpipe.base.errors import UserError
from tfpipe.data import sampling
from tfpipe.data.columns import ColumnExamples
from tfpipe.models import trees_file

BALANCES = ("weights", "none")
PATIENCE = 50  # trees without a lower loss on the validation set, before stopping
SINGLE_THREAD_BELOW = 10_000  # examples; with fewer, threads mostly wait for each other
NAMES = {  # of this package -> of XGBoost
    "learning_rate": "eta",
    "max_depth": "max_depth",
    "columns_a_split": "colsample_bynode",
    "examples_a_tree": "subsample",
    "least_weight": "min_child_weight",
}


def fit(
    training_set: ColumnExamples,
    *,
    classes: int,
    arguments: dict,
    balanced: str = "weights",
    seed: int = 0,
    validation_set: ColumnExamples | None = None,
) -> xgboost.Booster:
    """Returns the fitted trees of a classifier.

    Args:
      training_set: labelled examples.
      classes: number of classes, with those that have no training example.
      arguments: "trees", and any of `NAMES`, such as `tuning.boosted_trees.PUBLISHED`.
      balanced: "weights" by class (`sampling.class_weights`), or "none".
      seed: of the columns and examples drawn for a tree.
      validation_set: labelled examples of other groups; training stops early by their log loss.
    """
    values = {NAMES[name]: value for name, value in arguments.items() if name != "trees"}
    parameters = {
        "objective": "multi:softprob",
        "num_class": classes,
        "eval_metric": "mlogloss",
        "tree_method": "hist",
        "seed": seed,
        "verbosity": 0,
        "nthread": 1 if len(training_set.labels) < SINGLE_THREAD_BELOW else 0,  # 0: all
    }
    weights = None
    if balanced == "weights":
        counts = np.bincount(training_set.labels, minlength=classes)
        weights = sampling.class_weights(counts)[training_set.labels]
    evals = []
    if validation_set is not None:
        evals = [(xgboost.DMatrix(validation_set.columns, validation_set.labels), "validation")]
    return xgboost.train(
        parameters | values,
        xgboost.DMatrix(training_set.columns, training_set.labels, weight=weights),
        num_boost_round=arguments["trees"],
        evals=evals,
        early_stopping_rounds=PATIENCE if evals else None,
        verbose_eval=False,
    )


def classify(trees: xgboost.Booster, columns: np.ndarray, *, first: int = 0) -> np.ndarray:
    """Returns probabilities [n, classes] float32 of columns [n, columns] float32; n may be 0.

    Args:
      trees: as trained or loaded.
      columns: nan where nothing was measured.
      first: how many rounds of trees are used; 0 for all.
    """
    if not len(columns):  # XGBoost returns no array [0, classes]
        return classify(trees, np.zeros((1, columns.shape[1]), np.float32), first=first)[:0]
    iterations = (0, min(first, trees.num_boosted_rounds()))
    return trees.predict(xgboost.DMatrix(columns), iteration_range=iterations, strict_shape=True)


def contributions(trees: xgboost.Booster, columns: np.ndarray) -> np.ndarray:
    """Returns what each column adds to each class's log-odds, [n, classes, columns] float32.

    Exact Shapley values of trees (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9): with the
    class's mean they add up to its output before softmax.
    """
    matrix = xgboost.DMatrix(columns)
    return trees.predict(matrix, pred_contribs=True, strict_shape=True)[:, :, :-1]


def leaves(trees: xgboost.Booster) -> int:
    """Returns the number of leaves, each of which has one trained value."""
    return sum(tree.count("leaf=") for tree in trees.get_dump())


def save(trees: xgboost.Booster, path: Path) -> None:
    """Writes trees as UBJSON, which holds numbers only and runs nothing when it is read."""
    trees.save_model(path)


def load(path: Path, *, name: str = "") -> xgboost.Booster:
    """Returns the trees of a file, which is checked first.

    Args:
      path: of the file.
      name: of the file, for the sentence; "" for its path.

    Raises:
      UserError: the file has no trees.
    """
    trees = xgboost.Booster()
    try:
        trees.load_model(bytearray(trees_file.checked(path.read_bytes())))
    except (OSError, ValueError, xgboost.core.XGBoostError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise UserError(
            f"{name or path} holds no trees that XGBoost can read ({reason}). Train them again."
        ) from error
    return trees
