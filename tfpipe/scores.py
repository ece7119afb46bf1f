"""Scores of probabilities against labels: scikit-learn's, by the field's names."""

import numpy as np
from sklearn import metrics


def average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns average precision: of the positive class for two classes, else the mean over classes.

    Args:
      labels: [n] int.
      probabilities: [n, classes] float.
    """
    classes = probabilities.shape[1]
    wanted = [1] if classes == 2 else [c for c in range(classes) if (labels == c).any()]
    values = [metrics.average_precision_score(labels == c, probabilities[:, c]) for c in wanted]
    return float(np.mean(values))


def balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean recall over the classes that occur."""
    return float(metrics.balanced_accuracy_score(labels, probabilities.argmax(axis=1)))


OBJECTIVES = {"average_precision": average_precision, "balanced_accuracy": balanced_accuracy}


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
    """
    positive = probabilities[:, 1]
    said = positive >= threshold
    commoner = max(float((labels == 0).mean()), float((labels == 1).mean()))
    return {
        "average_precision": average_precision(labels, probabilities),
        "roc_auc": float(metrics.roc_auc_score(labels, positive)),
        "precision": float(metrics.precision_score(labels, said, zero_division=0)),
        "recall": float(metrics.recall_score(labels, said)),
        "f1": float(metrics.f1_score(labels, said)),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(labels, said)),
        "accuracy": float(metrics.accuracy_score(labels, said)),
        "accuracy_of_commoner_class": commoner,
        "examples": len(labels),
        "positives": int(labels.sum()),
    }
