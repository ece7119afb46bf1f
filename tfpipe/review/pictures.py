"""The pictures to review: which first and why, and what is decided about each."""

import threading
from typing import Any

import numpy as np

from tfpipe import observations, page
from tfpipe.errors import UserError
from tfpipe.review import scores
from tfpipe.review.desk import Desk
from tfpipe.review.packed import Packed
from tfpipe.task import choose

MOST = 5_000  # pictures of a queue: who has decided about these starts the page again
ACTIONS = ("accept", "label", "dubious")


class Pictures:
    """Pictures that are answered one by one, as a queue."""

    kind = "pictures"

    def __init__(self, packed: Packed, desk: Desk):
        self.desk, self.notes = desk, packed.notes
        self.labels = tuple(packed.data.manifest["classes"])
        self._packed, self._shown, self._lock = packed, {}, threading.Lock()
        told = packed.told
        lists = [told.suspected, told.uncertain, told.new]
        ordered, self._reason = scores.order(lists)
        self._ordered = ordered[:MOST].tolist()
        said = told.likely.argmax(axis=1)
        self._said = [self.labels[i] for i in said]
        frame = packed.frame
        self._key, self._split = frame["key"].tolist(), frame["split"].tolist()
        self._source = [self.labels[i] if i >= 0 else "" for i in frame["label"]]
        if len(ordered) > MOST:
            self.notes += (f"These are the first {MOST:,} of {len(ordered):,} pictures.",)

    def queue(self) -> list[dict[str, Any]]:
        """Returns the pictures, the most helpful first, each with what holds of it now."""
        held = self.desk.known().held
        return [self._told(row, held) for row in self._ordered]

    def thumbnails(self, rows: list[int]) -> dict[int, str]:
        """Returns row -> the address of a small picture that holds it itself.

        Raises:
          UserError: there is no such row.
        """
        self._check(rows)
        with self._lock:
            lacking = [row for row in rows if row not in self._shown]
            if lacking:
                self._shown |= observations.thumbnails(self._packed.data, lacking)
        return {row: page.data_uri(self._shown[row], kind="image/jpeg") for row in rows}

    def decide(self, row: int, *, who: str, action: str, label: str) -> dict[str, Any]:
        """Keeps what a reviewer says of a picture, and returns what holds of it now.

        Raises:
          UserError: there is no such picture, class or action, or it could not be saved.
        """
        self._check([row])
        choose(action, ACTIONS, noun="action on a picture")
        choose(label, self.labels, noun="class")
        key = self._key[row]
        # A picture's own file is told for people; only its key counts.
        self.desk.decide(who, (key.partition("@")[0], key), label=label, action=action)
        return self._told(row, self.desk.known().held)

    def _check(self, rows: list[int]) -> None:
        if not all(0 <= row < len(self._key) for row in rows):
            raise UserError(f"There is no picture {rows}. Load the page again.")

    def _told(self, row: int, held: dict) -> dict[str, Any]:
        decision = held.get(("", self._key[row]))
        likely = self._packed.told.likely[row]
        source, said = self._source[row], self._said[row]
        return {
            "id": row,
            "key": self._key[row],
            "split": self._split[row],
            "source": source,
            "said": said,
            "likely": round(float(likely.max()), 3),
            "why": self._why(row, np.argsort(-likely)[:2]),
            "reason": scores.REASONS[self._reason[row]] if self._reason[row] >= 0 else "",
            "state": decision.state if decision else "predicted",
            "label": decision.label if decision else source or said,
            "who": decision.who if decision else "",
        }

    def _why(self, row: int, best: np.ndarray) -> str:
        told, reason = self._packed.told, self._reason[row]
        if reason == 0:
            return f"labelled {self._source[row]}; its like are {self.labels[told.instead[row]]}"
        likely = told.likely[row]
        if reason == 1:
            return " or ".join(f"{self.labels[i]} {likely[i]:.2f}" for i in best)
        return "unlike what was learnt" if reason == 2 else ""
