"""Configuration of a server: which versions it serves, where it listens and to whom."""

from pathlib import Path
from typing import NamedTuple

from tfpipe.serving.runtimes.available import SAVEDMODEL

LAST_S = 5.0  # for the threads of a server that has stopped; a graph may compute for ever
PREFLIGHT = "tfpipe.serving.model.preflight"  # module that the server of `processes` imports


class ServerConfig(NamedTuple):
    """Which versions are served, and how.

    Attributes:
      selectors: TASK, TASK/MODEL or TASK/MODEL/N each; an empty list serves every task that has a
        version.
      models: folder saved_models/.
      runtime: that computes the networks, a name of `runtimes.available.PACKAGES` or "auto".
      poll_s: seconds between two checks of the folders for new versions.
    """

    selectors: list[str]
    models: Path
    runtime: str = SAVEDMODEL
    poll_s: float = 1.0


class Endpoint(NamedTuple):
    """Where a server listens besides its HTTP port, and to whom.

    Attributes:
      host: address; 127.0.0.1 is reached from this machine only.
      grpc_port: 0 for any free port; None for no gRPC.
      token: bearer token that every request must have; "" for none.
      hosts: names that requests may call the server by, besides localhost and addresses.
      proxy_headers: whether a proxy on this machine names the client, by X-Forwarded-For.
      shares_grpc_port: whether other processes serve gRPC at the same port.
      siblings: folder where the workers of a pool listen for each other; "" for one process.
    """

    host: str = "127.0.0.1"
    grpc_port: int | None = None
    token: str = ""
    hosts: tuple[str, ...] = ()
    proxy_headers: bool = False
    shares_grpc_port: bool = False
    siblings: str = ""
