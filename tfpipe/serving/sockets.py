"""The ports that a server has; they are taken before anything slow begins."""

import socket
from typing import NamedTuple

from tfpipe.base.errors import UserError

BACKLOG = 2048  # connections that the system keeps until they are taken; its own limit may be lower


class Where(NamedTuple):
    """Where a server listens besides its port, and to whom.

    Attributes:
      host: address; 127.0.0.1 is this machine alone.
      grpc_port: 0 for any free one; None for no gRPC.
      token: that every request must have; "" for none.
      is_shared: whether other processes serve gRPC at the same port.
    """

    host: str = "127.0.0.1"
    grpc_port: int | None = None
    token: str = ""
    is_shared: bool = False


def bound(host: str, port: int, *, option: str = "--port") -> socket.socket:
    """Returns a socket that has a port; 0 is any free one.

    It does not listen: until there is somebody to answer, clients are refused at once and do not
    wait. Another server that begins at the same time may bind the port, too; who listens first has
    it.

    Args:
      host: address.
      port: number.
      option: by which the user gives another.

    Raises:
      UserError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Without, an answer's body waits 40 ms for its head to be received:
        # asyncio sets it only where a socket names its protocol, as these do not.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise _taken(host, port, error, option=option) from error
    return listener


def listen(listener: socket.socket) -> None:
    """Lets clients connect.

    Raises:
      UserError: another server listens there meanwhile.
    """
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        raise _taken(*listener.getsockname()[:2], error, option="--port") from error


def reserved(host: str, port: int, *, option: str) -> socket.socket:
    """Returns a socket that keeps a port for several processes, which bind it with SO_REUSEPORT.

    Raises:
      UserError: it cannot be had.
    """
    # Servers that share a port let others of the same user in; a socket that does not is refused.
    with bound(host, port, option=option) as alone:
        keeper = socket.socket(alone.family, socket.SOCK_STREAM)
        for name in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            keeper.setsockopt(socket.SOL_SOCKET, name, 1)
        keeper.bind(alone.getsockname())
    return keeper


def _taken(host: str, port: int, error: OSError, *, option: str) -> UserError:
    reason = error.strerror or error
    return UserError(
        f"Nothing can listen at {host} port {port}: {reason}. Give another by {option}."
    )
