"""Looks at all pictures while the first are reviewed, and puts the queue in its order then."""

import logging
import threading
from collections.abc import Callable

from tfpipe.base.errors import UserError
from tfpipe.review.decision_desk import Queue
from tfpipe.review.ranking import Told

LOG = logging.getLogger("tfpipe")
BEGUN = "Least certain first, by what the version was tested with."
Progress = Callable[[int, int], None]
Look = Callable[[Progress], Told]


class Looking:
    """A thread that looks; it ends with the block that it is opened for."""

    def __init__(self, queue: Queue, look: Look | None, *, progress: Progress):
        """Begins nothing yet.

        Args:
          queue: takes its order by `rank`, and says in `doing` what is still under way.
          look: looks at all pictures, which may take long; None where all is known.
          progress: told (pictures looked at, pictures in all).
        """
        self._queue, self._look, self._progress = queue, look, progress
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, name="looking")

    def __enter__(self) -> "Looking":
        if self._look:
            self._queue.doing = f"{BEGUN} All pictures are about to be looked at."
            self._thread.start()
        return self

    def __exit__(self, *reason) -> None:
        self._stops.set()
        if self._look:
            self._thread.join()

    def _run(self) -> None:
        try:
            told = self._look(self._tell)
            self._queue.rank(told)
            self._queue.doing = ""
        except _Stopped:
            return
        except UserError as error:
            self._fail(str(error))
        except Exception:  # of whatever kind: who reviews is told, and goes on
            LOG.exception("The pictures could not be looked at.")
            self._fail("The terminal says more.")

    def _tell(self, done: int, total: int) -> None:
        if self._stops.is_set():
            raise _Stopped
        self._progress(done, total)
        so_far = f"{done:,} of {total:,} so far." if done < total else "they are being compared."
        self._queue.doing = (
            f"{BEGUN} What is new and which labels are suspected follows once all pictures are "
            f"looked at: {so_far}"
        )

    def _fail(self, why: str) -> None:
        self._queue.doing = f"The pictures could not all be looked at, so the order stays. {why}"


class _Stopped(Exception):
    """Nobody waits for it any more."""
