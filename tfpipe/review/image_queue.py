"""Image queue: the images to review, in their order, and the decisions about each."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from tfpipe.base import html
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.evaluation import metrics
from tfpipe.explore import embeddings
from tfpipe.review import ranking
from tfpipe.review.decision_desk import DecisionDesk
from tfpipe.review.ranking import ImageScores
from tfpipe.review.records import ReviewRecords
from tfpipe.tasks.annotations.decisions import Decision

MAX_IMAGES = 5_000  # of a queue; once these are decided about, a new start shows others
ACTIONS = ("accept", "label", "dubious")


class _Order(NamedTuple):
    """Scores and order of the images, exchanged at once, as other threads may be reading them."""

    scores: ImageScores
    rows: list[int]
    reason: np.ndarray


class ImageQueue:
    """Images that are predicted one by one, as a queue."""

    kind: Literal["images"] = "images"
    is_blind = False

    def __init__(self, records: ReviewRecords, desk: DecisionDesk):
        self.desk, self.progress, self.n_rankings = desk, "", 0
        self.data = records.data
        self.labels = tuple(records.data.manifest.classes)
        self.notes: tuple[str, ...] = ()
        self._records = records
        self._thumbnails: dict[int, bytes] = {}
        self._lock = threading.Lock()
        frame = records.frame
        self._key, self._split = frame["key"].tolist(), frame["split"].tolist()
        self._source = [self.labels[i] if i >= 0 else "" for i in frame["label"]]
        self._row = {key: row for row, key in enumerate(self._key)}
        self.rank(records.scores)

    def rank(self, scores: ImageScores) -> None:
        """Puts the images in order by new scores."""
        rows, reason = ranking.order([scores.label_suspicion, scores.uncertainty, scores.novelty])
        self._order = _Order(scores, rows[:MAX_IMAGES].tolist(), reason)
        self.notes = (*self._records.notes, *scores.notes)
        if len(rows) > MAX_IMAGES:
            self.notes += (f"These are the first {MAX_IMAGES:,} of {len(rows):,} images.",)
        self.n_rankings += 1

    def queue(self) -> list[dict[str, Any]]:
        """Returns the images, the most helpful first, each as it is decided now."""
        current = self.desk.log().current
        return [self._entry(row, current) for row in self._order.rows]

    def table(self) -> pd.DataFrame:
        """Returns a row for each image, in order: its labels, scores and probabilities.

        Its index is the row of the image among all. `label` is that of a reviewer, else of the
        source. Scores that there are not yet are nan.
        """
        order, rows = self._order, np.array(self._order.rows, int)
        scores, frame = order.scores, self._records.frame.iloc[self._order.rows]
        missing = np.full(len(self._key), np.nan)
        entries = self.queue()
        columns = {
            "rank": np.arange(1, len(rows) + 1),
            "key": [entry["key"] for entry in entries],
            "split": [entry["split"] for entry in entries],
            "group": frame["group"].tolist(),
            "label": [
                entry["label"] if entry["who"] or entry["source"] else "" for entry in entries
            ],
            "state": [entry["state"] for entry in entries],
            "predicted": [entry["predicted"] for entry in entries],
            "reason": [entry["reason"] for entry in entries],
            "uncertainty": scores.uncertainty[rows],
            "novelty": (missing if scores.novelty is None else scores.novelty)[rows],
            "label_quality": 1
            - (missing if scores.label_suspicion is None else scores.label_suspicion)[rows],
            "suggested_label": [
                self.labels[i] if i >= 0 else "" for i in scores.suggested_label[rows]
            ],
        }
        columns |= {
            f"p_{name}": scores.probabilities[rows, i] for i, name in enumerate(self.labels)
        }
        return pd.DataFrame(columns, index=rows)

    def changed(self, lines: Sequence[Decision]) -> list[dict[str, Any]]:
        """Returns the images that decisions are about, each as it is decided now."""
        current, keys = self.desk.log().current, {line.what for line in lines if not line.is_span}
        return [self._entry(self._row[key], current) for key in sorted(keys & self._row.keys())]

    def thumbnails(self, rows: list[int]) -> dict[int, str]:
        """Returns row -> a small image as a data address.

        Raises:
          UserError: there is no such row.
        """
        self._check(rows)
        with self._lock:
            missing = [row for row in rows if row not in self._thumbnails]
            if missing:
                self._thumbnails |= embeddings.thumbnails(self._records.data, missing)
        return {row: html.data_uri(self._thumbnails[row], kind="image/jpeg") for row in rows}

    def decide(self, row: int, *, who: str, action: str, label: str) -> dict[str, Any]:
        """Saves a decision about an image, and returns the image as it is decided now.

        "other" is the earlier decision of another reviewer.

        Raises:
          UserError: there is no such image, class or action, or it could not be saved.
        """
        self._check([row])
        choose(action, ACTIONS, noun="action on an image")
        choose(label, self.labels, noun="class")
        key = self._key[row]
        other = self.desk.other_decision(who, ("", key))
        # The file is written for people to read; only the key counts.
        self.desk.decide(who, (key.partition("@")[0], key), label=label, action=action)
        return self._entry(row, self.desk.log().current) | {"other": other}

    def _check(self, rows: list[int]) -> None:
        if not all(0 <= row < len(self._key) for row in rows):
            raise UserError(f"There is no image {rows}. Load the page again.")

    def _entry(self, row: int, current: Mapping[tuple[str, str], Decision]) -> dict[str, Any]:
        decision = current.get(("", self._key[row]))
        probabilities = self._order.scores.probabilities[row]
        is_predicted = bool(np.isfinite(probabilities).all())
        chosen = self._predicted(probabilities) if is_predicted else 0
        predicted = self.labels[chosen] if is_predicted else ""
        source, reason = self._source[row], self._order.reason[row]
        return {
            "id": row,
            "key": self._key[row],
            "split": self._split[row],
            "source": source,
            "predicted": predicted,
            "probability": round(float(probabilities[chosen]), 3) if is_predicted else None,
            "why": self._why(row, np.argsort(-probabilities)[:2]),
            "reason": ranking.REASONS[reason] if reason >= 0 else "",
            "state": decision.state if decision else "predicted",
            "label": decision.label if decision else source or predicted,
            "who": decision.who if decision else "",
        }

    def _predicted(self, probabilities: np.ndarray) -> int:
        """Returns the class of an image by the version's decision rule."""
        thresholds = self._records.card.thresholds
        return int(metrics.predict_labels(probabilities[None], thresholds=thresholds)[0])

    def _why(self, row: int, likeliest: np.ndarray) -> str:
        """Returns why an image stands where it does, in a few words."""
        scores, reason = self._order.scores, self._order.reason[row]
        if reason == 0:
            suggested = self.labels[scores.suggested_label[row]]
            return f"labelled {self._source[row]}; similar images are {suggested}"
        probabilities = scores.probabilities[row]
        if reason == 1:
            return " or ".join(f"{self.labels[i]} {probabilities[i]:.2f}" for i in likeliest)
        return "unlike the training images" if reason == 2 else ""
