"""A process that retrains and is killed, again and again, until one run is left alone."""

import json
import os
import signal
import sys
from pathlib import Path

from typer.testing import CliRunner

from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.cli import app
from tfpipe.registry import store, warmup
from tfpipe.training import checkpoints, loop

# name of a moment -> the function after which the process dies, and at which call of it
MOMENTS = {
    "training": (checkpoints, "add", 3),
    "half a draft": (warmup, "write", 1),
    "published": (store, "publish", 1),
}


def _killed_after(module, name: str, call: int) -> None:
    """Makes the process kill itself just after the nth call of a function."""
    function, left = getattr(module, name), [call]

    def counting(*args, **kwargs):
        made = function(*args, **kwargs)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    setattr(module, name, counting)


def main(folder: Path, words: list[str], moments: list[str]) -> None:
    """Prints of each run the exit status and the versions, and the output of the last one."""
    runs = []
    for moment in [*moments, ""]:
        child = os.fork()
        if not child:
            os.chdir(folder)
            loop.SAVE_EVERY_S, loop.SAVE_SHARE = 0, 1e9  # a state after every step
            processes.begin, processes.called = (
                lambda *modules: None,
                lambda function, *args: function(*args),
            )
            if moment:
                _killed_after(*MOMENTS[moment])
            done = CliRunner().invoke(app, words)
            output = done.output if done.exit_code == 0 else repr(done.exception)
            (folder / "output.txt").write_text(output)
            os._exit(2 if isinstance(done.exception, UserError) else done.exit_code)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        model = folder / "saved_models" / "lights" / "simple-cnn"
        runs.append([status, store.versions(model), any(model.glob(".draft*"))])
    print(json.dumps([runs, (folder / "output.txt").read_text()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]))
