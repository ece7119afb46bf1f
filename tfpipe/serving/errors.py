"""The error of a request that is refused, with its HTTP and gRPC status."""

import math

GRPC_STATUS = {  # HTTP status -> name of the gRPC status
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

CLIENT_CLOSED = 499  # status of a request whose client has left; nobody reads it
FAILED = "The server failed; the reason is in its log."


class RequestError(Exception):
    """A request that is refused; its text is the one sentence that the client gets.

    Attributes:
      status: HTTP status.
      retry_after_s: seconds after which the same request may succeed, for 429 and 503; 0 for never.
    """

    def __init__(self, status: int, message: str, *, retry_after_s: float = 0.0):
        super().__init__(message)
        self.status, self.retry_after_s = status, retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers of the response."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        return {"Retry-After": str(math.ceil(self.retry_after_s))} if self.retry_after_s else {}

    @property
    def grpc_status(self) -> str:
        """Name of the gRPC status."""
        return GRPC_STATUS.get(self.status, "INTERNAL")
