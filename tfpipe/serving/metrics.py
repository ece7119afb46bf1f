"""What a server counts of itself, for Prometheus.

Of several workers each answers for all: prometheus_client then keeps what they count in files of
the folder that PROMETHEUS_MULTIPROC_DIR names, and adds it up.
"""

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
    multiprocess,
)

from tfpipe.serving.errors import Refused
from tfpipe.serving.limits import Load
from tfpipe.serving.model.store import Shelf

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counts requests, and reads the rest off the shelf from time to time."""

    def __init__(self, shelf: Shelf, load: Load):
        self._registry = CollectorRegistry()
        told = {"registry": self._registry}
        self._requests = Counter(
            "tfpipe_requests", "Requests answered.", ["model", "verb", "status"], **told
        )
        self._instances = Counter("tfpipe_instances", "Instances answered.", ["model"], **told)
        self._seconds = Histogram(
            "tfpipe_request_seconds", "From body to answer.", ["verb"], buckets=SECONDS, **told
        )
        self._shelf, self._load = shelf, load
        self._waiting = Gauge(
            "tfpipe_waiting", "Requests not yet answered.", multiprocess_mode="livesum", **told
        )
        self._versions = Gauge(
            "tfpipe_version", "The version served.", ["model"], multiprocess_mode="livemin", **told
        )
        self._refused = Gauge(
            "tfpipe_versions_refused", "Not served.", ["model"], multiprocess_mode="livemax", **told
        )
        of = ["model", "version", "quantity"]
        self._indices = Gauge(
            "tfpipe_drift_index",
            "Population stability index against the training split.",
            of,
            multiprocess_mode="livemax",
            **told,
        )
        self._left = Gauge(
            "tfpipe_drift_left",
            "Whether it left the training split.",
            of,
            multiprocess_mode="livemax",
            **told,
        )
        self._known: set[tuple] = set()  # labels of the two
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def answered(self, model: str, verb: str, *, status: int, seconds: float, count: int) -> None:
        """Counts a request, and its instances.

        Args:
          model: as the URL has it; unknown ones are counted together.
          verb: such as "predict".
          status: of the answer.
          seconds: that it took.
          count: of instances.
        """
        known = model if model in self._shelf.names else ""
        self._requests.labels(known, verb, status).inc()
        self._instances.labels(known).inc(count)
        self._seconds.labels(verb).observe(seconds)

    def look(self) -> None:
        """Reads off the shelf how it is now; who counts for all workers reads what others saw."""
        self._waiting.set(self._load.waiting)
        for name in self._shelf.names:
            self._refused.labels(name).set(sum(bool(s.error) for s in self._shelf.statuses(name)))
            try:
                self._versions.labels(name).set(self._shelf.get(name).servable.version)
            except Refused:
                self._versions.labels(name).set(0)

        self._look_at_drift()

    def _look_at_drift(self) -> None:
        found = {
            (name, version, quantity): (index, quantity in one.left)
            for (name, version), one in self._shelf.drifts().items()
            for quantity, index in one.indices.items()
        }
        self._known |= found.keys()
        for labels in self._known:  # those of versions that are gone fall to 0
            index, has_left = found.get(labels, (0.0, False))
            self._indices.labels(*labels).set(index)
            self._left.labels(*labels).set(has_left)

    def text(self) -> bytes:
        """Returns all counts as Prometheus reads them, of all workers where there are several."""
        self.look()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)
