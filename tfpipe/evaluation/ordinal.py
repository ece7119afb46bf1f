"""Metrics of ordinal classes, such as redshifts, and of ambiguous examples."""

from typing import Any

import numpy as np
import pandas as pd

from tfpipe.tasks.task import Task


def values_of(classes: tuple[str, ...]) -> np.ndarray:
    """Returns the number [classes] float64 that each class's name stands for."""
    return np.array([float(name) for name in classes])


def expected(probabilities: np.ndarray, *, classes: tuple[str, ...]) -> np.ndarray:
    """Returns the mean [n] float64 of the classes' numbers by probabilities [n, classes]."""
    return probabilities.astype(np.float64) @ values_of(classes)


def metrics(
    task: Task,
    labels: np.ndarray,
    probabilities: np.ndarray,
    *,
    predicted: np.ndarray,
    is_ambiguous: np.ndarray | None = None,
) -> dict[str, Any]:
    """Returns the metrics of a task's `ordinal_target` and `ambiguous`; {} where it has neither.

    Args:
      task: the task, with the classes of its records.
      labels: [n] int, without unlabelled examples.
      probabilities: [n, classes] float.
      predicted: [n] int, by the decision rule.
      is_ambiguous: [n] bool; None where it is not marked.

    Returns:
      Metric -> value, errors in the unit of the classes; None where there are no examples.
    """
    values = _errors(task, labels, probabilities, predicted)
    if not task.scoring.ambiguous or is_ambiguous is None:
        return values
    is_correct = predicted == labels
    values[f"examples_{task.scoring.ambiguous}"] = int(is_ambiguous.sum())
    values[f"accuracy_{task.scoring.ambiguous}"] = (
        float(is_correct[is_ambiguous].mean()) if is_ambiguous.any() else None
    )
    others = ~is_ambiguous
    values["accuracy_of_others"] = float(is_correct[others].mean()) if others.any() else None
    if task.scoring.ordinal_target and others.any():
        of_others = _errors(task, labels[others], probabilities[others], predicted[others])
        values["mean_absolute_error_of_others"] = of_others["mean_absolute_error"]
    return values


def with_expected(frame: pd.DataFrame, task: Task, probabilities: np.ndarray) -> pd.DataFrame:
    """Returns a table with a column of the expected value, if the task has an ordinal target.

    Args:
      frame: [n] rows.
      task: the task, with the classes of its records.
      probabilities: [n, classes] float.
    """
    if not task.scoring.ordinal_target:
        return frame
    value = expected(probabilities, classes=task.classes)
    return frame.assign(**{f"expected_{task.scoring.ordinal_target}": value})


def _errors(
    task: Task, labels: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray
) -> dict[str, Any]:
    if not task.scoring.ordinal_target:
        return {}
    values = values_of(task.classes)
    true = values[labels]
    of_predicted = np.abs(values[predicted] - true)
    mean = np.abs(expected(probabilities, classes=task.classes) - true)
    median = np.abs(np.median(true) - true)
    return {
        "mean_absolute_error": float(of_predicted.mean()),
        "mean_absolute_error_of_expected": float(mean.mean()),
        "mean_absolute_error_of_median": float(median.mean()),
    }
