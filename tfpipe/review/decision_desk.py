"""Where decisions are made: each is a line of labels.csv before anyone is told that it is saved."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tfpipe.base.errors import UserError
from tfpipe.review.ranking import Told
from tfpipe.tasks.annotations import decisions
from tfpipe.tasks.annotations.decisions import Decision

NAN = float("nan")


class Queue(Protocol):
    """What a page goes through: `Pictures` or `Strips`.

    Attributes:
      kind: "pictures" or "strips".
      labels: what a reviewer may choose from.
      notes: what a reviewer should know.
      desk: where decisions are made.
      doing: what is still under way, in a sentence; "" for nothing.
      turn: how often it has been put in order.
    """

    kind: str
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    desk: "Desk"
    doing: str
    turn: int

    def rank(self, told: Told) -> None:
        """Puts all in order by what is known now."""

    def changed(self, lines: Sequence[Decision]) -> list[dict[str, Any]]:
        """Returns what there is to review that decisions are about, as `queue` tells it."""

    def queue(self) -> list[dict[str, Any]]:
        """Returns what there is to review, the most helpful first."""


@dataclass(frozen=True)
class Desk:
    """The decisions about a raw folder.

    Attributes:
      raw: the folder.
      name: of the file in it.
      version: the model's that reviewers look through, such as "simple-cnn/3".
    """

    raw: Path
    name: str
    version: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _read: dict[tuple, decisions.DecisionLog] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where decisions are kept."""
        return self.raw / self.name

    def known(self) -> decisions.DecisionLog:
        """Returns all lines so far, of all reviewers; read again only where some were added."""
        try:
            about = self.path.stat()
        except OSError:
            return decisions.read(self.raw, name=self.name)
        state = (about.st_ino, about.st_size, about.st_mtime_ns)
        known = self._read.get(state)
        if known is None:
            known = decisions.read(self.raw, name=self.name)
            self._read.clear()
            self._read[state] = known
        return known

    def others(self, who: str, thing: tuple[str, str]) -> str:
        """Returns what another reviewer has said of a thing that is decided about, or ""."""
        held = self.known().current.get(thing)
        if held is None or held.who == who:
            return ""
        return f"{held.who} had said {held.label or 'none'} ({held.state})"

    def decide(
        self,
        who: str,
        thing: tuple[str, str],
        *,
        label: str,
        action: str,
        depths_m: tuple[float, float] = (NAN, NAN),
    ) -> Decision:
        """Keeps a decision.

        Args:
          who: the reviewer.
          thing: (raw file, picture's key or span's name).
          label: the class or kind; "" for none.
          action: of `decisions.ACTIONS`; dubious leaves it open, all others settle it.
          depths_m: of a span.

        Raises:
          UserError: it could not be saved.
        """
        state = "dubious" if action == "dubious" else "validated"
        return self._keep(
            Decision(decisions.now(), who, *thing, *depths_m, label, self.version, state, action)
        )

    def undo(self, who: str) -> Decision:
        """Takes a reviewer's last decision back, by one more line: what held before holds again.

        Raises:
          UserError: there is none, somebody has decided about the same since, or it could not be
            saved.
        """
        with self._lock:
            lines = self.known().lines
            left: list[int] = []
            for i, one in enumerate(lines):
                if one.who == who and one.action != "undo":
                    left.append(i)
                elif one.who == who and left:
                    left.pop()
            if not left:
                raise UserError(f"There is no decision of {who} to undo.")
            last = lines[left[-1]]
            since = [one for one in lines[left[-1] + 1 :] if one.target == last.target]
            if since and since[-1].who != who:
                raise UserError(
                    f"{since[-1].who} has decided about {last.what} since, so it stays as it is."
                )
            before = [one for one in lines[: left[-1]] if one.target == last.target]
            holds = before[-1] if before else last._replace(state="predicted")
            told = {"time": decisions.now(), "who": who, "version": self.version, "action": "undo"}
            return self._keep(holds._replace(**told))

    def _keep(self, decision: Decision) -> Decision:
        decisions.append(self.raw, decision, name=self.name)
        return decision
