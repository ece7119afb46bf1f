"""The address of the review page: this machine's own, on a port, under a word nobody can guess."""

import secrets
import socket

from tfpipe.base.errors import UserError

HOST = "127.0.0.1"


def bound(port: int) -> socket.socket:
    """Returns a socket of this machine only.

    Args:
      port: 0 for any that is free.

    Raises:
      UserError: the port is taken or not allowed.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        why = getattr(error, "strerror", None) or "there is no such port"
        raise UserError(
            f"Port {port} cannot be used: {why}. Give another by --port, or 0 for any free one."
        ) from error
    return listening


def token() -> str:
    """Returns what only the page that was opened here knows."""
    return secrets.token_urlsafe(24)
