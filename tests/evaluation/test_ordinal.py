"""Classes that are numbers, and pictures set apart."""

import dataclasses

import four_class_task
import numpy as np
import pandas as pd
import pytest

from tfpipe.evaluation import ordinal
from tfpipe.tasks.task import Scoring

SCORING = Scoring(ordinal_target="z")
TASK = dataclasses.replace(four_class_task.TASK, classes=("5.0", "5.5", "7.0"), scoring=SCORING)
LIKELY = np.array([[0.6, 0.4, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
LABELS = np.array([0, 1, 1, 2])


def test_errors_are_in_the_unit_of_the_classes():
    told = ordinal.metrics(TASK, LABELS, LIKELY, predicted=LIKELY.argmax(axis=1))
    # By hand: the classes named are 5, 5, 7, 7; what is expected is 5.2, 5.25, 6.15, 7.
    assert told["mean_absolute_error"] == pytest.approx((0 + 0.5 + 1.5 + 0) / 4)
    assert told["mean_absolute_error_of_expected"] == pytest.approx((0.2 + 0.25 + 0.65 + 0) / 4)
    assert told["mean_absolute_error_of_median"] == pytest.approx((0.5 + 0 + 0 + 1.5) / 4)


def test_pictures_set_apart_are_counted_and_scored_by_themselves():
    task = dataclasses.replace(TASK, scoring=Scoring(ordinal_target="z", ambiguous="no_signal"))
    predicted, ambiguous = LIKELY.argmax(axis=1), np.array([False, True, True, False])
    told = ordinal.metrics(task, LABELS, LIKELY, predicted=predicted, is_ambiguous=ambiguous)
    assert (told["examples_no_signal"], told["accuracy_no_signal"]) == (2, 0)
    assert (told["accuracy_of_others"], told["mean_absolute_error_of_others"]) == (1, 0)
    none = ordinal.metrics(
        task, LABELS, LIKELY, predicted=predicted, is_ambiguous=np.zeros(4, bool)
    )
    assert (none["examples_no_signal"], none["accuracy_no_signal"]) == (0, None)


def test_other_tasks_are_told_nothing():
    assert (
        ordinal.metrics(four_class_task.TASK, LABELS, LIKELY, predicted=LIKELY.argmax(axis=1)) == {}
    )
    frame = pd.DataFrame({"label": LABELS})
    assert list(ordinal.with_expected(frame, four_class_task.TASK, LIKELY)) == ["label"]


def test_tables_have_what_is_expected():
    frame = ordinal.with_expected(pd.DataFrame({"label": LABELS}), TASK, LIKELY)
    assert frame["expected_z"].tolist() == pytest.approx([5.2, 5.25, 6.15, 7])
