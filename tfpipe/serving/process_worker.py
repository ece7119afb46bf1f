"""A worker process of the pool, started as `python -m tfpipe.serving.process_worker`."""

import faulthandler
import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfpipe.base import processes, tensorflow
from tfpipe.base.errors import UserError
from tfpipe.serving.config import LAST_S, PREFLIGHT, Endpoint, ServerConfig
from tfpipe.serving.limits import Limits
from tfpipe.serving.process_pool import EXIT_USER_ERROR, ServerWorkerConfig


def main(started: Callable[[dict[str, Any]], None]) -> None:
    """Serves by the configuration on standard input until a SIGTERM or the end of the pool.

    Args:
      started: called as that of `server.run`.

    Raises:
      UserError: nothing can be served.
    """
    worker = ServerWorkerConfig(**json.loads(sys.stdin.readline()))
    # A pool that is killed leaves this folder behind.
    metrics = Path(worker.metrics_folder)
    processes.end_with_stdin(lambda: shutil.rmtree(metrics, ignore_errors=True))
    processes.begin(PREFLIGHT)
    tensorflow.start_tensorflow()
    from tfpipe.serving import server

    config = ServerConfig(**worker.server)
    server.run(
        config._replace(models=Path(config.models)),
        socket.socket(fileno=worker.listener),
        endpoint=Endpoint(**worker.endpoint),
        limits=Limits(**worker.limits),
        started=started,
    )


if __name__ == "__main__":
    faulthandler.enable()
    try:
        main(lambda info: print(json.dumps(info), flush=True))
        processes.end_within(LAST_S)
    except UserError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(EXIT_USER_ERROR)
