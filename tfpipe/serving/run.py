"""Runs a server, in this process or as a pool of processes that share the port."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.serving import sockets
from tfpipe.serving.config import Endpoint, ServerConfig
from tfpipe.serving.limits import Limits
from tfpipe.serving.runtimes import available


def serve(
    *versions: str,
    saved_models: str | Path = "saved_models",
    host: str = "127.0.0.1",
    port: int = 8501,
    grpc_port: int | None = None,
    token: str = "",
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
      saved_models: folder of saved versions.
      host: address to listen on.
      port: port to listen on; 0 for any free one.
      grpc_port: port for gRPC, or None.
      token: bearer token required from clients; "" for none.
      runtime: "savedmodel", "openvino", "onnx", "litert", or "auto" for the fastest.
      workers: processes that share the port.
      poll_s: seconds between looks for new versions.
      limits: what requests may cost; None for the usual limits.
      started: called with the address and what is served, once requests are answered.

    Raises:
      UserError: a name means nothing, nothing can be served, or the port is taken.
    """
    available.check(runtime)
    listener = sockets.bind(host, port)  # before TensorFlow, which takes seconds to import
    limits = limits or Limits()
    config = ServerConfig(list(versions), Path(saved_models), runtime, poll_s)
    endpoint = Endpoint(host, grpc_port, token, workers=workers)
    if workers > 1:
        from tfpipe.serving import process_pool

        pool = process_pool.ServerPool(
            config, listener, endpoint=endpoint, limits=limits, size=workers
        )
        pool.run(started)
        return
    start_tensorflow()
    from tfpipe.serving import server

    server.run(config, listener, endpoint=endpoint, limits=limits, started=started)
