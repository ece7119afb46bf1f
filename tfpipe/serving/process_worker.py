"""One of several processes that serve at one port, started as `python -m tfpipe.serving.worker`."""

import faulthandler
import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from tfpipe.base import processes, tensorflow
from tfpipe.base.errors import UserError
from tfpipe.serving.config import Wanted
from tfpipe.serving.limits import Limits
from tfpipe.serving.process_pool import TOLD, Orders
from tfpipe.serving.sockets import Where


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
    processes.end_with_stdin(lambda: shutil.rmtree(counts, ignore_errors=True))
    tensorflow.start_tensorflow()
    from tfpipe.serving import server

    wanted = Wanted(**orders.wanted)
    server.run(
        wanted._replace(models=Path(wanted.models)),
        socket.socket(fileno=orders.listener),
        where=Where(**orders.where),
        limits=Limits(**orders.limits),
        started=started,
    )


if __name__ == "__main__":
    faulthandler.enable()
    try:
        main(lambda told: print(json.dumps(told), flush=True))
    except UserError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(TOLD)
