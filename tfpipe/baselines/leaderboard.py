"""Many classifiers on one table of features: seed 004's leaderboard, each with its spread.

Every classifier learns from the training split with the values that its library gives it, after
empty cells have become the median and each feature mean 0 and deviation 1. It is judged on
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
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tfpipe.base import tables
from tfpipe.base.errors import UserError
from tfpipe.baselines.feature_tables import Features, Part
from tfpipe.training.cross_validation import grouped_folds

METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "f1")
JUDGED = ("validation", "test")
USUAL_FOLDS = 5

# name, as the seed's table has it -> seed -> classifier
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
    # As scikit-learn's own PassiveAggressiveClassifier was, which it has given up.
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
    tell: Callable[[str, dict[str, Any]], None] = lambda stage, facts: None,
) -> pd.DataFrame:
    """Trains and judges each classifier, and writes leaderboard.csv.

    Args:
      features: the pictures.
      folder: for the table.
      folds: of the training split, by whole groups; five, or one a group where these are few,
        where nobody says; 0 for none.
      select: how many features each training keeps, those that tell its classes best by an F-test;
        0 for all.
      seed: of everything random.
      names: some of `CLASSIFIERS`.
      tell: told ("leaderboard", how many are done).

    Returns:
      A row for each classifier, the best by validation accuracy first: classifier, <split>_<metric>
      (nan where it cannot be told), fold_accuracy and its deviation, seconds of training, and note:
      why it failed, or what it warned of.

    Raises:
      UserError: more features are wanted than there are, or a class has too few groups for folds.
    """
    if not 0 <= select <= len(features.names):
        raise UserError(
            f"--select is {select}, expected 0 to {len(features.names)}, the features there are."
        )
    parts = [] if folds == 0 else _folds(features, folds)
    rows = []
    for done, name in enumerate(names):
        tell("leaderboard", {"done": done, "total": len(names)})
        rows.append({"classifier": name, **_judged(name, features, parts, select, seed)})
    frame = pd.DataFrame(rows).sort_values(
        "validation_accuracy", ascending=False, na_position="last", kind="stable"
    )
    tables.write_csv(frame, folder / "leaderboard.csv")
    return frame.reset_index(drop=True)


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the area under the ROC curve of each class against the others, the classes' mean.

    Args:
      labels: [n] int.
      scores: [n, classes], the higher the likelier; or [n] of the second of two classes.
    """
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    return float(
        np.mean(
            [
                metrics.roc_auc_score(labels == label, scores[:, label])
                for label in range(scores.shape[1])
                if 0 < (labels == label).sum() < len(labels)
            ]
        )
    )


def _judged(name: str, features: Features, parts, select: int, seed: int) -> dict[str, Any]:
    """Returns the row of one classifier; what went wrong is its note."""
    row: dict[str, Any] = {f"{split}_{metric}": np.nan for split in JUDGED for metric in METRICS}
    row |= {"fold_accuracy": np.nan, "fold_accuracy_sd": np.nan, "seconds": np.nan, "note": ""}
    learnt = features.parts["train"]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            began = time.perf_counter()
            model = _fitted(name, learnt.values, learnt.labels, select, seed)
            row["seconds"] = time.perf_counter() - began
            for split in JUDGED:
                row |= _scores(model, features.parts[split], split)
            found = [
                _right(name, learnt, train, test, select=select, seed=seed) for train, test in parts
            ]
        except Exception as error:  # each library has its own; one failure must not end the others
            row["note"] = f"failed: {type(error).__name__}: {_first_line(error)}"
            return row
    if found:
        row |= {"fold_accuracy": np.mean(found), "fold_accuracy_sd": np.std(found, ddof=1)}
    row["note"] = "; ".join(sorted({_first_line(one.message) for one in warned}))
    return row


def _fitted(name: str, values: np.ndarray, labels: np.ndarray, select: int, seed: int):
    steps = [SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()]
    steps += [SelectKBest(f_classif, k=select)] if select else []
    return make_pipeline(*steps, CLASSIFIERS[name](seed)).fit(values, labels)


def _scores(model, part: Part, split: str) -> dict[str, float]:
    said = model.predict(part.values)
    asked = next((w for w in ("predict_proba", "decision_function") if hasattr(model, w)), None)
    told = auc(part.labels, getattr(model, asked)(part.values)) if asked else np.nan
    return {
        f"{split}_accuracy": metrics.accuracy_score(part.labels, said),
        f"{split}_balanced_accuracy": metrics.balanced_accuracy_score(part.labels, said),
        f"{split}_roc_auc": told,
        f"{split}_f1": metrics.f1_score(part.labels, said, average="weighted"),
    }


def _right(name: str, learnt: Part, train, test, *, select: int, seed: int) -> float:
    """Returns the accuracy of one fold."""
    model = _fitted(name, learnt.values[train], learnt.labels[train], select, seed)
    return float((model.predict(learnt.values[test]) == learnt.labels[test]).mean())


def _folds(features: Features, count: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns (rows learnt from, rows judged) of each fold of the training split."""
    learnt = features.parts["train"]
    groups = [len(set(learnt.groups[learnt.labels == c].tolist())) for c in set(learnt.labels)]
    count = count or max(2, min(USUAL_FOLDS, *groups))
    if min(groups) < count:
        raise UserError(
            f"--folds is {count}, but a class has {min(groups)} training groups only. Give fewer "
            "folds, or 0 for none."
        )
    return grouped_folds(learnt.labels, learnt.groups, count)


def _lightgbm(seed: int):
    if importlib.util.find_spec("lightgbm") is None:
        raise UserError("LightGBM is not installed: pip install lightgbm")
    import lightgbm  # an extra that few have

    return lightgbm.LGBMClassifier(random_state=seed, n_jobs=1, verbose=-1)


def _first_line(said) -> str:
    return (str(said).strip().splitlines() or [""])[0][:160]
