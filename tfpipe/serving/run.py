"""Runs a server, in this process or as a pool of processes that share the port."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tfpipe.base import processes, resources, storage
from tfpipe.base.errors import UserError
from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.serving import sockets
from tfpipe.serving.config import PREFLIGHT, Endpoint, ServerConfig
from tfpipe.serving.limits import Limits
from tfpipe.serving.runtimes import available


def serve(
    *versions: str,
    saved_models: str | Path = "saved_models",
    host: str = "127.0.0.1",
    port: int = 8501,
    grpc_port: int | None = None,
    unix_socket: str | Path | None = None,
    token: str = "",
    no_token: bool = False,
    allow_hosts: Iterable[str] = (),
    proxy_headers: bool = False,
    runtime: str = "savedmodel",
    workers: int = 1,
    poll_s: float = 1.0,
    limits: Limits | None = None,
    started: Callable[[dict[str, Any]], None] = lambda address: None,
) -> None:
    """Serves versions over HTTP and gRPC as TensorFlow Serving does, until it is interrupted.

    Args:
      versions: each TASK, TASK/MODEL, TASK/MODEL/N or the folder of a version; none for every
        task with a version.
      saved_models: folder of saved versions, or its URL in object storage.
      host: address to listen on.
      port: port to listen on; 0 for any free one.
      grpc_port: port for gRPC, or None.
      unix_socket: path of a Unix socket to listen on in place of host and port; None for none.
      token: bearer token required from clients; "" for none.
      no_token: serve without a token at a host that other machines can reach.
      allow_hosts: names that clients without a token may call the server by, besides localhost and
        addresses.
      proxy_headers: whether a proxy on this machine names the client, by X-Forwarded-For.
      runtime: "savedmodel", "openvino", "onnx", "litert", or "auto" for the fastest.
      workers: processes that share the port.
      poll_s: seconds between looks for new versions.
      limits: what requests may cost; None for the usual limits. They are lowered where this
        process, or its container, may use too little memory for them.
      started: called with the address and what is served, once requests are answered.

    Raises:
      UserError: a name means nothing, nothing can be served, the port is taken, or everybody could
        ask the server.
    """
    available.check(runtime)
    _check_token(host, token=token, no_token=no_token)
    # Before TensorFlow, which takes seconds to import.
    listener = sockets.bind_unix(Path(unix_socket)) if unix_socket else sockets.bind(host, port)
    limits = (limits or Limits()).within(resources.memory_bytes() // workers)
    models = storage.local_folder(saved_models)
    config = ServerConfig(list(versions), models, runtime, poll_s)
    endpoint = Endpoint(host, grpc_port, token, tuple(allow_hosts), proxy_headers)
    try:
        if workers > 1:
            from tfpipe.serving import process_pool

            pool = process_pool.ServerPool(
                config, listener, endpoint=endpoint, limits=limits, size=workers
            )
            pool.run(started)
            return
        processes.begin(PREFLIGHT)  # it imports TensorFlow at the same time
        start_tensorflow()
        from tfpipe.serving import server

        server.run(config, listener, endpoint=endpoint, limits=limits, started=started)
    finally:
        listener.close()
        if unix_socket:
            Path(unix_socket).unlink(missing_ok=True)


def _check_token(host: str, *, token: str, no_token: bool) -> None:
    """Checks that nobody is let in unasked, and that the token can be sent."""
    if token and no_token:
        raise UserError("There is a token, and --no-token. Leave one out.")
    if not re.fullmatch("[!-~]*", token):
        raise UserError("The token must have printable ASCII characters, and no space.")
    if not (token or no_token or sockets.is_loopback(host)):
        raise UserError(
            f"Other machines can reach --host {host}. Set a token by TFPIPE_TOKEN or --token-file, "
            "or let everybody in with --no-token."
        )
