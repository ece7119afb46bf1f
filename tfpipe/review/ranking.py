"""What helps most to look at: where a version is unsure, what is new, what may be mislabelled."""

import warnings
from typing import NamedTuple

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tfpipe.explore import novelty
from tfpipe.explore.novelty import Seen

FOLDS = 5
HIGHEST = 5  # pictures of a file that its place in the queue is by
REASONS = ("suspected", "uncertain", "new")


class Told(NamedTuple):
    """What is known of some pictures.

    Attributes:
      likely: [n, classes] float, the version's probabilities; nan where it was not asked.
      uncertain: [n] float, 1 less the margin between the two likeliest classes; 0 where the version
        was not asked.
      new: [n] float, squared Mahalanobis distance to the nearest class; or None.
      suspected: [n] float, how little a label is believed, 0 where it is not suspected; or None.
      instead: [n] int, the class that held-out groups make likeliest, -1 where it is not known.
      notes: a sentence for each thing a reviewer should know of these.
    """

    likely: np.ndarray
    uncertain: np.ndarray
    new: np.ndarray | None
    suspected: np.ndarray | None
    instead: np.ndarray
    notes: tuple[str, ...]


def first(likely: np.ndarray) -> Told:
    """Returns what there is to know of pictures by the version's probabilities [n, classes] only.

    These are nan where the version has not been asked yet.
    """
    return Told(likely, _uncertain(likely), None, None, np.full(len(likely), -1), ())


def told(seen: Seen, held_out: np.ndarray | None, *, labels: np.ndarray, known: np.ndarray) -> Told:
    """Returns what there is to know of all packed pictures.

    Args:
      seen: what the version makes of them.
      held_out: by `out_of_fold`.
      labels: [n] int, by the source and the reviewers so far; -1 for none.
      known: [n] bool, the labelled ones that the version has learnt from.
    """
    likely = softmax(seen.logits, axis=1)
    notes, new, suspected = [], None, None
    if known.sum() >= novelty.LEAST_KNOWN:
        new = novelty.mahalanobis(seen.embedding, known, labels=labels)
    else:
        notes.append("Too few pictures are labelled to say of others that they are new.")
    instead = np.full(len(labels), -1)
    if held_out is None:
        notes.append(
            "There are too few groups or classes to hold some out, so no label can be suspected."
        )
    else:
        suspected = np.zeros(len(labels))
        learnt = np.flatnonzero(np.nan_to_num(held_out).any(axis=0))
        # A class that reviewers have begun was learnt by no fold, so nothing speaks against it.
        rows = np.flatnonzero(np.isfinite(held_out[:, 0]) & np.isin(labels, learnt))
        if len(np.unique(labels[rows])) > 1:
            suspected[rows], instead[rows] = _suspicion(labels[rows], held_out[rows])
        notes.append(
            "Labels are suspected by cleanlab, on probabilities of a logistic regression that "
            "never saw the picture's group. It learns from the version's embeddings, and the "
            "version has learnt from the training split's labels, wrong ones too, so that some of "
            "these go unnoticed."
        )
    return Told(likely, _uncertain(likely), new, suspected, instead, (*notes,))


def out_of_fold(
    embedding: np.ndarray, *, labels: np.ndarray, groups: np.ndarray
) -> np.ndarray | None:
    """Returns probabilities [n, classes] by models that never saw a picture's group.

    Args:
      embedding: [n, d] float.
      labels: [n] int, -1 for none.
      groups: [n] what a fold does not part.

    Returns:
      nan in the rows without a label; None where groups or classes are too few.
    """
    rows = np.flatnonzero(labels >= 0)
    own, count = groups[rows], len(np.unique(groups[rows]))
    classes = int(labels.max(initial=0)) + 1
    if count < 2 or len(np.unique(labels[rows])) < 2:
        return None
    found = np.full((len(labels), classes), np.nan)
    with warnings.catch_warnings():
        # Of rare classes, and of a fit cut short: an order of suspicion needs neither.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        folds = StratifiedGroupKFold(min(FOLDS, count), shuffle=True, random_state=0)
        for learnt, judged in folds.split(rows, labels[rows], own):
            if len(np.unique(labels[rows[learnt]])) < 2:
                return None
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
            model.fit(embedding[rows[learnt]], labels[rows[learnt]])
            found[rows[judged]] = 0.0
            place = np.ix_(rows[judged], model.classes_)
            found[place] = model.predict_proba(embedding[rows[judged]])
    return found


def order(lists: list[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray]:
    """Returns what to look at first: the first of each list, then the second of each, ...

    Args:
      lists: [n] float each, higher is more; what is 0 does not stand in it; None for no list.

    Returns:
      [n] int, rows; those in no list last. [n] int, the list that each row came from, -1 for none.
    """
    count = len(next(one for one in lists if one is not None))
    places = np.full((len(lists), count), np.inf)
    for i, values in enumerate(lists):
        if values is not None:
            rows = np.argsort(-values, kind="stable")
            rows = rows[values[rows] > 0]
            places[i, rows] = np.arange(len(rows))
    best = places.argmin(axis=0)
    reason = np.where(np.isfinite(places.min(axis=0)), best, -1)
    return np.lexsort((best, places.min(axis=0))), reason


def of_groups(values: np.ndarray | None, groups: np.ndarray, names: list[str]) -> np.ndarray | None:
    """Returns the mean of the highest few values [n] of each group; 0 for one without any."""
    if values is None:
        return None
    means = {
        name: np.sort(values[groups == name])[-HIGHEST:].mean() for name in {*groups} & {*names}
    }
    return np.array([means.get(name, 0.0) for name in names])


def _uncertain(likely: np.ndarray) -> np.ndarray:
    """Returns 1 less the margin between the two likeliest classes [n], 0 where there is none."""
    ordered = np.sort(likely, axis=1)
    return np.nan_to_num(1 - (ordered[:, -1] - ordered[:, -2]))


def _suspicion(labels: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how little each label [n] is believed, 0 where it is, and the class instead."""
    present, places = np.unique(labels, return_inverse=True)
    shares = held_out[:, present]
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    # In this process: forked ones would inherit TensorFlow's threads.
    issues = find_label_issues(places, shares, n_jobs=1)
    doubt = 1 - get_label_quality_scores(places, shares)
    return np.where(issues, np.maximum(doubt, 1e-9), 0.0), present[shares.argmax(axis=1)]
