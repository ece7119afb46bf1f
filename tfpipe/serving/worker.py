"""One of several processes that serve at one port, started as `python -m tfpipe.serving.worker`."""

import faulthandler
import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from tfpipe import processes
from tfpipe.errors import UserError
from tfpipe.serving.binding import Where
from tfpipe.serving.chief import TOLD, Orders
from tfpipe.serving.limits import Limits


def main(started: Callable[[dict], None]) -> None:
    """Serves by the orders on standard input until a SIGTERM, or until the chief is gone.

    Args:
      started: told where it listens and what it serves, once it does.

    Raises:
      UserError: nothing can be served.
    """
    orders = Orders(**json.loads(sys.stdin.readline()))
    # A chief that was killed leaves the counts behind.
    counts = Path(orders.counts)
    processes.end_with_whoever_started_us(lambda: shutil.rmtree(counts, ignore_errors=True))
    processes.start_tensorflow()
    from tfpipe.serving import server

    models = Path(orders.models)
    server.run(
        server.places_of(orders.words, models=models),
        socket.socket(fileno=orders.listener),
        models=models,
        where=Where(**orders.where),
        limits=Limits(**orders.limits),
        poll_s=orders.poll_s,
        started=started,
    )


if __name__ == "__main__":
    faulthandler.enable()
    try:
        main(lambda told: print(json.dumps(told), flush=True))
    except UserError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(TOLD)
