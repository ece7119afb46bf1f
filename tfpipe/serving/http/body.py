"""Body of an HTTP request, read within the limits."""

import asyncio
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from tfpipe.serving.errors import RequestError
from tfpipe.serving.limits import Limits, RequestBudget

DRAIN_FACTOR = 4  # times the limit that is read and dropped, so that the client gets the answer
DRAIN_S = 5.0


async def read_body(
    headers: Mapping[str, str], receive: Receive, budget: RequestBudget, *, limits: Limits
) -> bytes:
    """Returns the body of a request.

    Args:
      headers: of the request, by names in lower case.
      receive: of the request.
      budget: counts the bytes that are kept.
      limits: of the size and the time.

    Raises:
      RequestError: the body is compressed, of unknown length, too large, or arrives too slowly.
      ClientDisconnect: the client has left.
    """
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "The body is compressed. Send it without compression.")
    length = headers.get("content-length")
    if length is None and "transfer-encoding" not in headers:
        raise RequestError(411, "There is no Content-Length. Send one, or send the body in chunks.")
    max_bytes, declared, n_bytes = limits.max_body_bytes, int(length or 0), 0
    timeout_s = min(limits.deadline_s, DRAIN_S) if declared > max_bytes else limits.deadline_s
    chunks = []
    try:
        async with asyncio.timeout(timeout_s):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk, more = message.get("body", b""), message.get("more_body", False)
                n_bytes += len(chunk)
                if max(n_bytes, declared) <= max_bytes:
                    budget.add(len(chunk))
                    chunks.append(chunk)
                elif n_bytes > DRAIN_FACTOR * max_bytes:
                    break
    except TimeoutError as error:
        if max(n_bytes, declared) <= max_bytes:
            raise RequestError(
                408, f"The body did not arrive within {limits.deadline_s:g} s."
            ) from error
    if max(n_bytes, declared) > max_bytes:
        raise RequestError(
            413,
            f"The body is larger than {max_bytes / 1e6:g} MB. Send fewer instances, or "
            "start the server with a larger --max-body.",
        )
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
