"""The process that serves: it binds, loads, answers, and ends once all who asked have an answer."""

import logging
import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import uvicorn
from fastapi import FastAPI

from tfpipe import saved
from tfpipe.errors import UserError
from tfpipe.serving import connections, rest, rpc
from tfpipe.serving.limits import Limits, Load
from tfpipe.serving.shelf import Place, Shelf

WORD = re.compile(r"(?P<task>[^/]+)(/(?P<model>[^/]+)(/(?P<version>[1-9][0-9]{0,8}))?)?")


class Where(NamedTuple):
    """Where a server listens besides its port, and to whom.

    Attributes:
      host: address; 127.0.0.1 is this machine alone.
      grpc_port: 0 for any free one; None for no gRPC.
      token: that every request must have; "" for none.
    """

    host: str = "127.0.0.1"
    grpc_port: int | None = None
    token: str = ""


def places_of(words: list[str], *, models: Path) -> list[Place]:
    """Returns what TASK, TASK/MODEL and TASK/MODEL/N mean; every task with a version for no word.

    Raises:
      UserError: a word is none of these, or there is nothing to serve.
    """
    if not words:
        words = sorted(
            path.name
            for path in models.glob("*")
            if any(saved.versions(model) for model in path.glob("*"))
        )
    if not words:
        raise UserError(f"{models} holds no version yet. Run `tfpipe tune TASK` first.")
    return [_place(word) for word in words]


def run(
    shelf: Shelf,
    listener: socket.socket,
    *,
    where: Where,
    limits: Limits,
    poll_s: float,
    started: Callable[[dict], None],
) -> None:
    """Serves until a SIGTERM or SIGINT, and then until all who asked have an answer.

    Args:
      shelf: of what is served.
      listener: from `binding.bound`.
      where: host, gRPC port and token.
      limits: what is refused.
      poll_s: between looks at the folders.
      started: told where it listens and what it serves, once it does.

    Raises:
      UserError: a model has no version that can be served.
    """
    stop = threading.Event()
    shelf.look()
    if not shelf.is_ready:
        raise UserError(shelf.reasons())
    load = Load(limits)
    api = rest.app(rest.Served(shelf, limits, load, where.token))
    watcher = threading.Thread(target=shelf.watch, kwargs={"every_s": poll_s, "stop": stop})
    told = {"url": "http://{}:{}".format(*listener.getsockname()[:2])}
    served = {name: shelf.get(name).servable for name in shelf.names}
    told["models"] = {name: servable.version for name, servable in served.items()}
    told["runtimes"] = {name: servable.computed.runtime for name, servable in served.items()}
    with rpc.serving(shelf, load, limits=limits, where=where) as grpc_port:
        if grpc_port:
            told["grpc"] = f"{where.host}:{grpc_port}"
        watcher.start()
        try:
            _serve(configured(api, limits=limits), listener, started=lambda: started(told))
        finally:
            stop.set()
            watcher.join()


def configured(api: FastAPI, *, limits: Limits) -> uvicorn.Config:
    """Returns how uvicorn is to serve."""
    return uvicorn.Config(
        api,
        http=connections.protocol(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(limits.deadline_s),
    )


def _serve(config: uvicorn.Config, listener: socket.socket, *, started: Callable[[], None]) -> None:
    class Server(uvicorn.Server):
        async def startup(self, sockets=None) -> None:
            await super().startup(sockets)
            started()

    # uvicorn raises the signal that ended it anew; to have been told to end is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    Server(config).run(sockets=[listener])


def _place(word: str) -> Place:
    found = WORD.fullmatch(word)
    if not found or ".." in (found["task"], found["model"]):
        raise UserError(f"{word!r} is none of TASK, TASK/MODEL and TASK/MODEL/N.")
    return Place(found["task"], found["model"] or "", int(found["version"] or 0))
