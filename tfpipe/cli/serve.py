"""The command that serves: serve."""

import json as jsons
from typing import Annotated

import typer

from tfpipe.cli import options


def serve(
    versions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK[/MODEL[/N]]]...", help="What is served; all by default."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address; others than this machine's are open.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any free one.")] = 8501,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Also serve gRPC there.")
    ] = None,
    token: Annotated[
        str,
        typer.Option(envvar="TFPIPE_TOKEN", help="That requests must have."),
    ] = "",
    max_body: Annotated[float, typer.Option(min=0.001, help="MB of one request.")] = 16.0,
    max_pixels: Annotated[float, typer.Option(min=0.001, help="Megapixels of a picture.")] = 20.0,
    max_instances: Annotated[int, typer.Option(min=1, help="Pictures of one request.")] = 512,
    max_waiting: Annotated[int, typer.Option(min=1, help="Requests not yet answered.")] = 128,
    max_per_client: Annotated[int, typer.Option(min=1, help="Of these, of one address.")] = 96,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds until a request fails.")] = 30.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port.")] = 1,
    poll: Annotated[float, typer.Option(min=0.05, help="Seconds between looks at folders.")] = 1.0,
    runtime: Annotated[
        str, typer.Option(help="savedmodel, openvino, onnx, litert, or auto: the fastest here.")
    ] = "savedmodel",
    models: options.Models = options.MODELS,
    json: options.Json = False,
) -> None:
    """Answers requests over HTTP as TensorFlow Serving does, and takes up new versions."""
    from tfpipe.serving import sockets
    from tfpipe.serving.config import Endpoint, ServerConfig
    from tfpipe.serving.limits import Limits
    from tfpipe.serving.runtimes import available

    available.check(runtime)
    listener = sockets.bind(host, port)  # before TensorFlow, which takes seconds to import
    limits = Limits(
        max_body_bytes=int(1e6 * max_body),
        max_pixels=int(1e6 * max_pixels),
        max_instances=max_instances,
        max_waiting=max_waiting,
        max_per_client=max_per_client,
        deadline_s=deadline,
    )
    config = ServerConfig(versions or [], models, runtime, poll)
    endpoint = Endpoint(host, grpc_port, token)

    def started(info: dict) -> None:
        if json:
            print(jsons.dumps({"command": "serve", **info, "workers": workers}), flush=True)
            return
        names = ", ".join(
            f"{name} (version {version}, {info['runtimes'][name]})"
            for name, version in info["models"].items()
        )
        print(f"Serving {names} at {info['url']}. Press Ctrl-C to stop.", flush=True)

    if workers > 1:
        from tfpipe.serving import process_pool

        pool = process_pool.ServerPool(
            config, listener, endpoint=endpoint, limits=limits, size=workers
        )
        pool.run(started)
        return
    options.start_tensorflow()
    from tfpipe.serving import server

    server.run(config, listener, endpoint=endpoint, limits=limits, started=started)
