"""Order of a review: where a version is uncertain, what is novel, what may be mislabelled."""

import warnings
from typing import NamedTuple

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tfpipe.explore import novelty
from tfpipe.explore.novelty import ModelOutputs
from tfpipe.training.cross_validation import grouped_folds

FOLDS = 5
HIGHEST = 5  # images of a photo that decide its place in the queue
REASONS = ("suspected", "uncertain", "new")


class ImageScores(NamedTuple):
    """Scores of some images, by which a queue is put in order.

    Attributes:
      probabilities: [n, classes] float, the version's; nan where there are none.
      uncertainty: [n] float, 1 minus the margin between the two likeliest classes; 0 where there
        are no probabilities.
      novelty: [n] float, squared Mahalanobis distance to the nearest class; or None.
      label_suspicion: [n] float, 1 minus the quality of a suspected label, 0 for other labels; or
        None.
      suggested_label: [n] int, the class that is likeliest by held-out groups; -1 if unknown.
      notes: sentences for the reviewer about these scores.
    """

    probabilities: np.ndarray
    uncertainty: np.ndarray
    novelty: np.ndarray | None
    label_suspicion: np.ndarray | None
    suggested_label: np.ndarray
    notes: tuple[str, ...]


def score_probabilities(probabilities: np.ndarray) -> ImageScores:
    """Returns the scores that follow from the version's probabilities [n, classes] alone.

    These are nan where the version has not predicted yet.
    """
    unknown = np.full(len(probabilities), -1)
    return ImageScores(probabilities, _uncertainty(probabilities), None, None, unknown, ())


def score_images(
    outputs: ModelOutputs,
    held_out: np.ndarray | None,
    *,
    labels: np.ndarray,
    is_training: np.ndarray,
) -> ImageScores:
    """Returns all scores of the packed images.

    Args:
      outputs: the version's, with logits.
      held_out: probabilities by `out_of_fold`.
      labels: [n] int, by the source and the reviewers so far; -1 for none.
      is_training: [n] bool, the labelled images that the version was trained on.
    """
    probabilities = softmax(outputs.logits, axis=1)
    notes: list[str] = []
    distance, suspicion = None, None
    if is_training.sum() >= novelty.MIN_REFERENCE:
        distance = novelty.mahalanobis(outputs.embedding, is_training, labels=labels)
    else:
        notes.append("Too few images are labelled to call others novel.")
    suggested = np.full(len(labels), -1)
    if held_out is None:
        notes.append(
            "There are too few groups or classes to hold some out, so no label can be suspected."
        )
    else:
        suspicion = np.zeros(len(labels))
        known_classes = np.flatnonzero(np.nan_to_num(held_out).any(axis=0))
        # No fold was trained on a class that reviewers have begun: nothing speaks against it.
        rows = np.flatnonzero(np.isfinite(held_out[:, 0]) & np.isin(labels, known_classes))
        if len(np.unique(labels[rows])) > 1:
            suspicion[rows], suggested[rows] = _label_suspicion(labels[rows], held_out[rows])
        notes.append(
            "Labels are suspected by cleanlab, on probabilities of a logistic regression that was "
            "not trained on the image's group. It takes the version's embeddings. The version was "
            "trained on the labels of the training split, wrong ones too, so that some of these "
            "are not noticed."
        )
    uncertainty = _uncertainty(probabilities)
    return ImageScores(probabilities, uncertainty, distance, suspicion, suggested, (*notes,))


def out_of_fold(
    embedding: np.ndarray, *, labels: np.ndarray, groups: np.ndarray
) -> np.ndarray | None:
    """Returns probabilities [n, classes] by models that were not trained on an image's group.

    Args:
      embedding: [n, d] float.
      labels: [n] int, -1 for none.
      groups: [n], which a fold does not divide.

    Returns:
      nan in the rows without a label; None if there are too few groups or classes.
    """
    rows = np.flatnonzero(labels >= 0)
    group_of_row = groups[rows]
    n_groups = len(np.unique(group_of_row))
    n_classes = int(labels.max(initial=0)) + 1
    if n_groups < 2 or len(np.unique(labels[rows])) < 2:
        return None
    probabilities = np.full((len(labels), n_classes), np.nan)
    with warnings.catch_warnings():
        # Of rare classes, and of a fit cut short: neither matters for an order of suspicion.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        folds = grouped_folds(labels[rows], group_of_row, min(FOLDS, n_groups))
        for train, test in folds:
            if len(np.unique(labels[rows[train]])) < 2:
                return None
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
            model.fit(embedding[rows[train]], labels[rows[train]])
            probabilities[rows[test]] = 0.0
            place = np.ix_(rows[test], model.classes_)
            probabilities[place] = model.predict_proba(embedding[rows[test]])
    return probabilities


def order(lists: list[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray]:
    """Returns what to review first: the first of each list, then the second of each, ...

    Args:
      lists: [n] float each, the highest first; a value of 0 is not in the list; None for no list.

    Returns:
      [n] int, rows; those in no list last. [n] int, the list that each row came from, -1 for none.
    """
    count = len(next(values for values in lists if values is not None))
    places = np.full((len(lists), count), np.inf)
    for i, values in enumerate(lists):
        if values is not None:
            rows = np.argsort(-values, kind="stable")
            rows = rows[values[rows] > 0]
            places[i, rows] = np.arange(len(rows))
    best = places.argmin(axis=0)
    reason = np.where(np.isfinite(places.min(axis=0)), best, -1)
    return np.lexsort((best, places.min(axis=0))), reason


def mean_of_groups(
    values: np.ndarray | None, groups: np.ndarray, names: list[str]
) -> np.ndarray | None:
    """Returns the mean of the `HIGHEST` values [n] of each group; 0 for a group without any."""
    if values is None:
        return None
    means = {
        name: np.sort(values[groups == name])[-HIGHEST:].mean() for name in {*groups} & {*names}
    }
    return np.array([means.get(name, 0.0) for name in names])


def _uncertainty(probabilities: np.ndarray) -> np.ndarray:
    """Returns 1 minus the margin between the two likeliest classes [n], 0 for nan."""
    ordered = np.sort(probabilities, axis=1)
    return np.nan_to_num(1 - (ordered[:, -1] - ordered[:, -2]))


def _label_suspicion(labels: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns 1 minus the quality of each suspected label [n], else 0, and the likeliest class."""
    present, places = np.unique(labels, return_inverse=True)
    shares = held_out[:, present]
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    # In this process: forked ones would inherit TensorFlow's threads.
    issues = find_label_issues(places, shares, n_jobs=1)
    suspicion = 1 - get_label_quality_scores(places, shares)
    return np.where(issues, np.maximum(suspicion, 1e-9), 0.0), present[shares.argmax(axis=1)]
