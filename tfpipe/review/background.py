"""Background scoring: all images are scored during the review; then the order changes."""

import logging
import threading
from collections.abc import Callable
from typing import Self

from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.review.decision_desk import ReviewQueue
from tfpipe.review.ranking import ImageScores

LOG = logging.getLogger(__name__)
FIRST_ORDER = "Least certain first, by the predictions that the version was tested with."
Progress = Callable[[int, int], None]
ScoreImages = Callable[[Progress], ImageScores]


class BackgroundScoring:
    """A thread that scores all images; it ends with the `with` block."""

    def __init__(self, queue: ReviewQueue, score: ScoreImages | None, *, report: Reporter = silent):
        """Prepares the thread, which starts with the block.

        Args:
          queue: is put in order with `rank`; its `progress` says what is still being computed.
          score: scores all images, which may take long; None if that is done.
          report: receives the stage "embed" with the images done.
        """
        self._queue, self._score, self._report = queue, score, report
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scoring")

    def __enter__(self) -> Self:
        if self._score:
            self._queue.progress = f"{FIRST_ORDER} All images are about to be scored."
            self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stops.set()
        self.wait()

    def wait(self) -> None:
        """Waits until all images are scored, or scoring has ended otherwise."""
        if self._score:
            self._thread.join()

    def _run(self) -> None:
        if self._score is None:
            return
        try:
            scores = self._score(self._tell)
            self._queue.rank(scores)
            self._queue.progress = ""
        except _Stopped:
            return
        except UserError as error:
            self._fail(str(error))
        except Exception:  # of any kind: the reviewer is told, and goes on
            LOG.exception("The images could not be scored.")
            self._fail("The terminal says more.")

    def _tell(self, done: int, total: int) -> None:
        if self._stops.is_set():
            raise _Stopped
        self._report("embed", {"done": done, "total": total})
        state = f"{done:,} of {total:,} so far." if done < total else "they are being compared."
        self._queue.progress = (
            f"{FIRST_ORDER} Novel images and suspected labels follow once all images are scored: "
            f"{state}"
        )

    def _fail(self, reason: str) -> None:
        self._queue.progress = f"The images could not all be scored, so the order stays. {reason}"


class _Stopped(Exception):
    """The review has ended, so nobody waits for the scores."""
