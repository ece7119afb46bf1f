"""What a server counts of itself, for Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from tfpipe.serving.limits import Load
from tfpipe.serving.refusals import Refused
from tfpipe.serving.shelf import Shelf

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Counts requests; what is read off the shelf is read when somebody asks."""

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
        Gauge("tfpipe_waiting", "Requests not yet answered.", **told).set_function(
            lambda: load.waiting
        )
        self._shelf = shelf
        self._versions = Gauge("tfpipe_version", "The version served.", ["model"], **told)
        self._refused = Gauge("tfpipe_versions_refused", "Not served.", ["model"], **told)
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

    def text(self) -> bytes:
        """Returns all counts as Prometheus reads them."""
        for name in self._shelf.names:
            self._refused.labels(name).set(sum(bool(s.error) for s in self._shelf.statuses(name)))
            try:
                self._versions.labels(name).set(self._shelf.get(name).servable.version)
            except Refused:
                self._versions.labels(name).set(0)
        return generate_latest(self._registry)
