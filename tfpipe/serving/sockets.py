"""Listening sockets: a port is bound before anything slow begins, and listened to when ready."""

import socket

from tfpipe.base.errors import UserError

BACKLOG = 2048  # connections that the system queues until they are accepted; it may allow fewer


def bind(host: str, port: int, *, option: str = "--port") -> socket.socket:
    """Returns a socket that is bound to a port and does not listen yet.

    Until it listens, clients are refused at once and do not wait. Another server that starts at the
    same time may bind the port, too; the first one that listens has it.

    Args:
      host: address.
      port: number; 0 for any free port.
      option: command line option that sets the port, for the error message.

    Raises:
      UserError: the port cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit this. Without it the body of a response waits 40 ms for its head to be
        # received: asyncio sets it only where a socket names its protocol, and these do not.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise _port_error(host, port, error, option=option) from error
    return listener


def listen(listener: socket.socket) -> None:
    """Lets clients connect.

    Raises:
      UserError: another server listens at the port meanwhile.
    """
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        host, port = listener.getsockname()[:2]
        raise _port_error(host, port, error, option="--port") from error


def reserve(host: str, port: int, *, option: str) -> socket.socket:
    """Returns a socket that reserves a port for several processes, which use SO_REUSEPORT.

    Raises:
      UserError: the port cannot be bound.
    """
    # Servers that share a port let others of the same user in; a socket that does not share it is
    # refused.
    with bind(host, port, option=option) as exclusive:
        reservation = socket.socket(exclusive.family, socket.SOCK_STREAM)
        for name in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            reservation.setsockopt(socket.SOL_SOCKET, name, 1)
        reservation.bind(exclusive.getsockname())
    return reservation


def _port_error(host: str, port: int, error: OSError, *, option: str) -> UserError:
    reason = error.strerror or error
    return UserError(
        f"The server cannot listen at {host} port {port}: {reason}. Choose another with {option}."
    )
