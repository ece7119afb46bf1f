"""The server process: it loads versions, serves HTTP and gRPC, and drains when it is stopped."""

import contextlib
import logging
import os
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
import uvicorn
from starlette.types import ASGIApp

from tfpipe.base import files, logs, processes, resources
from tfpipe.base.errors import UserError
from tfpipe.registry import store, stored_versions
from tfpipe.serving import sockets as serving_sockets
from tfpipe.serving import uploads
from tfpipe.serving.config import Endpoint, ServerConfig
from tfpipe.serving.grpc.server import run_grpc
from tfpipe.serving.http import app, protocol
from tfpipe.serving.http.analyze import UploadConfig
from tfpipe.serving.http.siblings import Siblings
from tfpipe.serving.jobs import JobLimits, JobQueue
from tfpipe.serving.limits import Admission, Limits
from tfpipe.serving.metrics import ServerMetrics
from tfpipe.serving.model.store import ModelSelector, ModelStore

LOG = logging.getLogger(__name__)
# Besides the cores: a graph that never ends has one for ever, and others must still be computed.
SPARE_THREADS = 16
LAST_CHECK_S = 10.0  # for a check of the folders that is under way when the server stops
SELECTOR = re.compile(r"(?P<task>[^/]+)(/(?P<model>[^/]+)(/(?P<version>[1-9][0-9]{0,8}))?)?")


def run(
    config: ServerConfig,
    listener: socket.socket,
    *,
    endpoint: Endpoint,
    limits: Limits,
    started: Callable[[dict[str, Any]], None],
) -> None:
    """Serves until a SIGTERM or SIGINT, and returns after every request has its answer.

    Args:
      config: which versions are served, and how.
      listener: socket from `sockets.bind`.
      endpoint: host, gRPC port and token.
      limits: what the server refuses to exceed.
      started: called once the server answers, with {"url", "models": name -> version, "runtimes":
        name -> runtime, "grpc": address, if it serves gRPC}.

    Raises:
      UserError: a selector is malformed, a model has no version that can be served, or another
        server took the port.
    """
    selectors = parse_selectors(config.selectors, models=config.models)
    _add_spare_threads()
    models = ModelStore(config.models, selectors, limits=limits, runtime=config.runtime)
    models.refresh()
    processes.end()
    if not models.is_ready:
        raise UserError(models.unavailable_reason())
    admission = Admission(limits)
    with contextlib.ExitStack() as stack:
        siblings = None
        if endpoint.siblings:
            siblings = Siblings(Path(endpoint.siblings), str(os.getpid()))
            stack.enter_context(contextlib.closing(siblings))
        folder = stack.enter_context(uploads.open_folder())
        queue = JobQueue(JobLimits(), prefix=siblings.prefix if siblings else "")
        stack.enter_context(contextlib.closing(queue))
        context = app.AppContext(
            models,
            limits,
            admission,
            endpoint.token,
            tuple(endpoint.hosts),
            UploadConfig(folder, queue, siblings),
        )
        listeners = [listener, siblings.listener] if siblings else [listener]
        _run(context, config, listeners, endpoint=endpoint, started=started)


def _add_spare_threads() -> None:
    """Gives TensorFlow threads for graphs that never end, unless it has begun to compute."""
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_inter_op_parallelism_threads(resources.cores() + SPARE_THREADS)


def _run(
    context: app.AppContext,
    config: ServerConfig,
    listeners: list[socket.socket],
    *,
    endpoint: Endpoint,
    started: Callable[[dict[str, Any]], None],
) -> None:
    """Serves at all listeners until a signal, as `run`."""
    models, limits, admission = context.models, context.limits, context.admission
    metrics = ServerMetrics(models, admission)
    api = app.create_app(context, metrics)

    def after_refresh() -> None:
        processes.end()
        for monitor in models.drift_monitors().values():
            monitor.process()
        metrics.refresh()

    stop = threading.Event()
    poller = threading.Thread(
        target=models.poll,
        kwargs={"every_s": config.poll_s, "stop": stop, "after_refresh": after_refresh},
        daemon=True,  # a version that is never loaded to the end does not keep the server alive
    )
    servables = {name: models.get(name).servable for name in models.names}
    info: dict[str, Any] = {
        "url": serving_sockets.url(listeners[0]),
        "models": {name: servable.version for name, servable in servables.items()},
        "runtimes": {name: servable.choice.runtime for name, servable in servables.items()},
    }
    with run_grpc(models, admission, metrics, limits=limits, endpoint=endpoint) as grpc_port:
        if grpc_port:
            info["grpc"] = serving_sockets.address(endpoint.host, grpc_port)
        poller.start()
        try:
            http = uvicorn_config(api, limits=limits, proxy_headers=endpoint.proxy_headers)
            _serve(http, listeners, started=lambda: started(info))
        finally:
            stop.set()
            poller.join(LAST_CHECK_S)


def parse_selectors(selectors: list[str], *, models: Path) -> list[ModelSelector]:
    """Returns the parsed TASK, TASK/MODEL, TASK/MODEL/N and folders of versions.

    Args:
      selectors: an empty list stands for every task that has a version.
      models: folder saved_models/.

    Raises:
      UserError: a selector is malformed, or there is no version at all.
    """
    failure = None
    if not selectors:
        try:
            stored_versions.fetch(models)
        except UserError as error:
            failure = error
        selectors = sorted(
            path.name
            for path in models.glob("*")
            if any(store.versions(model) for model in path.glob("*"))
        )
    if failure and not selectors:
        raise failure
    if failure:
        LOG.warning("What was fetched before is served. %s", failure)
    if not selectors:
        if (models / store.CARD).is_file():
            raise UserError(
                f"{models} is itself a version. Copy it to saved_models/TASK/MODEL/1, with the "
                "names in the title of its MODEL_CARD.md, and serve saved_models."
            )
        raise UserError(f"{models} has no version yet. Run `tfpipe tune TASK` first.")
    return [_parse_selector(selector) for selector in selectors]


def uvicorn_config(api: ASGIApp, *, limits: Limits, proxy_headers: bool = False) -> uvicorn.Config:
    """Returns the configuration of uvicorn for an API.

    Args:
      api: the application.
      limits: of connections.
      proxy_headers: see `Endpoint`.
    """
    return uvicorn.Config(
        api,
        http=protocol.create_protocol(limits),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=proxy_headers,
        forwarded_allow_ips="127.0.0.1,::1",
        timeout_graceful_shutdown=int(limits.deadline_s),
    )


def _serve(
    config: uvicorn.Config, listeners: list[socket.socket], *, started: Callable[[], None]
) -> None:
    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            for listener in listeners:
                serving_sockets.listen(listener)
            started()

    # uvicorn raises again the signal that stopped it; a server that was stopped has not failed.
    processes.call_on_stop(lambda: None)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    for listener in listeners:
        serving_sockets.listen(listener)
    # asyncio accepts up to this many connections in a row: with one, other workers get some, too.
    config.backlog = 1
    with logs.shown("tfpipe.serving"):
        Server(config).run(sockets=listeners)


def _parse_selector(selector: str) -> ModelSelector:
    folder = Path(selector)
    if (folder / "assets.extra" / "card.json").is_file():
        card = store.read_card(folder)
        if not files.is_number(folder.name):
            raise UserError(
                f"The folder of a version is its number, {card.version}, but this one is called "
                f"{folder.name!r}. Rename it."
            )
        return ModelSelector(card.task, card.model, int(folder.name), folder)
    if folder.is_dir() and selector.startswith((".", "/")):
        raise UserError(
            f"{selector} is no folder of a version, such as saved_models/TASK/MODEL/N. Give one, "
            "or TASK, TASK/MODEL or TASK/MODEL/N of --models."
        )
    match = SELECTOR.fullmatch(selector)
    if not match or ".." in (match["task"], match["model"]):
        raise UserError(
            f"Expected TASK, TASK/MODEL, TASK/MODEL/N or the folder of a version, got {selector!r}."
        )
    return ModelSelector(match["task"], match["model"] or "", int(match["version"] or 0))
