"""Metrics of classifiers: probabilities against labels, by scikit-learn."""

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
    """Returns the mean, over the classes that occur, of each class's average precision."""
    values = [
        metrics.average_precision_score(labels == c, probabilities[:, c]) for c in np.unique(labels)
    ]
    return float(np.mean(values))


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Returns the mean recall over the classes that occur, of labels and predictions, [n] int."""
    # Not balanced_accuracy_score, which warns of each predicted class that does not occur.
    return float(
        metrics.recall_score(labels, predictions, labels=np.unique(labels), average="macro")
    )


def macro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Returns the mean F1 over the classes that occur, of labels and predictions, [n] int."""
    occur = np.unique(labels)
    score = metrics.f1_score(labels, predictions, labels=occur, average="macro", zero_division=0)
    return float(score)


OF_PROBABILITIES = {
    "average_precision": average_precision,
    "macro_average_precision": macro_average_precision,
}
OF_PREDICTIONS = {"balanced_accuracy": balanced_accuracy, "macro_f1": macro_f1}
OBJECTIVES = (*OF_PROBABILITIES, *OF_PREDICTIONS)


def objective(
    name: str, labels: np.ndarray, probabilities: np.ndarray, predictions: np.ndarray
) -> float:
    """Returns one of `OBJECTIVES`.

    Args:
      name: of the objective.
      labels: [n] int.
      probabilities: [n, classes] float.
      predictions: [n] int, by the decision rule.
    """
    if name in OF_PREDICTIONS:
        return OF_PREDICTIONS[name](labels, predictions)
    return OF_PROBABILITIES[name](labels, probabilities)


def thresholds(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Returns two classes' threshold "decision", by `best_threshold`; none for more classes."""
    if probabilities.shape[1] != 2:
        return {}
    return {"decision": best_threshold(labels, probabilities[:, 1])}


def predict_labels(probabilities: np.ndarray, *, thresholds: dict[str, float]) -> np.ndarray:
    """Returns predicted labels [n] int by a version's decision rule.

    Everything that names a class goes by it: scores, `predict`, the exported model, :explain,
    abstention, drift and the comparison of versions.

    Args:
      probabilities: [n, classes] float, compared as float32, in which they are stored.
      thresholds: the version's; with "decision", the second of two classes is named from that
        probability on. Else the most probable class is named.
    """
    probs = np.asarray(probabilities, np.float32)
    if "decision" in thresholds and probs.shape[1] == 2:
        return (probs[:, 1] >= np.float32(thresholds["decision"])).astype(int)
    return probs.argmax(axis=1)


def classification_metrics(
    labels: np.ndarray, probabilities: np.ndarray, *, thresholds: dict[str, float]
) -> dict[str, Any]:
    """Returns the metrics of a classifier with any number of classes.

    Args:
      labels: [n] int, without unlabelled examples.
      probabilities: [n, classes] float.
      thresholds: "decision" for two classes.
    """
    if probabilities.shape[1] == 2:
        return binary_metrics(labels, probabilities, threshold=thresholds["decision"])
    return multiclass_metrics(labels, probabilities)


def class_metrics(
    labels: np.ndarray, predictions: np.ndarray, *, classes: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Returns class -> precision, recall, f1 and support of labels and predictions, [n] int each.

    A metric that is not defined is None: the recall of a class that does not occur, the precision
    of a class that is never predicted, the F1 of a class of which both is true.
    """
    by_class = {}
    for c, name in enumerate(classes):
        correct = int(((labels == c) & (predictions == c)).sum())
        support, predicted = int((labels == c).sum()), int((predictions == c).sum())
        by_class[name] = {
            "precision": correct / predicted if predicted else None,
            "recall": correct / support if support else None,
            "f1": 2 * correct / (support + predicted) if support + predicted else None,
            "support": support,
        }
    return by_class


def best_threshold(labels: np.ndarray, positive: np.ndarray) -> float:
    """Returns the threshold with the highest F1, midway between the two nearest probabilities.

    Args:
      labels: [n] int, 1 for the positive class.
      positive: [n] float, its probability.

    Returns:
      A number that float32 holds, so that it divides stored probabilities as it divides these.
    """
    positive = np.asarray(positive, np.float32)
    precision, recall, thresholds = metrics.precision_recall_curve(labels, positive)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(f1[:-1]))
    below = thresholds[best - 1] if best else np.float32(0)
    middle = np.float32((float(thresholds[best]) + float(below)) / 2)
    # Between neighbouring float32 numbers there is none.
    return float(middle if middle > below else thresholds[best])


def binary_metrics(
    labels: np.ndarray, probabilities: np.ndarray, *, threshold: float
) -> dict[str, Any]:
    """Returns the metrics of two classes, at a threshold and over all thresholds.

    Args:
      labels: [n] int.
      probabilities: [n, 2] float.
      threshold: the positive class is predicted at or above it.

    Returns:
      Metric -> value, with the accuracy of always predicting the commoner class for comparison. A
      metric that needs both classes is None where one is missing.
    """
    positive = probabilities[:, 1]
    predictions = predict_labels(probabilities, thresholds={"decision": threshold})
    commoner = max(float((labels == 0).mean()), float((labels == 1).mean()))
    both = len(np.unique(labels)) == 2
    return {
        "average_precision": average_precision(labels, probabilities) if both else None,
        "roc_auc": float(metrics.roc_auc_score(labels, positive)) if both else None,
        "precision": float(metrics.precision_score(labels, predictions, zero_division=0)),
        "recall": float(metrics.recall_score(labels, predictions, zero_division=0)),
        "f1": float(metrics.f1_score(labels, predictions, zero_division=0)),
        "balanced_accuracy": balanced_accuracy(labels, predictions),
        "accuracy": float(metrics.accuracy_score(labels, predictions)),
        "accuracy_of_commoner_class": commoner,
        "examples": len(labels),
        "positives": int(labels.sum()),
    }


def multiclass_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Returns the metrics of more than two classes; means are over the classes that occur.

    The area under the ROC curve is None where only one class occurs.
    """
    predictions, occur = probabilities.argmax(axis=1), np.unique(labels)
    every = np.arange(probabilities.shape[1])
    areas = [
        metrics.roc_auc_score(labels == c, probabilities[:, c]) for c in occur if len(occur) > 1
    ]
    return {
        "accuracy": float((predictions == labels).mean()),
        "accuracy_of_commonest_class": float(np.bincount(labels).max() / len(labels)),
        "balanced_accuracy": balanced_accuracy(labels, predictions),
        "macro_f1": macro_f1(labels, predictions),
        "macro_average_precision": macro_average_precision(labels, probabilities),
        "macro_roc_auc": float(np.mean(areas)) if areas else None,
        "log_loss": float(metrics.log_loss(labels, probabilities, labels=every)),
        "examples": len(labels),
        "classes_that_occur": len(occur),
    }
