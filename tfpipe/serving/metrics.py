"""Metrics of the server for Prometheus.

With several workers each answers for all: prometheus_client then writes what they count into files
of the folder PROMETHEUS_MULTIPROC_DIR, and adds it up.
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

from tfpipe.serving.errors import RequestError
from tfpipe.serving.limits import Admission
from tfpipe.serving.model.store import ModelStore

BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class ServerMetrics:
    """Counts requests, and reads the state of the model store when it is refreshed."""

    def __init__(self, models: ModelStore, admission: Admission):
        self._models, self._admission = models, admission
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "tfpipe_requests",
            "Requests answered.",
            ["model", "method", "status"],
            registry=registry,
        )
        self._instances = Counter(
            "tfpipe_instances", "Instances answered.", ["model"], registry=registry
        )
        self._seconds = Histogram(
            "tfpipe_request_seconds",
            "Seconds from the head of a request to its answer.",
            ["method"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._waiting = Gauge(
            "tfpipe_waiting",
            "Requests without an answer.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._versions = Gauge(
            "tfpipe_version",
            "The version served.",
            ["model"],
            multiprocess_mode="livemin",
            registry=registry,
        )
        self._refused = Gauge(
            "tfpipe_versions_refused",
            "Versions that are not served because of an error.",
            ["model"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._drift_index = Gauge(
            "tfpipe_drift_index",
            "Population stability index against the training split.",
            ["model", "version", "quantity"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._drifted = Gauge(
            "tfpipe_drifted",
            "1 if the quantity has left the training split, else 0.",
            ["model", "version", "quantity"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._drift_labels: set[tuple[str, int, str]] = set()  # that both have
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def record_request(
        self, model: str, method: str, *, status: int, seconds: float, n_instances: int
    ) -> None:
        """Counts a request and its instances.

        Args:
          model: name in the URL; unknown names are counted together.
          method: such as "predict".
          status: HTTP status of the answer.
          seconds: from the head of the request to its answer.
          n_instances: of the request.
        """
        name = model if model in self._models.names else ""
        self._requests.labels(name, method, status).inc()
        self._instances.labels(name).inc(n_instances)
        self._seconds.labels(method).observe(seconds)

    def refresh(self) -> None:
        """Reads the state of the model store and of its drift monitors."""
        self._waiting.set(self._admission.waiting)
        for name in self._models.names:
            n_refused = sum(bool(status.error) for status in self._models.statuses(name))
            self._refused.labels(name).set(n_refused)
            try:
                self._versions.labels(name).set(self._models.get(name).servable.version)
            except RequestError:
                self._versions.labels(name).set(0)
        self._refresh_drift()

    def _refresh_drift(self) -> None:
        values = {
            (name, version, quantity): (index, quantity in monitor.drifted)
            for (name, version), monitor in self._models.drift_monitors().items()
            for quantity, index in monitor.indices.items()
        }
        self._drift_labels |= values.keys()
        for labels in self._drift_labels:  # of a version that is gone both are 0
            index, has_drifted = values.get(labels, (0.0, False))
            self._drift_index.labels(*labels).set(index)
            self._drifted.labels(*labels).set(has_drifted)

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' format, of all workers if there are several."""
        self.refresh()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)
