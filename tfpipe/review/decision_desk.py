"""Decision desk: a decision is a line of labels.csv before the reviewer reads that it is saved."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tfpipe.base.errors import UserError
from tfpipe.tasks.annotations import decisions
from tfpipe.tasks.annotations.decisions import Decision

if TYPE_CHECKING:
    from tfpipe.review.ranking import ImageScores

NAN = float("nan")


class ReviewQueue(Protocol):
    """A queue that a page goes through: of images or of photos.

    Attributes:
      labels: the classes or kinds that a reviewer chooses from.
      notes: sentences for the reviewer.
      desk: where decisions are made.
      progress: what is still being computed, in a sentence; "" for nothing.
      n_rankings: how often the queue has been put in order.
      is_blind: whether the reviewer must not see what was predicted.
    """

    labels: tuple[str, ...]
    notes: tuple[str, ...]
    desk: "DecisionDesk"
    progress: str
    n_rankings: int
    is_blind: bool

    def rank(self, scores: "ImageScores") -> None:
        """Puts the queue in order by new scores."""

    def changed(self, lines: Sequence[Decision]) -> list[dict[str, Any]]:
        """Returns the entries that decisions are about, as `queue` does."""

    def queue(self) -> list[dict[str, Any]]:
        """Returns the entries, the most helpful ones first."""


class ImageReview(ReviewQueue, Protocol):
    """A queue of images; see `image_queue.ImageQueue`."""

    kind: Literal["images"]

    def thumbnails(self, rows: list[int]) -> dict[int, str]: ...

    def decide(self, row: int, *, who: str, action: str, label: str) -> dict[str, Any]: ...


class PhotoReview(ReviewQueue, Protocol):
    """A queue of photos with spans; see `photo_queue.PhotoQueue`."""

    kind: Literal["photos"]

    def photo(self, number: int) -> dict[str, Any]: ...

    def image(self, number: int) -> bytes: ...

    def decide(
        self,
        number: int,
        *,
        who: str,
        action: str,
        label: str,
        what: str,
        depths_m: tuple[float, float],
    ) -> dict[str, Any]: ...


@dataclass(frozen=True)
class DecisionDesk:
    """The decisions about a raw folder.

    Attributes:
      raw: the folder.
      name: of the file of decisions in it.
      version: the version whose predictions reviewers look at, such as "simple-cnn/3".
    """

    raw: Path
    name: str
    version: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _cache: dict[tuple[int, int, int], decisions.DecisionLog] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file of decisions."""
        return self.raw / self.name

    def log(self) -> decisions.DecisionLog:
        """Returns all decisions so far, of all reviewers; reads the file only if it has changed."""
        try:
            status = self.path.stat()
        except OSError:
            return decisions.read(self.raw, name=self.name)
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        log = self._cache.get(state)
        if log is None:
            log = decisions.read(self.raw, name=self.name)
            self._cache.clear()
            self._cache[state] = log
        return log

    def other_decision(self, who: str, target: tuple[str, str]) -> str:
        """Returns the decision of another reviewer about the same target, or ""."""
        decision = self.log().current.get(target)
        if decision is None or decision.who == who:
            return ""
        return f"{decision.who} had decided {decision.label or 'none'} ({decision.state})"

    def decide(
        self,
        who: str,
        target: tuple[str, str],
        *,
        label: str,
        action: str,
        depths_m: tuple[float, float] = (NAN, NAN),
    ) -> Decision:
        """Saves a decision.

        Args:
          who: the reviewer.
          target: (raw file, image's key or span's name).
          label: the class or kind; "" for none.
          action: one of `decisions.ACTIONS`; dubious leaves it open, all others settle it.
          depths_m: of a span.

        Raises:
          UserError: it could not be saved.
        """
        state = "dubious" if action == "dubious" else "validated"
        return self._save(
            Decision(decisions.now(), who, *target, *depths_m, label, self.version, state, action)
        )

    def undo(self, who: str) -> Decision:
        """Undoes a reviewer's last decision by one more line: the earlier decision holds again.

        Raises:
          UserError: there is none, another reviewer has decided about the same since, or the line
            could not be saved.
        """
        with self._lock:
            lines = self.log().lines
            to_undo: list[int] = []
            for i, line in enumerate(lines):
                if line.who == who and line.action != "undo":
                    to_undo.append(i)
                elif line.who == who and to_undo:
                    to_undo.pop()
            if not to_undo:
                raise UserError(f"There is no decision of {who} to undo.")
            last = lines[to_undo[-1]]
            later = [line for line in lines[to_undo[-1] + 1 :] if line.target == last.target]
            if later and later[-1].who != who:
                raise UserError(
                    f"{later[-1].who} has decided about {last.what} since, so it stays as it is."
                )
            earlier = [line for line in lines[: to_undo[-1]] if line.target == last.target]
            restored = earlier[-1] if earlier else last._replace(state="predicted")
            return self._save(
                restored._replace(
                    time=decisions.now(), who=who, version=self.version, action="undo"
                )
            )

    def _save(self, decision: Decision) -> Decision:
        decisions.append(self.raw, decision, name=self.name)
        return decision
