"""Access to a chief: a token that every call has in its metadata, by gRPC's interceptors.

The token is never on a command line, which everybody on a machine can read. It is in an environment
variable, in the user's file, or in a file of the search's folder; a file is for its owner alone.
"""

import hmac
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from tfpipe.base import files
from tfpipe.base.errors import UserError

LOG = logging.getLogger(__name__)
TOKEN_VARIABLE = "TFPIPE_SEARCH_TOKEN"
TOKEN_FILE = "token"  # in the search's folder
_POLL_S = 0.2  # between looks for the file that a chief is about to write
_REFUSAL = "The token is missing or wrong."


class NoChiefError(UserError):
    """The chief has not written a token, or does not answer."""


class WrongTokenError(UserError):
    """The chief does not accept the token of a worker."""


def chief_token(file: Path | None, folder: Path, *, is_shared: bool) -> str:
    """Returns the token that a chief requires: the user's, else that of its search, else a new one.

    Args:
      file: the user's file, or None.
      folder: the search's folder.
      is_shared: whether workers of other commands may come; they find a new token in the folder.

    Raises:
      UserError: the user's token cannot be used, or the file cannot be written.
    """
    if token := _given_token(file):
        return token
    if not is_shared:
        return secrets.token_urlsafe(32)
    path = folder / TOKEN_FILE
    try:
        return read_token(path)  # of a chief that was killed; its workers may still be there
    except UserError:
        token = secrets.token_urlsafe(32)
        _write(path, token)
        return token


def worker_token(file: Path | None, folder: Path, *, wait_s: float) -> str:
    """Returns the token of a worker elsewhere: the user's, else that in the search's folder.

    Args:
      file: the user's file, or None.
      folder: the search's folder.
      wait_s: how long to wait for a chief that has not written the file yet.

    Raises:
      NoChiefError: there is none.
      UserError: it cannot be used.
    """
    if token := _given_token(file):
        return token
    path, end = folder / TOKEN_FILE, time.monotonic() + wait_s
    while not path.exists():
        if time.monotonic() > end:
            raise NoChiefError(
                f"There is no token for the chief: {files.shown(path)} has not come for "
                f"{wait_s:g} s. Start the chief by the same command without --worker, or give both "
                f"the same token by {TOKEN_VARIABLE} or --token-file."
            )
        time.sleep(_POLL_S)
    return read_token(path)


def read_token(path: Path) -> str:
    """Returns the token in a file.

    Raises:
      UserError: the file cannot be read, others may read it, or it holds no token.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The token file {files.shown(path)} cannot be read: {error}.") from error
    if os.name == "posix" and mode & 0o077:
        raise UserError(
            f"The token file {files.shown(path)} has mode {mode:03o}, so others may read it. Run "
            f"chmod 600 {files.shown(path)}."
        )
    return _checked(token, place=f"The token file {files.shown(path)}")


class TokenCheck(grpc.ServerInterceptor):
    """Ends calls without the token, before anything of them is read.

    Args:
      token: the token.
    """

    def __init__(self, token: str):
        self._expected = _credentials(token).encode()
        self._has_warned = False

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Returns the method's handler, or one that refuses."""
        given = str(dict(handler_call_details.invocation_metadata).get("authorization", ""))
        if hmac.compare_digest(given.encode(), self._expected):
            return continuation(handler_call_details)
        # A handler of streams is called at once. Any other would wait in a thread for a request
        # that may never come.
        return grpc.stream_stream_rpc_method_handler(self._refuse)

    def _refuse(self, requests: Any, context: grpc.ServicerContext) -> Any:
        if not self._has_warned:
            self._has_warned = True
            LOG.warning("A call from %s without this search's token was refused.", context.peer())
        context.abort(grpc.StatusCode.UNAUTHENTICATED, _REFUSAL)


class TokenSender(grpc.UnaryUnaryClientInterceptor):
    """Adds the token to each call of a worker.

    Args:
      token: the token.
    """

    def __init__(self, token: str):
        self._metadata = (("authorization", _credentials(token)),)

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Makes the call, with the token in its metadata."""
        details = _CallDetails(
            client_call_details.method,
            client_call_details.timeout,
            (*(client_call_details.metadata or ()), *self._metadata),
            client_call_details.credentials,
            client_call_details.wait_for_ready,
            client_call_details.compression,
        )
        return continuation(details, request)


class _CallDetailsFields(NamedTuple):
    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str], ...]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _CallDetails(_CallDetailsFields, grpc.ClientCallDetails):
    """Details of a call, as gRPC passes them from one interceptor to the next."""


def _given_token(file: Path | None) -> str:
    """Returns the token of the user's file, else that of the environment; "" for none."""
    if file is not None:
        return read_token(file)
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    return token and _checked(token, place=TOKEN_VARIABLE)


def _checked(token: str, *, place: str) -> str:
    if not token:
        raise UserError(f"{place} is empty. Write the token into it.")
    if not (token.isascii() and token.isprintable()):
        raise UserError(f"{place} is no token. Use one line of printable ASCII characters.")
    return token


def _credentials(token: str) -> str:
    return f"Bearer {token}"


def _write(path: Path, token: str) -> None:
    """Writes a token into a file that only its owner may read, at no moment anybody else."""
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{token}\n")
        draft.replace(path)
    except OSError as error:
        raise UserError(
            f"{files.shown(path)} cannot be written: {error.strerror or error}. Free some space, "
            f"or give chief and workers a token by {TOKEN_VARIABLE}."
        ) from error
