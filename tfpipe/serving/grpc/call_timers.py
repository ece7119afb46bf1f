"""Ends calls whose time is over; one thread looks after all of them."""

import threading
import time

import grpc

CHECK_S = 0.25  # between looks


class CallTimers:
    """The time that each open call has left; a call that has none is cancelled."""

    def __init__(self):
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._ends: dict[grpc.ServicerContext, float] = {}
        threading.Thread(target=self._run, name="call-timers", daemon=True).start()

    def set(self, context: grpc.ServicerContext, seconds: float) -> None:
        """Cancels a call after so many seconds from now, unless it has ended by then."""
        with self._lock:
            is_new = context not in self._ends
            self._ends[context] = time.monotonic() + seconds
        if is_new and not context.add_callback(lambda: self._forget(context)):
            self._forget(context)

    def close(self) -> None:
        """Stops the thread."""
        self._closed.set()

    def _forget(self, context: grpc.ServicerContext) -> None:
        with self._lock:
            self._ends.pop(context, None)

    def _run(self) -> None:
        while not self._closed.wait(CHECK_S):
            now = time.monotonic()
            with self._lock:
                late = [context for context, end in self._ends.items() if end < now]
            for context in late:
                context.cancel()
                self._forget(context)
