"""The body of a request, read within the limits."""

import asyncio

from starlette.requests import Request

from tfpipe.serving.limits import Held, Limits
from tfpipe.serving.refusals import Refused

DRAINED = 4  # times the limit: so much is read and dropped, that the client hears why
DRAIN_S = 5.0


async def read(request: Request, held: Held, *, limits: Limits) -> bytes:
    """Returns a body.

    Raises:
      Refused: it is compressed, of unknown length, too large, or comes in too slowly.
    """
    headers = request.headers
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "The body is compressed. Send it as it is.")
    length = headers.get("content-length")
    if length is None and "transfer-encoding" not in headers:
        raise Refused(411, "There is no Content-Length. Send one, or send the body in chunks.")
    try:
        async with asyncio.timeout(limits.deadline_s):
            return await _within(request, held, declared=int(length or 0), limits=limits)
    except TimeoutError as error:
        raise Refused(408, f"The body did not come in within {limits.deadline_s:g} s.") from error


async def _within(request: Request, held: Held, *, declared: int, limits: Limits) -> bytes:
    too_large = Refused(
        413, f"The body is larger than {limits.body_bytes / 1e6:g} MB. Send fewer instances."
    )
    if declared > limits.body_bytes:
        await _drop(request, limits.body_bytes)
        raise too_large
    parts = []
    async for part in request.stream():
        parts.append(part)
        if held.bytes + len(part) > limits.body_bytes:
            parts.clear()
            await _drop(request, limits.body_bytes)
            raise too_large
        held.add(len(part))
    return b"".join(parts)


async def _drop(request: Request, limit: int) -> None:
    """Reads on for a while without keeping it: who is still sending does not hear an answer."""
    dropped = 0
    try:
        async with asyncio.timeout(DRAIN_S):
            while dropped < DRAINED * limit:
                message = await request.receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return
