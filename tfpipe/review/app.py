"""Review page over HTTP: its socket, its secret address, and the requests that it answers."""

import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field, StringConstraints

from tfpipe.base.errors import UserError
from tfpipe.review import page
from tfpipe.review.decision_desk import ImageReview, PhotoReview

HOST = "127.0.0.1"
MAX_BYTES = 1 << 16  # of a decision
MAX_THUMBNAILS = 200  # of a request

Who = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Text = Annotated[str, StringConstraints(max_length=1000)]
Depth = Annotated[float, Field(allow_inf_nan=False)]
Queue = ImageReview | PhotoReview


class DecisionRequest(BaseModel):
    """A decision as the page sends it; never a path, but the number of an entry of the queue."""

    who: Who
    id: int
    action: Text
    label: Text = ""
    what: Text = ""
    depths_m: tuple[Depth, Depth] = (0.0, 0.0)


class UndoRequest(BaseModel):
    """A request to undo the reviewer's last decision."""

    who: Who


def bind(port: int) -> socket.socket:
    """Returns a listening socket of this machine only.

    Args:
      port: 0 for any free port.

    Raises:
      UserError: the port is taken or not allowed.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or "there is no such port"
        raise UserError(
            f"Port {port} cannot be used: {reason}. Give another by --port, or 0 for any free one."
        ) from error
    return listening


def create_secret() -> str:
    """Returns a word that only the page that is opened here knows."""
    return secrets.token_urlsafe(24)


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serves until the process is interrupted or terminated."""
    config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn has ended in order, and passes the signal on
        return


def create_app(queue: Queue, *, secret: str, port: int, title: str, who: str) -> FastAPI:
    """Returns the application.

    Each address begins with `secret`, which no other page of the browser can know. A request must
    name this machine as its host: a foreign name that resolves to it (DNS rebinding) is refused,
    and so is a decision that another page sends.

    Args:
      queue: what is reviewed.
      secret: by `create_secret`.
      port: that is listened on.
      title: of the page.
      who: the reviewer's name until the reviewer types another.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    hosts = {f"{HOST}:{port}", f"localhost:{port}"}

    @app.middleware("http")
    async def check(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = _refusal(request, hosts, secret) or await call_next(request)
        response.headers.update(page.HEADERS)
        return response

    @app.exception_handler(UserError)
    async def user_error(request: Request, error: UserError) -> Response:
        return _error(409, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        if any("who" in problem["loc"] for problem in error.errors()):
            return _error(422, "Type your name as reviewer, at most 60 letters. Nothing was saved.")
        return _error(422, "The page cannot have sent this decision. Load it again.")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return _error(500, "The server failed; the terminal says more. Nothing was saved.")

    @app.get(f"/{secret}/", response_class=HTMLResponse)
    def show() -> str:
        return page.text(queue, title=title, who=who)

    _add_routes(app, f"/{secret}", queue)
    if queue.kind == "images":
        _add_image_routes(app, f"/{secret}", queue)
    else:
        _add_photo_routes(app, f"/{secret}", queue)
    return app


def _add_routes(app: FastAPI, root: str, queue: Queue) -> None:
    def state() -> dict[str, Any]:
        """Returns what the page has read with this response; later changes are sent again."""
        lines = len(queue.desk.log().lines)
        return {"lines": lines, "n_rankings": queue.n_rankings, "progress": queue.progress}

    @app.get(f"{root}/queue")
    def entries() -> dict[str, Any]:
        return state() | {"items": queue.queue(), "notes": queue.notes}

    @app.get(f"{root}/news")
    def news(lines: int) -> dict[str, Any]:
        now = state()
        new = queue.desk.log().lines[max(lines, 0) :]
        latest = {line.target: {"who": line.who, "what": line.what} for line in new}
        return now | {"items": queue.changed(new), "decisions": [*latest.values()]}

    @app.post(f"{root}/undo")
    def undo(request: UndoRequest) -> dict[str, Any]:
        decision = queue.desk.undo(request.who)
        return {"file": decision.file, "what": decision.what, "items": queue.queue()}


def _add_image_routes(app: FastAPI, root: str, queue: ImageReview) -> None:
    @app.get(f"{root}/thumbnails")
    def thumbnails(ids: str) -> dict[int, str]:
        rows = [int(number) for number in ids.split(",")[:MAX_THUMBNAILS] if number.isdecimal()]
        return queue.thumbnails(rows)

    @app.post(f"{root}/decide")
    def decide(request: DecisionRequest) -> dict[str, Any]:
        return queue.decide(request.id, who=request.who, action=request.action, label=request.label)


def _add_photo_routes(app: FastAPI, root: str, queue: PhotoReview) -> None:
    @app.get(f"{root}/file/{{number}}")
    def photo(number: int) -> dict[str, Any]:
        return queue.photo(number)

    @app.get(f"{root}/file/{{number}}/image")
    def image(number: int) -> Response:
        return Response(queue.image(number), media_type="image/png")

    @app.post(f"{root}/decide")
    def decide(request: DecisionRequest) -> dict[str, Any]:
        return queue.decide(
            request.id,
            who=request.who,
            action=request.action,
            label=request.label,
            what=request.what,
            depths_m=request.depths_m,
        )


def _refusal(request: Request, hosts: set[str], secret: str) -> Response | None:
    """Returns the response to a request that is not the page's own; None for the page's."""
    host = request.headers.get("host", "")
    if host not in hosts:
        return _error(403, "This address is not this machine's own.")
    first = request.url.path.split("/")[1]
    if not secrets.compare_digest(first.encode(), secret.encode()):
        return _error(404, "There is nothing here. Open the address that the command has printed.")
    if request.method in ("GET", "HEAD"):
        return None
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    is_foreign = origin not in (None, f"http://{host}") or site not in (None, "same-origin", "none")
    if is_foreign or kind != "application/json":
        return _error(403, "Another page has sent this, so it was refused.")
    length = request.headers.get("content-length", "")
    if "transfer-encoding" in request.headers:  # then the length is not that of the body
        return _error(413, "A decision is sent in one piece.")
    if not length.isdecimal() or int(length) > MAX_BYTES:
        return _error(413, "This is longer than any decision.")
    return None


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)
