"""The pictures to review: which first and why, and what is decided about each."""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfpipe.base import html
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.explore import embeddings
from tfpipe.review import ranking
from tfpipe.review.decision_desk import Desk
from tfpipe.review.ranking import Told
from tfpipe.review.records import Packed
from tfpipe.tasks.annotations.decisions import Decision

MOST = 5_000  # pictures of a queue: who has decided about these starts the page again
ACTIONS = ("accept", "label", "dubious")


class _Known(NamedTuple):
    """What is known of the pictures: exchanged as a whole, for others may be reading it."""

    told: Told
    ordered: list[int]
    reason: np.ndarray


class Pictures:
    """Pictures that are answered one by one, as a queue."""

    kind = "pictures"

    def __init__(self, packed: Packed, desk: Desk):
        self.desk, self.doing, self.turn = desk, "", 0
        self.labels = tuple(packed.data.manifest.classes)
        self._packed, self._shown, self._lock = packed, {}, threading.Lock()
        frame = packed.frame
        self._key, self._split = frame["key"].tolist(), frame["split"].tolist()
        self._source = [self.labels[i] if i >= 0 else "" for i in frame["label"]]
        self._row = {key: row for row, key in enumerate(self._key)}
        self.rank(packed.told)

    def rank(self, told: Told) -> None:
        """Puts the pictures in order by what is known of them now."""
        ordered, reason = ranking.order([told.suspected, told.uncertain, told.new])
        self._known = _Known(told, ordered[:MOST].tolist(), reason)
        self.notes = (*self._packed.notes, *told.notes)
        if len(ordered) > MOST:
            self.notes += (f"These are the first {MOST:,} of {len(ordered):,} pictures.",)
        self.turn += 1

    def queue(self) -> list[dict[str, Any]]:
        """Returns the pictures, the most helpful first, each with what holds of it now."""
        held = self.desk.known().current
        return [self._told(row, held) for row in self._known.ordered]

    def changed(self, lines: Sequence[Decision]) -> list[dict[str, Any]]:
        """Returns the pictures that decisions are about, each with what holds of it now."""
        held, keys = self.desk.known().current, {one.what for one in lines if not one.is_span}
        return [self._told(self._row[key], held) for key in sorted(keys & self._row.keys())]

    def thumbnails(self, rows: list[int]) -> dict[int, str]:
        """Returns row -> the address of a small picture that holds it itself.

        Raises:
          UserError: there is no such row.
        """
        self._check(rows)
        with self._lock:
            lacking = [row for row in rows if row not in self._shown]
            if lacking:
                self._shown |= embeddings.thumbnails(self._packed.data, lacking)
        return {row: html.data_uri(self._shown[row], kind="image/jpeg") for row in rows}

    def decide(self, row: int, *, who: str, action: str, label: str) -> dict[str, Any]:
        """Keeps what a reviewer says of a picture, and returns what holds of it now.

        In "over" is what another had said of it.

        Raises:
          UserError: there is no such picture, class or action, or it could not be saved.
        """
        self._check([row])
        choose(action, ACTIONS, noun="action on a picture")
        choose(label, self.labels, noun="class")
        key = self._key[row]
        over = self.desk.others(who, ("", key))
        # A picture's own file is told for people; only its key counts.
        self.desk.decide(who, (key.partition("@")[0], key), label=label, action=action)
        return self._told(row, self.desk.known().current) | {"over": over}

    def _check(self, rows: list[int]) -> None:
        if not all(0 <= row < len(self._key) for row in rows):
            raise UserError(f"There is no picture {rows}. Load the page again.")

    def _told(self, row: int, held: dict) -> dict[str, Any]:
        decision, known = held.get(("", self._key[row])), self._known
        likely = known.told.likely[row]
        is_asked = bool(np.isfinite(likely).all())
        said = self.labels[likely.argmax()] if is_asked else ""
        source, why = self._source[row], known.reason[row]
        return {
            "id": row,
            "key": self._key[row],
            "split": self._split[row],
            "source": source,
            "said": said,
            "likely": round(float(likely.max()), 3) if is_asked else None,
            "why": self._why(row, np.argsort(-likely)[:2]),
            "reason": ranking.REASONS[why] if why >= 0 else "",
            "state": decision.state if decision else "predicted",
            "label": decision.label if decision else source or said,
            "who": decision.who if decision else "",
        }

    def _why(self, row: int, best: np.ndarray) -> str:
        told, reason = self._known.told, self._known.reason[row]
        if reason == 0:
            return f"labelled {self._source[row]}; its like are {self.labels[told.instead[row]]}"
        likely = told.likely[row]
        if reason == 1:
            return " or ".join(f"{self.labels[i]} {likely[i]:.2f}" for i in best)
        return "unlike what was learnt" if reason == 2 else ""
