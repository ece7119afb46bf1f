"""The review page over HTTP, for this machine and this reviewer only."""

import secrets
import socket
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field, StringConstraints

from tfpipe.base.errors import UserError
from tfpipe.review import page
from tfpipe.review.decision_desk import Queue
from tfpipe.review.sockets import HOST

MOST_BYTES = 1 << 16  # of a decision
MOST_AT_ONCE = 200  # small pictures

Who = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Text = Annotated[str, StringConstraints(max_length=1000)]
Depth = Annotated[float, Field(allow_inf_nan=False)]


class Said(BaseModel):
    """A decision as the page sends it; no path, but the number of what the page was given."""

    who: Who
    id: int
    action: Text
    label: Text = ""
    what: Text = ""
    depths_m: tuple[Depth, Depth] = (0.0, 0.0)


class Asked(BaseModel):
    """A request to undo."""

    who: Who


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serves until the process is interrupted or told to end."""
    config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:  # it ends in order first, and passes the signal on
        return


def app(queue: Queue, *, secret: str, port: int, title: str, who: str) -> FastAPI:
    """Returns the application.

    Every address begins with `secret`, which no other page of the browser can know, and a request
    must be for this machine by name: a foreign name that resolves to it (DNS rebinding) is refused,
    and so is a decision that another page sends.

    Args:
      queue: what is reviewed.
      secret: by `listening.token`.
      port: that is listened on.
      title: of the page.
      who: the reviewer's name until the page is told another.
    """
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    hosts = {f"{HOST}:{port}", f"localhost:{port}"}

    @made.middleware("http")
    async def guarded(request: Request, call_next) -> Response:
        answer = _refused(request, hosts, secret) or await call_next(request)
        answer.headers.update(page.HEADERS)
        return answer

    @made.exception_handler(UserError)
    async def said(request: Request, error: UserError) -> Response:
        return _error(409, str(error))

    @made.exception_handler(RequestValidationError)
    async def misread(request: Request, error: RequestValidationError) -> Response:
        return _error(422, "This is no decision that the page could have sent. Load it again.")

    @made.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return _error(500, "Something went wrong here; the terminal says more. Nothing was saved.")

    _routes(made, f"/{secret}", queue)

    @made.get(f"/{secret}/", response_class=HTMLResponse)
    def shown() -> str:
        return page.text(queue, title=title, who=who)

    return made


def _routes(made: FastAPI, root: str, queue: Queue) -> None:
    def state() -> dict[str, Any]:
        """Returns what has been told once an answer is read; what follows it is told again."""
        lines = len(queue.desk.known().lines)
        return {"lines": lines, "turn": queue.turn, "doing": queue.doing}

    @made.get(f"{root}/queue")
    def queued() -> dict[str, Any]:
        return state() | {"items": queue.queue(), "notes": queue.notes}

    @made.get(f"{root}/news")
    def news(lines: int) -> dict[str, Any]:
        now = state()
        since = queue.desk.known().lines[max(lines, 0) :]
        said = {one.target: {"who": one.who, "what": one.what} for one in since}
        return now | {"items": queue.changed(since), "by": [*said.values()]}

    @made.post(f"{root}/undo")
    def undo(asked: Asked) -> dict[str, Any]:
        taken = queue.desk.undo(asked.who)
        return {"file": taken.file, "what": taken.what, "items": queue.queue()}

    if queue.kind == "pictures":

        @made.get(f"{root}/pictures")
        def pictures(ids: str) -> dict[int, str]:
            rows = [int(one) for one in ids.split(",")[:MOST_AT_ONCE] if one.isdecimal()]
            return queue.thumbnails(rows)

        @made.post(f"{root}/decide")
        def decide(one: Said) -> dict[str, Any]:
            return queue.decide(one.id, who=one.who, action=one.action, label=one.label)

    else:

        @made.get(f"{root}/file/{{number}}")
        def told(number: int) -> dict[str, Any]:
            return queue.told(number)

        @made.get(f"{root}/file/{{number}}/image")
        def image(number: int) -> Response:
            return Response(queue.image(number), media_type="image/png")

        @made.post(f"{root}/decide")
        def decide(one: Said) -> dict[str, Any]:
            about = {"label": one.label, "what": one.what, "depths_m": one.depths_m}
            return queue.decide(one.id, who=one.who, action=one.action, **about)


def _refused(request: Request, hosts: set[str], secret: str) -> Response | None:
    """Returns what is answered to a request that is not of the page itself; None to one that is."""
    host = request.headers.get("host", "")
    if host not in hosts:
        return _error(403, "This address is not this machine's own.")
    given = request.url.path.split("/")[1]
    if not secrets.compare_digest(given.encode(), secret.encode()):
        return _error(404, "There is nothing here. Open the address that the command has printed.")
    if request.method in ("GET", "HEAD"):
        return None
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    is_foreign = origin not in (None, f"http://{host}") or site not in (None, "same-origin", "none")
    if is_foreign or kind != "application/json":
        return _error(403, "Another page has sent this, so it was refused.")
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MOST_BYTES:
        return _error(413, "This is longer than any decision.")
    return None


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)
