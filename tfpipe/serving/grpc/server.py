"""The gRPC server: its services at a port, until the end of a block."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from tfpipe.base.errors import UserError
from tfpipe.serving import sockets
from tfpipe.serving.config import Endpoint
from tfpipe.serving.grpc import health, open_inference, prediction, reflection
from tfpipe.serving.grpc.calls import STREAMS, Calls
from tfpipe.serving.limits import Admission, Limits
from tfpipe.serving.metrics import ServerMetrics
from tfpipe.serving.model.store import ModelStore

SPARE = 32  # threads for calls that are refused because others are open


@contextmanager
def run_grpc(
    models: ModelStore,
    admission: Admission,
    metrics: ServerMetrics,
    *,
    limits: Limits,
    endpoint: Endpoint,
) -> Iterator[int]:
    """Serves gRPC until the end of the block, and yields the port; 0 if gRPC is not served.

    Args:
      models: the served versions.
      admission: shared with HTTP.
      metrics: likewise.
      limits: what the server refuses to exceed.
      endpoint: host, port and token.

    Raises:
      UserError: the port cannot be bound.
    """
    if endpoint.grpc_port is None:
        yield 0
        return
    n_calls = limits.max_waiting + STREAMS + SPARE
    server = grpc.server(
        ThreadPoolExecutor(n_calls, thread_name_prefix="grpc"),
        options=[
            ("grpc.so_reuseport", int(endpoint.shares_grpc_port)),
            ("grpc.max_receive_message_length", limits.max_body_bytes),
            ("grpc.max_allowed_incoming_connections", limits.max_connections),
        ],
        maximum_concurrent_rpcs=n_calls,
    )
    calls = Calls(admission, metrics, limits=limits, token=endpoint.token)
    services = {
        **prediction.handlers_of(models, calls, limits),
        **open_inference.handlers_of(models, calls, limits),
        **health.handlers_of(models, calls),
    }
    services |= reflection.handlers_of(list(services), calls)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]
    )
    try:
        port = server.add_insecure_port(sockets.address(endpoint.host, endpoint.grpc_port))
    except RuntimeError as error:
        calls.close()
        raise UserError(
            f"gRPC cannot listen at {endpoint.host} port {endpoint.grpc_port}. "
            "Choose another with --grpc-port."
        ) from error
    server.start()
    try:
        yield port
    finally:
        calls.end_streams()
        server.stop(limits.deadline_s).wait()
        calls.close()
