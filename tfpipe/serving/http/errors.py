"""Errors over HTTP: each is a JSON object with one sentence and no traceback."""

import json
import re

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from tfpipe.serving.errors import FAILED, RequestError

# Requests that TensorFlow Serving understands; all others under /v1/ it calls malformed. Here it
# does not matter that a name has %2F in it, which is a slash by then.
_PREDICTION = re.compile(
    r"/v1/models/[^/:]+(/versions/[0-9]{1,18}|/labels/[^/:]+)?:(predict|classify|regress)"
)
CLOSING = (408, 411, 413)  # after these, what else comes would be taken for the next request


def add_error_handlers(api: FastAPI) -> None:
    """Makes every error of an application a JSON object with one sentence."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return error_response(error)

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return error_response(_unknown(request, error.status_code))

    async def failed(request: Request, error: Exception) -> Response:
        return error_response(RequestError(500, FAILED))

    api.add_exception_handler(RequestError, refused)
    api.add_exception_handler(HTTPException, unknown)
    api.add_exception_handler(Exception, failed)


def error_response(error: RequestError, *, closes: bool = False) -> Response:
    """Returns the response to a request that is refused.

    Args:
      error: why.
      closes: whether the connection is closed, as it always is after some of them.
    """
    headers = error.headers
    if closes or error.status in CLOSING:
        headers = headers | {"Connection": "close"}
    content = json.dumps({"error": str(error)})
    return Response(content, error.status, media_type="application/json", headers=headers)


def _unknown(request: Request, status: int) -> RequestError:
    """Returns the error of a request that no path takes, as TensorFlow Serving answers it."""
    path = request.scope["raw_path"].decode("ascii", "replace")
    if request.method == "POST" and _PREDICTION.fullmatch(path):
        name = path.removeprefix("/v1/models/").split("/")[0].split(":")[0]
        if "%" in name:
            return RequestError(404, f"Could not find any versions of model {name[:80]}.")
        return RequestError(400, "The model has no signature for :regress. Use :predict.")
    if path.startswith("/v1/"):
        status = 400
    return RequestError(status, f"Malformed request: {request.method} {path[:200]}")
