"""The port that a server has; it is taken before anything slow begins."""

import socket

from tfpipe.errors import UserError


def bound(host: str, port: int) -> socket.socket:
    """Returns a socket that has a port; 0 is any free one.

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
        listener.listen()  # else another server could bind it, too, until one of them listens
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise UserError(
            f"Nothing can listen at {host} port {port}: {reason}. Give another by --port."
        ) from error
    return listener
