"""Chief and workers over gRPC: KerasTuner's service, and a second one that speaks JSON.

KerasTuner's messages give out trials. They cannot say why a trial failed, that a worker is alive,
or that one died. These are the methods of the second service.
"""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tfpipe.base.errors import UserError
from tfpipe.search.access import NoChiefError, TokenCheck, TokenSender, WrongTokenError
from tfpipe.search.keras_tuner_internals import OracleServicer, add_servicer

SERVICE = "tfpipe.Chief"
MAX_THREADS = 32  # calls answered at once; those that change anything wait for one lock anyway
_RETRY_POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_EVERY_METHOD = {"name": [{}], "retryPolicy": _RETRY_POLICY}
CLIENT_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.service_config", json.dumps({"methodConfig": [_EVERY_METHOD]})),
]

Method = Callable[..., dict[str, Any]]


def serve(
    servicer: OracleServicer, methods: dict[str, Method], *, address: str, token: str
) -> tuple[grpc.Server, str]:
    """Starts a server, which runs until it is stopped.

    Args:
      servicer: KerasTuner's.
      methods: methods of the JSON service by name; arguments and results are plain JSON.
      address: "host:port"; port 0 is any free one.
      token: the token that each call must have.

    Returns:
      The server, and the address with the port that it listens on.

    Raises:
      UserError: the server cannot listen at the address.
    """
    host, port = parse_address(address)
    try:
        # gRPC would say neither why not, nor that another process listens there already.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"The chief cannot listen at {address}: {reason}. Choose another address by "
            "--chief HOST:PORT."
        ) from error
    server = grpc.server(
        ThreadPoolExecutor(MAX_THREADS),
        interceptors=[TokenCheck(token)],
        options=[("grpc.so_reuseport", 0)],
    )
    add_servicer(servicer, server)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _handler(method), request_deserializer=json.loads, response_serializer=_to_bytes
        )
        for name, method in methods.items()
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    bound_port = server.add_insecure_port(address)
    server.start()
    return server, f"{address.rpartition(':')[0]}:{bound_port}"


class ChiefConnection:
    """A worker's connection to the chief.

    Attributes:
      address: "host:port".
      wait_s: for how long a call is tried before the chief is taken to be gone.
      channel: the gRPC channel.
    """

    def __init__(self, address: str, *, wait_s: float, token: str):
        parse_address(address)
        self.address, self.wait_s = address, wait_s
        channel = grpc.insecure_channel(address, options=CLIENT_OPTIONS)
        self.channel = grpc.intercept_channel(channel, TokenSender(token))

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Returns the result of a method of the JSON service.

        Raises:
          WrongTokenError: the chief does not accept the token.
          NoChiefError: the chief does not answer.
          UserError: the chief refuses.
        """
        method = self.channel.unary_unary(
            f"/{SERVICE}/{name}", request_serializer=_to_bytes, response_deserializer=json.loads
        )
        with self.readable_errors():
            return method(arguments, timeout=self.wait_s, wait_for_ready=True)

    @contextlib.contextmanager
    def readable_errors(self) -> Iterator[None]:
        """Turns gRPC's errors into sentences for the user."""
        try:
            yield
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
                raise UserError(error.details()) from error
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                raise WrongTokenError(
                    f"The chief at {self.address} does not accept this worker's token. Give both "
                    "the same one by TFPIPE_SEARCH_TOKEN or --token-file, or the same --models on "
                    "a shared file system."
                ) from error
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise NoChiefError(
                    f"The chief at {self.address} has not answered for {self.wait_s:g} s. Start it "
                    "by the same command without --worker, or wait longer by --wait."
                ) from error
            raise


def parse_address(address: str) -> tuple[str, int]:
    """Returns host and port of "host:port"."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port[:6]) > 65535:
        raise UserError(f"--chief is {address!r}, expected HOST:PORT, such as node1:5000.")
    return host.strip("[]"), int(port)


def _handler(method: Method) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    def handle(request: dict[str, Any], context: Any) -> dict[str, Any]:
        try:
            return method(**request)
        except UserError as error:
            return context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    return handle


def _to_bytes(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()
