"""Chief and workers over gRPC: KerasTuner's own service, and beside it one that speaks JSON.

KerasTuner's messages give out trials. They have no word for why a trial failed, for a worker that
still lives, or for one that died; these are the methods of the second service.
"""

import contextlib
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from keras_tuner.src import protos

from tfpipe.base.errors import UserError

SERVICE = "tfpipe.Chief"
THREADS = 32  # calls that are answered at once; those that matter wait for one lock anyway
_RETRIES = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_ALWAYS = {"name": [{}], "retryPolicy": _RETRIES}
_CLIENT = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.service_config", json.dumps({"methodConfig": [_ALWAYS]})),
]


def serve(servicer, methods: dict[str, Callable[..., dict]], *, address: str) -> tuple[Any, str]:
    """Serves until the server is stopped.

    Args:
      servicer: KerasTuner's.
      methods: of the JSON service, by name; they take and return what JSON can hold.
      address: "host:port"; port 0 is any free one.

    Returns:
      The server, and the address with the port it got.

    Raises:
      UserError: nothing can listen there.
    """
    host, port = split(address)
    try:
        # gRPC would say neither why not, nor that another process listens there already.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"The chief cannot listen at {address}: {reason}. Give another by --chief HOST:PORT."
        ) from error
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _answering(method), request_deserializer=json.loads, response_serializer=_bytes
        )
        for name, method in methods.items()
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    got = server.add_insecure_port(address)
    server.start()
    return server, f"{address.rpartition(':')[0]}:{got}"


class Line:
    """A worker's connection to the chief.

    Attributes:
      address: "host:port".
      wait_s: how long to try; then the chief is taken to be gone.
      channel: gRPC's.
    """

    def __init__(self, address: str, *, wait_s: float):
        split(address)
        self.address, self.wait_s = address, wait_s
        self.channel = grpc.insecure_channel(address, options=_CLIENT)

    def call(self, name: str, **facts) -> dict:
        """Returns what a method of the JSON service answers.

        Raises:
          UserError: the chief refuses, or does not answer.
        """
        method = self.channel.unary_unary(
            f"/{SERVICE}/{name}", request_serializer=_bytes, response_deserializer=json.loads
        )
        with self.sentences():
            return method(facts, timeout=self.wait_s, wait_for_ready=True)

    @contextlib.contextmanager
    def sentences(self):
        """Turns what goes wrong with a call into sentences."""
        try:
            yield
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
                raise UserError(error.details()) from error
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise UserError(
                    f"The chief at {self.address} has not answered for {self.wait_s:g} s. Start it "
                    "by the same command without --worker, or wait longer by --wait."
                ) from error
            raise


def split(address: str) -> tuple[str, int]:
    """Returns host and port of "host:port"."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UserError(f"--chief is {address!r}, expected HOST:PORT, such as node1:5000.")
    return host.strip("[]"), int(port)


def _answering(method: Callable[..., dict]):
    def answer(request: dict, context) -> dict:
        try:
            return method(**request)
        except UserError as error:
            return context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

    return answer


def _bytes(told: dict) -> bytes:
    return json.dumps(told).encode()
