"""The command that serves: serve."""

import json as jsons
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.cli import options


def serve(
    versions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TASK[/MODEL[/N]]]...",
            help="What to serve, a folder of a version among it (default: every task).",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; only this machine can reach the default.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on (0: any free port).")
    ] = 8501,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port for gRPC (default: no gRPC).")
    ] = None,
    unix_socket: Annotated[
        Path | None, typer.Option(help="Unix socket to listen on, in place of host and port.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the bearer token required from clients (or set TFPIPE_TOKEN)."
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everybody in who can reach --host.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name that clients without a token may call the server by, besides localhost and "
            "addresses."
        ),
    ] = None,
    proxy_headers: Annotated[
        bool,
        typer.Option("--proxy-headers", help="A proxy here names clients by X-Forwarded-For."),
    ] = False,
    max_body: Annotated[float, typer.Option(min=0.001, help="Megabytes of one request.")] = 16.0,
    max_pixels: Annotated[float, typer.Option(min=0.001, help="Megapixels of one image.")] = 20.0,
    max_instances: Annotated[int, typer.Option(min=1, help="Images of one request.")] = 512,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="Requests that wait for their answer at a time.")
    ] = 128,
    max_per_client: Annotated[
        int, typer.Option(min=1, help="Waiting requests of one client address.")
    ] = 96,
    deadline: Annotated[
        float, typer.Option(min=0.1, help="Seconds after which a request fails.")
    ] = 30.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port.")] = 1,
    poll: Annotated[
        float, typer.Option(min=0.05, help="Seconds between looks for new versions.")
    ] = 1.0,
    runtime: Annotated[
        str,
        typer.Option(help="Inference engine: savedmodel, openvino, onnx, litert, or auto."),
    ] = "savedmodel",
    models: options.Models = options.MODELS,
    json: options.Json = False,
) -> None:
    """Serves versions over HTTP as TensorFlow Serving does, and takes up new ones."""
    from tfpipe.serving import run
    from tfpipe.serving.config import LAST_S
    from tfpipe.serving.limits import Limits

    def started(address: dict[str, Any]) -> None:
        if json:
            summary = {"command": "serve", **address, "workers": workers}
            print(jsons.dumps(summary), flush=True)
            return
        names = ", ".join(
            f"{name} (version {version}, {address['runtimes'][name]})"
            for name, version in address["models"].items()
        )
        print(f"Serving {names} at {address['url']}. Press Ctrl-C to stop.", flush=True)

    run.serve(
        *(versions or ()),
        saved_models=models,
        host=host,
        port=port,
        grpc_port=grpc_port,
        unix_socket=unix_socket,
        token=_token(token_file),
        no_token=no_token,
        allow_hosts=allow_host or (),
        proxy_headers=proxy_headers,
        runtime=runtime,
        workers=workers,
        poll_s=poll,
        limits=Limits(
            max_body_bytes=int(1e6 * max_body),
            max_pixels=int(1e6 * max_pixels),
            max_instances=max_instances,
            max_waiting=max_waiting,
            max_per_client=max_per_client,
            deadline_s=deadline,
        ),
        started=started,
    )
    processes.end_within(LAST_S)


def _token(file: Path | None) -> str:
    """Returns the token of a file, or that of the environment.

    It is no option: everybody on the machine can read the command line of a process.
    """
    if file is None:
        return os.environ.get("TFPIPE_TOKEN", "")
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file {file} cannot be read: {error}.") from error
    if not token:
        raise UserError(f"--token-file {file} is empty. Write the token into it.")
    return token
