"""Response whose bytes count in the server's memory until the client has taken them."""

from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tfpipe.serving.limits import RequestBudget

CHUNK_BYTES = 65536  # of which uvicorn holds one or two; it waits until the client takes them


class BudgetedResponse(Response):
    """A response that is sent in chunks, and releases its request's budget at the end."""

    def __init__(
        self,
        content: bytes | bytearray,
        budget: RequestBudget,
        *,
        headers: Mapping[str, str],
    ):
        """Prepares the response.

        Args:
          content: the body, of the type application/json unless the headers have another.
          budget: of the request; released when all is sent, or the client has left.
          headers: besides Content-Length.
        """
        super().__init__(
            headers={"Content-Type": "application/json", **headers}
            | {"Content-Length": str(len(content))}
        )
        self._content, self._budget = memoryview(content), budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        try:
            headers = self.raw_headers
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for start in range(0, len(self._content), CHUNK_BYTES):
                end = start + CHUNK_BYTES
                await send(
                    {
                        "type": "http.response.body",
                        "body": bytes(self._content[start:end]),
                        "more_body": end < len(self._content),
                    }
                )
        finally:
            self._budget.release()
