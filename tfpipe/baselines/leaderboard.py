"""Leaderboard: 27 classifiers on one table of features, as in seed document 004, with spreads.

Every classifier is fitted on the training split with the default values of its library, after
missing values are replaced by the median and features are standardized. It is evaluated on
validation and test, and on grouped folds of the training split. Nothing is chosen by a score.
"""

import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from sklearn import (
    calibration,
    discriminant_analysis,
    dummy,
    ensemble,
    linear_model,
    metrics,
    naive_bayes,
    neighbors,
    semi_supervised,
    svm,
    tree,
)
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tfpipe.base import tables
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.baselines.feature_tables import Features, FeatureSplit
from tfpipe.training import cross_validation

METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "f1")
EVALUATED = ("validation", "test")
DEFAULT_FOLDS = 5

# from name, as in the table of seed document 004, to a function from random seed to classifier
CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    "RandomForestClassifier": lambda seed: ensemble.RandomForestClassifier(random_state=seed),
    "ExtraTreesClassifier": lambda seed: ensemble.ExtraTreesClassifier(random_state=seed),
    "LabelSpreading": lambda seed: semi_supervised.LabelSpreading(),
    "LabelPropagation": lambda seed: semi_supervised.LabelPropagation(),
    "LGBMClassifier": lambda seed: _lightgbm(seed),
    "BaggingClassifier": lambda seed: ensemble.BaggingClassifier(random_state=seed),
    "XGBClassifier": lambda seed: xgboost.XGBClassifier(random_state=seed, n_jobs=1),
    "ExtraTreeClassifier": lambda seed: tree.ExtraTreeClassifier(random_state=seed),
    "KNeighborsClassifier": lambda seed: neighbors.KNeighborsClassifier(),
    "SGDClassifier": lambda seed: linear_model.SGDClassifier(random_state=seed),
    "DecisionTreeClassifier": lambda seed: tree.DecisionTreeClassifier(random_state=seed),
    "NuSVC": lambda seed: svm.NuSVC(),
    "CalibratedClassifierCV": lambda seed: calibration.CalibratedClassifierCV(),
    "SVC": lambda seed: svm.SVC(),
    "Perceptron": lambda seed: linear_model.Perceptron(random_state=seed),
    "RidgeClassifier": lambda seed: linear_model.RidgeClassifier(random_state=seed),
    "LinearDiscriminantAnalysis": lambda seed: discriminant_analysis.LinearDiscriminantAnalysis(),
    "RidgeClassifierCV": lambda seed: linear_model.RidgeClassifierCV(),
    "LinearSVC": lambda seed: svm.LinearSVC(random_state=seed),
    "LogisticRegression": lambda seed: linear_model.LogisticRegression(random_state=seed),
    "AdaBoostClassifier": lambda seed: ensemble.AdaBoostClassifier(random_state=seed),
    "QuadraticDiscriminantAnalysis": lambda seed: (
        discriminant_analysis.QuadraticDiscriminantAnalysis()
    ),
    # As PassiveAggressiveClassifier was, which scikit-learn has removed.
    "PassiveAggressiveClassifier": lambda seed: linear_model.SGDClassifier(
        loss="hinge", penalty=None, learning_rate="pa1", eta0=1.0, random_state=seed
    ),
    "GaussianNB": lambda seed: naive_bayes.GaussianNB(),
    "NearestCentroid": lambda seed: neighbors.NearestCentroid(),
    "BernoulliNB": lambda seed: naive_bayes.BernoulliNB(),
    "DummyClassifier": lambda seed: dummy.DummyClassifier(strategy="stratified", random_state=seed),
}


def run(
    features: Features,
    folder: Path,
    *,
    folds: int | None = None,
    select: int = 0,
    seed: int = 0,
    names: tuple[str, ...] = tuple(CLASSIFIERS),
    report: Reporter = silent,
) -> pd.DataFrame:
    """Fits and evaluates each classifier, and writes leaderboard.csv.

    Args:
      features: the images' features.
      folder: folder of the table.
      folds: number of grouped folds of the training split; None for five, or one a group where
        there are fewer; 0 for none.
      select: how many features each training selects by an F-test on its training rows; 0 for all.
      seed: random seed.
      names: some of `CLASSIFIERS`.
      report: receives the stage "leaderboard" with {"done", "total"}.

    Returns:
      A row for each classifier, the best by validation accuracy first: classifier, <split>_<metric>
      (nan where it is not defined), fold_accuracy and its standard deviation, seconds of training,
      and note: why it failed, or its warnings.

    Raises:
      UserError: `select` is more than the number of features, or a class has too few groups for
        the folds.
    """
    if not 0 <= select <= len(features.names):
        raise UserError(
            f"--select is {select}, expected 0 to {len(features.names)}, the number of features."
        )
    fold_rows = [] if folds == 0 else make_folds(features, folds)
    rows = []
    for done, name in enumerate(names):
        report("leaderboard", {"done": done, "total": len(names)})
        scores = _evaluate(name, features, fold_rows, select=select, seed=seed)
        rows.append({"classifier": name, **scores})
    frame = pd.DataFrame(rows).sort_values(
        "validation_accuracy", ascending=False, na_position="last", kind="stable"
    )
    tables.write_csv(frame, folder / "leaderboard.csv")
    return frame.reset_index(drop=True)


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the area under the ROC curve of each class against the others, the classes' mean.

    Args:
      labels: [n] int.
      scores: [n, classes], higher means more probable; or [n] of the second of two classes.
    """
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    areas = [
        metrics.roc_auc_score(labels == label, scores[:, label])
        for label in range(scores.shape[1])
        if 0 < (labels == label).sum() < len(labels)
    ]
    return float(np.mean(areas))


def make_folds(features: Features, n_folds: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns (training rows, validation rows) of each fold of the training split.

    Args:
      features: the images' features.
      n_folds: number of folds; None for five, or one a group where a class has fewer.

    Raises:
      UserError: a class has fewer groups than folds.
    """
    train = features.splits["train"]
    n_groups = min(
        len(set(train.groups[train.labels == label].tolist())) for label in set(train.labels)
    )
    n_folds = n_folds or max(2, min(DEFAULT_FOLDS, n_groups))
    if n_groups < n_folds:
        raise UserError(
            f"--folds is {n_folds}, but a class has {n_groups} training groups only. Give fewer "
            "folds, or 0 for none."
        )
    return cross_validation.grouped_folds(train.labels, train.groups, n_folds)


def _evaluate(
    name: str,
    features: Features,
    folds: list[tuple[np.ndarray, np.ndarray]],
    *,
    select: int,
    seed: int,
) -> dict[str, Any]:
    """Returns the row of one classifier; if it fails, the reason is its note."""
    row: dict[str, Any] = {f"{split}_{metric}": np.nan for split in EVALUATED for metric in METRICS}
    row |= {"fold_accuracy": np.nan, "fold_accuracy_sd": np.nan, "seconds": np.nan, "note": ""}
    train = features.splits["train"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            start = time.perf_counter()
            model = _fit(name, train.values, train.labels, select=select, seed=seed)
            row["seconds"] = time.perf_counter() - start
            for split in EVALUATED:
                row |= _scores(model, features.splits[split], split)
            accuracies = [
                _fold_accuracy(name, train, fold, select=select, seed=seed) for fold in folds
            ]
        except Exception as error:  # each library has its own; one failure must not end the others
            row["note"] = f"failed: {type(error).__name__}: {_first_line(error)}"
            return row
    if accuracies:
        row["fold_accuracy"] = np.mean(accuracies)
        row["fold_accuracy_sd"] = np.std(accuracies, ddof=1)
    row["note"] = "; ".join(sorted({_first_line(warning.message) for warning in caught}))
    return row


def _fit(name: str, values: np.ndarray, labels: np.ndarray, *, select: int, seed: int) -> Pipeline:
    steps = [SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()]
    if select:
        steps.append(SelectKBest(f_classif, k=select))
    return make_pipeline(*steps, CLASSIFIERS[name](seed)).fit(values, labels)


def _scores(model: Pipeline, data: FeatureSplit, split: str) -> dict[str, float]:
    predicted = model.predict(data.values)
    roc_auc = np.nan
    for method in ("predict_proba", "decision_function"):
        if hasattr(model, method):
            roc_auc = auc(data.labels, getattr(model, method)(data.values))
            break
    return {
        f"{split}_accuracy": metrics.accuracy_score(data.labels, predicted),
        f"{split}_balanced_accuracy": metrics.balanced_accuracy_score(data.labels, predicted),
        f"{split}_roc_auc": roc_auc,
        f"{split}_f1": metrics.f1_score(data.labels, predicted, average="weighted"),
    }


def _fold_accuracy(
    name: str,
    data: FeatureSplit,
    fold: tuple[np.ndarray, np.ndarray],
    *,
    select: int,
    seed: int,
) -> float:
    """Returns the accuracy of one fold."""
    train, validation = fold
    model = _fit(name, data.values[train], data.labels[train], select=select, seed=seed)
    return float((model.predict(data.values[validation]) == data.labels[validation]).mean())


def _lightgbm(seed: int) -> Any:
    if importlib.util.find_spec("lightgbm") is None:
        raise UserError("LightGBM is not installed: pip install lightgbm")
    import lightgbm  # an optional dependency

    return lightgbm.LGBMClassifier(random_state=seed, n_jobs=1, verbose=-1)


def _first_line(message: object) -> str:
    return (str(message).strip().splitlines() or [""])[0][:160]
