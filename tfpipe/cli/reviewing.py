"""The command that lets people correct what a version learns from: review."""

import getpass
import sys
import webbrowser
from typing import Annotated

import typer

from tfpipe import tasks
from tfpipe.cli import parts
from tfpipe.progress import Progress
from tfpipe.task import raw_folder


def review(
    task: parts.TaskName,
    model: parts.Model = None,
    version: parts.Version = None,
    port: Annotated[int, typer.Option(help="Of 127.0.0.1; 0 for any that is free.")] = 8502,
    open: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser.")] = True,
    data: parts.Data = parts.DATA,
    models: parts.Models = parts.MODELS,
    json: parts.Json = False,
) -> None:
    """Opens a local page where answers and labels are accepted or corrected, the doubtful first."""
    found = tasks.find(task)
    from tfpipe.review import listening

    taken = listening.bound(port)  # before anything that takes long
    parts.start_tensorflow()
    from tfpipe import saved
    from tfpipe.review import looking, queues, server

    folder = saved.find(
        models, task=found.name, model=model, version=version, kinds=("classifier",)
    )
    raw = raw_folder(found, data)
    queue, look = queues.opened(found, folder, data / "records" / found.name, raw=raw)
    secret, port = listening.token(), taken.getsockname()[1]
    address = f"http://{listening.HOST}:{port}/{secret}/"
    place = {"model": folder.parent.name, "version": int(folder.name)}
    told = {"address": address, "notes": list(queue.notes), "ends": "with Ctrl-C"}
    parts.done(json, command="review", task=found.name, **place, path=queue.desk.path, **told)
    sys.stdout.flush()  # whoever reads the address from a pipe waits for it
    if open:
        webbrowser.open(address)
    title = f"{found.name}: review by {folder.parent.name} {folder.name}"
    app = server.app(queue, secret=secret, port=port, title=title, who=getpass.getuser())
    with Progress(parts.err) as progress:

        def tell(done: int, total: int) -> None:
            progress("look", {"done": done, "total": total})

        with looking.Looking(queue, look, progress=tell):
            server.run(app, taken)
