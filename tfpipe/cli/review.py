"""The command that lets people correct what a version learns from: review."""

import getpass
import sys
import webbrowser
from typing import Annotated

import typer

from tfpipe import tasks
from tfpipe.base.progress import ProgressBar
from tfpipe.cli import options
from tfpipe.tasks.task import raw_folder


def review(
    task: options.TaskName,
    model: options.Model = None,
    version: options.Version = None,
    port: Annotated[int, typer.Option(help="Of 127.0.0.1; 0 for any that is free.")] = 8502,
    open: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser.")] = True,
    data: options.Data = options.DATA,
    models: options.Models = options.MODELS,
    json: options.Json = False,
) -> None:
    """Opens a local page where answers and labels are accepted or corrected, the doubtful first."""
    found = tasks.find(task)
    from tfpipe.review import sockets

    taken = sockets.bound(port)  # before anything that takes long
    options.start_tensorflow()
    from tfpipe.registry import store
    from tfpipe.review import app as review_app
    from tfpipe.review import background
    from tfpipe.review import open as review_open

    folder = store.find(
        models, task=found.name, model=model, version=version, kinds=("classifier",)
    )
    raw = raw_folder(found, data)
    queue, look = review_open.opened(found, folder, data / "records" / found.name, raw=raw)
    secret, port = sockets.token(), taken.getsockname()[1]
    address = f"http://{sockets.HOST}:{port}/{secret}/"
    place = {"model": folder.parent.name, "version": int(folder.name)}
    told = {"address": address, "notes": list(queue.notes), "ends": "with Ctrl-C"}
    options.done(json, command="review", task=found.name, **place, path=queue.desk.path, **told)
    sys.stdout.flush()  # whoever reads the address from a pipe waits for it
    if open:
        webbrowser.open(address)
    title = f"{found.name}: review by {folder.parent.name} {folder.name}"
    app = review_app.app(queue, secret=secret, port=port, title=title, who=getpass.getuser())
    with ProgressBar(options.err) as progress:

        def tell(done: int, total: int) -> None:
            progress("embed", {"done": done, "total": total})

        with background.Looking(queue, look, progress=tell):
            review_app.run(app, taken)
