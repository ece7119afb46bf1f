"""Scores of classes that are numbers in order, such as redshifts, and of pictures set apart."""

from typing import Any

import numpy as np
import pandas as pd

from tfpipe.tasks.task import Task


def values_of(classes: tuple[str, ...]) -> np.ndarray:
    """Returns the number [classes] float64 that each class's name is."""
    return np.array([float(name) for name in classes])


def expected(probabilities: np.ndarray, *, classes: tuple[str, ...]) -> np.ndarray:
    """Returns the mean [n] float64 of the classes' numbers by probabilities [n, classes]."""
    return probabilities.astype(np.float64) @ values_of(classes)


def told(
    task: Task, labels: np.ndarray, probabilities: np.ndarray, *, apart: np.ndarray | None = None
) -> dict[str, Any]:
    """Returns the scores that a task's `quantity` and `apart` ask for, {} where it has neither.

    Args:
      task: the question, with the classes that were found.
      labels: [n] int, every one of them known.
      probabilities: [n, classes] float.
      apart: [n] bool, which are set apart; None where nobody knows.

    Returns:
      Metric to value, errors in the classes' own unit; None of what has no examples.
    """
    found = _errors(task, labels, probabilities)
    if not task.scoring.ambiguous or apart is None:
        return found
    right = probabilities.argmax(axis=1) == labels
    found[f"examples_{task.scoring.ambiguous}"] = int(apart.sum())
    found[f"accuracy_{task.scoring.ambiguous}"] = (
        float(right[apart].mean()) if apart.any() else None
    )
    others = ~apart
    found["accuracy_of_others"] = float(right[others].mean()) if others.any() else None
    if task.scoring.ordinal_target and others.any():
        of_others = _errors(task, labels[others], probabilities[others])
        found["mean_absolute_error_of_others"] = of_others["mean_absolute_error"]
    return found


def with_expected(frame: pd.DataFrame, task: Task, probabilities: np.ndarray) -> pd.DataFrame:
    """Returns a table of pictures with a column of what is to be expected, if the task has it.

    Args:
      frame: [n] rows.
      task: the question, with the classes that were found.
      probabilities: [n, classes] float.
    """
    if not task.scoring.ordinal_target:
        return frame
    value = expected(probabilities, classes=task.classes)
    return frame.assign(**{f"expected_{task.scoring.ordinal_target}": value})


def _errors(task: Task, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    if not task.scoring.ordinal_target:
        return {}
    values = values_of(task.classes)
    true = values[labels]
    said = np.abs(values[probabilities.argmax(axis=1)] - true)
    mean = np.abs(expected(probabilities, classes=task.classes) - true)
    always = np.abs(np.median(true) - true)
    return {
        "mean_absolute_error": float(said.mean()),
        "mean_absolute_error_of_expected": float(mean.mean()),
        "mean_absolute_error_of_median": float(always.mean()),
    }
