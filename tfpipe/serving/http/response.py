"""Response whose bytes count in the server's memory until the client has taken them."""

from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tfpipe.serving.limits import RequestBudget

CHUNK_BYTES = 65536  # of which uvicorn holds one or two; it waits until the client takes them


async def send_budgeted(
    send: Send,
    content: bytes | bytearray,
    budget: RequestBudget,
    *,
    headers: Mapping[str, str],
) -> None:
    """Sends an answer of status 200 in chunks, and releases its request's budget at the end.

    Args:
      send: of the request.
      content: the body, of the type application/json unless the headers have another.
      budget: of the request; released when all is sent, or the client has left.
      headers: besides Content-Length.
    """
    head = {"content-type": "application/json"} | {key.lower(): headers[key] for key in headers}
    head["content-length"] = str(len(content))
    raw = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in head.items()]
    try:
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        view = memoryview(content)
        for start in range(0, max(1, len(content)), CHUNK_BYTES):
            end = start + CHUNK_BYTES
            await send(
                {
                    "type": "http.response.body",
                    "body": bytes(view[start:end]),
                    "more_body": end < len(content),
                }
            )
    finally:
        budget.release()


class BudgetedResponse(Response):
    """A response that is sent by `send_budgeted`."""

    def __init__(
        self,
        content: bytes | bytearray,
        budget: RequestBudget,
        *,
        headers: Mapping[str, str],
    ):
        super().__init__()
        self._content, self._budget, self._added_headers = content, budget, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        await send_budgeted(send, self._content, self._budget, headers=self._added_headers)
