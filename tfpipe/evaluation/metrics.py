"""Scores of probabilities against labels: scikit-learn's, by the field's names."""

from typing import Any

import numpy as np
from sklearn import metrics


def average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns average precision: of the positive class for two classes, else the mean over classes.

    Args:
      labels: [n] int.
      probabilities: [n, classes] float.
    """
    if probabilities.shape[1] != 2:
        return macro_average_precision(labels, probabilities)
    return float(metrics.average_precision_score(labels == 1, probabilities[:, 1]))


def macro_average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean, over the classes that occur, of each one's average precision."""
    values = [
        metrics.average_precision_score(labels == c, probabilities[:, c]) for c in np.unique(labels)
    ]
    return float(np.mean(values))


def balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean recall over the classes that occur."""
    return _mean_recall(labels, probabilities.argmax(axis=1))


def macro_f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean F1 over the classes that occur."""
    said = probabilities.argmax(axis=1)
    averaged = {"average": "macro", "zero_division": 0}
    return float(metrics.f1_score(labels, said, labels=np.unique(labels), **averaged))


OBJECTIVES = {
    "average_precision": average_precision,
    "macro_average_precision": macro_average_precision,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
}


def thresholds(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Returns two classes' threshold "decision", by `best_threshold`; none for more classes."""
    if probabilities.shape[1] != 2:
        return {}
    return {"decision": best_threshold(labels, probabilities[:, 1])}


def said(probabilities: np.ndarray, *, thresholds: dict[str, float]) -> np.ndarray:
    """Returns the class said [n] int: by the threshold "decision", else the likeliest."""
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= thresholds["decision"]).astype(int)
    return probabilities.argmax(axis=1)


def of_classes(
    labels: np.ndarray, probabilities: np.ndarray, *, thresholds: dict[str, float]
) -> dict[str, Any]:
    """Returns the scores of a classifier with any number of classes.

    Args:
      labels: [n] int, every one of them known.
      probabilities: [n, classes] float.
      thresholds: "decision" for two classes.
    """
    if probabilities.shape[1] == 2:
        return of_two_classes(labels, probabilities, threshold=thresholds["decision"])
    return _of_many_classes(labels, probabilities)


def by_class(
    labels: np.ndarray, said: np.ndarray, *, classes: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Returns class -> precision, recall, f1 and support of labels [n] int and classes said [n].

    What is not defined is None: the recall of a class that does not occur, the precision of one
    that was never said, the F1 of one that neither occurs nor was said.
    """
    found = {}
    for c, name in enumerate(classes):
        right = int(((labels == c) & (said == c)).sum())
        support, times = int((labels == c).sum()), int((said == c).sum())
        found[name] = {
            "precision": right / times if times else None,
            "recall": right / support if support else None,
            "f1": 2 * right / (support + times) if support + times else None,
            "support": support,
        }
    return found


def best_threshold(labels: np.ndarray, positive: np.ndarray) -> float:
    """Returns the threshold with the highest F1, midway between the two probabilities it parts.

    Args:
      labels: [n] int, 1 for the positive class.
      positive: [n] float, its probability.
    """
    precision, recall, thresholds = metrics.precision_recall_curve(labels, positive)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(f1[:-1]))
    below = thresholds[best - 1] if best else 0.0
    return float((thresholds[best] + below) / 2)


def of_two_classes(labels: np.ndarray, probabilities: np.ndarray, *, threshold: float) -> dict:
    """Returns the scores of a two-class task at a threshold, and those that need none.

    Args:
      labels: [n] int.
      probabilities: [n, 2] float.
      threshold: at or above it the positive class is said.

    Returns:
      Metric to value; accuracy stands beside the accuracy of always saying the commoner class.
      What needs both classes is None where one is missing.
    """
    positive = probabilities[:, 1]
    said = positive >= threshold
    commoner = max(float((labels == 0).mean()), float((labels == 1).mean()))
    both = len(np.unique(labels)) == 2
    return {
        "average_precision": average_precision(labels, probabilities) if both else None,
        "roc_auc": float(metrics.roc_auc_score(labels, positive)) if both else None,
        "precision": float(metrics.precision_score(labels, said, zero_division=0)),
        "recall": float(metrics.recall_score(labels, said, zero_division=0)),
        "f1": float(metrics.f1_score(labels, said, zero_division=0)),
        "balanced_accuracy": _mean_recall(labels, said),
        "accuracy": float(metrics.accuracy_score(labels, said)),
        "accuracy_of_commoner_class": commoner,
        "examples": len(labels),
        "positives": int(labels.sum()),
    }


def _of_many_classes(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Returns the scores of more than two classes; means are over the classes that occur.

    The area under a class's ROC curve wants other classes beside it, so one class alone has none.
    """
    said, occur = probabilities.argmax(axis=1), np.unique(labels)
    every = np.arange(probabilities.shape[1])
    areas = [
        metrics.roc_auc_score(labels == c, probabilities[:, c]) for c in occur if len(occur) > 1
    ]
    return {
        "accuracy": float((said == labels).mean()),
        "accuracy_of_commonest_class": float(np.bincount(labels).max() / len(labels)),
        "balanced_accuracy": balanced_accuracy(labels, probabilities),
        "macro_f1": macro_f1(labels, probabilities),
        "macro_average_precision": macro_average_precision(labels, probabilities),
        "macro_roc_auc": float(np.mean(areas)) if areas else None,
        "log_loss": float(metrics.log_loss(labels, probabilities, labels=every)),
        "examples": len(labels),
        "classes_that_occur": len(occur),
    }


def _mean_recall(labels: np.ndarray, said: np.ndarray) -> float:
    """Returns the mean recall over the classes that occur, of labels and classes said, [n] int."""
    # Not balanced_accuracy_score, which warns of each class that is said and does not occur.
    return float(metrics.recall_score(labels, said, labels=np.unique(labels), average="macro"))
