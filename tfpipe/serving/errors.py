"""Why a request is not answered, as what HTTP and gRPC call it."""

import math

CODES = {  # HTTP status -> name of the gRPC status
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}


class Refused(Exception):
    """A request that gets no answer but a sentence.

    Attributes:
      status: of HTTP.
      retry_after_s: after which the same request may do, for 429 and 503; 0 for never.
    """

    def __init__(self, status: int, sentence: str, *, retry_after_s: float = 0.0):
        super().__init__(sentence)
        self.status, self.retry_after_s = status, retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": str(math.ceil(self.retry_after_s))} if self.retry_after_s else {}

    @property
    def code(self) -> str:
        """Name of the gRPC status."""
        return CODES.get(self.status, "INTERNAL")
