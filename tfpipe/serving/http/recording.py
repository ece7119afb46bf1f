"""Recording of HTTP requests: answered, refused, or left by their client."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tfpipe.serving.errors import CLIENT_CLOSED, RequestError
from tfpipe.serving.metrics import ServerMetrics


@dataclass
class RequestOutcome:
    """How a request ended.

    Attributes:
      status: of the answer; that of a client that has left until there is one.
      n_instances: of the request.
    """

    status: int = CLIENT_CLOSED
    n_instances: int = 0


@contextlib.contextmanager
def recording(metrics: ServerMetrics, name: str, method: str) -> Iterator[RequestOutcome]:
    """Counts a request when the block ends; the block sets the outcome, unless it is refused.

    Args:
      metrics: of the server.
      name: of the model, in the URL.
      method: such as "predict".
    """
    start, outcome = time.perf_counter(), RequestOutcome()
    try:
        yield outcome
    except RequestError as error:
        outcome.status = error.status
        raise
    finally:
        metrics.record_request(
            name,
            method,
            status=outcome.status,
            seconds=time.perf_counter() - start,
            n_instances=outcome.n_instances,
        )
