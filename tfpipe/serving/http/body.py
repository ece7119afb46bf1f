"""The body of a request, read within the limits."""

import asyncio

from starlette.requests import Request

from tfpipe.serving.errors import Refused
from tfpipe.serving.limits import Held, Limits

DRAINED = 4  # times the limit: so much is read on and dropped, else the client hears no answer
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
    most, declared, size, parts = limits.body_bytes, int(length or 0), 0, []
    try:
        async with asyncio.timeout(min(limits.deadline_s, DRAIN_S if declared > most else 1e9)):
            async for part in request.stream():
                size += len(part)
                if max(size, declared) <= most:
                    held.add(len(part))
                    parts.append(part)
                elif size > DRAINED * most:
                    break
    except TimeoutError as error:
        if max(size, declared) <= most:
            sentence = f"The body did not come in within {limits.deadline_s:g} s."
            raise Refused(408, sentence) from error
    if max(size, declared) > most:
        raise Refused(413, f"The body is larger than {most / 1e6:g} MB. Send fewer instances.")
    return b"".join(parts)
