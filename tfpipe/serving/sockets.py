"""Listening sockets: a port is bound before anything slow begins, and listened to when ready."""

import ipaddress
import socket
import stat
from pathlib import Path

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


def bind_unix(path: Path, *, option: str = "--unix-socket") -> socket.socket:
    """Returns a Unix socket that this user alone can reach, and that does not listen yet.

    Args:
      path: of the socket; one that a server has left there is replaced.
      option: that sets the path, for the error message.

    Raises:
      UserError: another server listens there, or the file cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _is_listening(path):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        listener.close()
        raise UserError(
            f"The server cannot listen at {path}: {error.strerror or error}. Choose another with "
            f"{option}."
        ) from error
    return listener


def connect_unix(path: Path, *, timeout_s: float | None = None) -> socket.socket:
    """Returns a socket that is connected to a Unix socket.

    Args:
      path: of the Unix socket.
      timeout_s: for connecting, and for each read and write later; None for any.

    Raises:
      OSError: nobody listens there, or not in time.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout_s)
        client.connect(str(path))
    except BaseException:
        client.close()
        raise
    return client


def rebind(listener: socket.socket) -> socket.socket:
    """Returns a new socket at the address of one, which is closed."""
    where = listener.getsockname()
    listener.close()
    return bind_unix(Path(where)) if isinstance(where, str) else bind(*where[:2])


def url(listener: socket.socket) -> str:
    """Returns the URL of a socket; unix:PATH of a Unix socket."""
    where = listener.getsockname()
    return f"unix:{where}" if isinstance(where, str) else f"http://{address(*where[:2])}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address or a name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(host: str, port: int) -> str:
    """Returns HOST:PORT, with an IPv6 address in brackets as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(listener: socket.socket) -> None:
    """Lets clients connect.

    Raises:
      UserError: another server listens at the port meanwhile.
    """
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        host, port = listener.getsockname()[:2]  # only a port can be taken meanwhile
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


def _is_listening(path: Path) -> bool:
    try:
        connect_unix(path).close()
    except ConnectionRefusedError:
        return False
    return True
