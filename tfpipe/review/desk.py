"""Where decisions are made: each is a line of labels.csv before anyone is told that it is saved."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tfpipe import labels
from tfpipe.errors import UserError
from tfpipe.labels import Decision

NAN = float("nan")


class Queue(Protocol):
    """What a page goes through: `Pictures` or `Strips`.

    Attributes:
      kind: "pictures" or "strips".
      labels: what a reviewer may choose from.
      notes: what a reviewer should know.
      desk: where decisions are made.
    """

    kind: str
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    desk: "Desk"

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

    @property
    def path(self) -> Path:
        """Where decisions are kept."""
        return self.raw / self.name

    def known(self) -> labels.Labels:
        """Returns all lines so far, of all reviewers."""
        return labels.read(self.raw, name=self.name)

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
          action: of `labels.ACTIONS`; dubious leaves it open, all others settle it.
          depths_m: of a span.

        Raises:
          UserError: it could not be saved.
        """
        state = "dubious" if action == "dubious" else "validated"
        return self._keep(
            Decision(labels.now(), who, *thing, *depths_m, label, self.version, state, action)
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
            since = [one for one in lines[left[-1] + 1 :] if one.thing == last.thing]
            if since and since[-1].who != who:
                raise UserError(
                    f"{since[-1].who} has decided about {last.what} since, so it stays as it is."
                )
            before = [one for one in lines[: left[-1]] if one.thing == last.thing]
            holds = before[-1] if before else last._replace(state="predicted")
            told = {"time": labels.now(), "who": who, "version": self.version, "action": "undo"}
            return self._keep(holds._replace(**told))

    def _keep(self, decision: Decision) -> Decision:
        labels.append(self.raw, decision, name=self.name)
        return decision
