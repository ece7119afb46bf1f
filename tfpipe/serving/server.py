"""The process that serves: it binds, loads, answers, and ends once all who asked have an answer."""

import logging
import re
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from tfpipe.base.errors import UserError
from tfpipe.registry import store
from tfpipe.serving import grpc
from tfpipe.serving import sockets as serving_sockets
from tfpipe.serving.config import Wanted
from tfpipe.serving.http import app, protocol
from tfpipe.serving.limits import Limits, Load
from tfpipe.serving.model.store import Place, Shelf
from tfpipe.serving.sockets import Where

WORD = re.compile(r"(?P<task>[^/]+)(/(?P<model>[^/]+)(/(?P<version>[1-9][0-9]{0,8}))?)?")


def places_of(words: list[str], *, models: Path) -> list[Place]:
    """Returns what TASK, TASK/MODEL and TASK/MODEL/N mean; every task with a version for no word.

    Raises:
      UserError: a word is none of these, or there is nothing to serve.
    """
    if not words:
        words = sorted(
            path.name
            for path in models.glob("*")
            if any(store.versions(model) for model in path.glob("*"))
        )
    if not words:
        raise UserError(f"{models} holds no version yet. Run `tfpipe tune TASK` first.")
    return [_place(word) for word in words]


def run(
    wanted: Wanted,
    listener: socket.socket,
    *,
    where: Where,
    limits: Limits,
    started: Callable[[dict], None],
) -> None:
    """Serves until a SIGTERM or SIGINT, and then until all who asked have an answer.

    Args:
      wanted: what is served.
      listener: from `binding.bound`.
      where: host, gRPC port and token.
      limits: what is refused.
      started: told where it listens and what it serves, once it does.

    Raises:
      UserError: a word means nothing, a model has no version that can be served, or another server
        took the port.
    """
    places, stop = places_of(wanted.words, models=wanted.models), threading.Event()
    shelf = Shelf(wanted.models, places, limits=limits, runtime=wanted.runtime)
    shelf.look()
    if not shelf.is_ready:
        raise UserError(shelf.reasons())
    load = Load(limits)
    api = app.app(app.Served(shelf, limits, load, where.token))

    def look() -> None:
        for one in shelf.drifts().values():
            one.look()
        api.state.metrics.look()

    watched = {"every_s": wanted.poll_s, "stop": stop, "then": look}
    watcher = threading.Thread(target=shelf.watch, kwargs=watched)
    told = {"url": "http://{}:{}".format(*listener.getsockname()[:2])}
    served = {name: shelf.get(name).servable for name in shelf.names}
    told["models"] = {name: servable.version for name, servable in served.items()}
    told["runtimes"] = {name: servable.computed.runtime for name, servable in served.items()}
    with grpc.serving(shelf, load, limits=limits, where=where) as grpc_port:
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
        http=protocol.protocol(limits),
        loop="asyncio",
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
            serving_sockets.listen(listener)
            started()

    # uvicorn raises the signal that ended it anew; to have been told to end is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    serving_sockets.listen(listener)
    # asyncio takes up to so many connections at a time: with one, other workers have some, too.
    config.backlog = 1
    Server(config).run(sockets=[listener])


def _place(word: str) -> Place:
    found = WORD.fullmatch(word)
    if not found or ".." in (found["task"], found["model"]):
        raise UserError(f"{word!r} is none of TASK, TASK/MODEL and TASK/MODEL/N.")
    return Place(found["task"], found["model"] or "", int(found["version"] or 0))
