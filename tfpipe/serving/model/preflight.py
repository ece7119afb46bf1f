"""Preflight of a version: a process of its own loads it before the server does.

A version may compute for ever, take all memory or crash when it is loaded or answers its warm-up
requests. There it does so in a process that is killed, and the server never loads it.
"""

import os
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from tfpipe.base import processes
from tfpipe.base.errors import UserError
from tfpipe.registry.checked_files import CheckedCopy
from tfpipe.serving.config import PREFLIGHT
from tfpipe.serving.errors import RequestError
from tfpipe.serving.limits import Limits
from tfpipe.serving.model.loaded import WARMUP_DEADLINES, Servable

LOAD_S = 120.0  # for all but the warm-up requests: to start a process, load, and convert
MAX_BYTES = 4096  # of the sentence that refuses a version


def check(copy: CheckedCopy, *, limits: Limits, runtime: str) -> None:
    """Loads a checked copy of a version in a process of its own, as the server will.

    Args:
      copy: of the version.
      limits: of its requests.
      runtime: that computes it.

    Raises:
      UserError: the version must not be loaded, cannot be, ended its process, or has not been
        loaded and answered its warm-up requests in time.
    """
    name = "/".join(copy.folder.parts[-3:])
    limit_s = LOAD_S + WARMUP_DEADLINES * limits.deadline_s
    receiver, sender = processes.CONTEXT.Pipe(duplex=False)
    with receiver:
        with sender:
            try:
                process = processes.started(
                    PREFLIGHT,
                    copy,
                    limits,
                    runtime,
                    sender,
                    log=Path(os.devnull),
                    environment=dict(os.environ),
                )
            except (EOFError, OSError) as error:
                raise UserError(
                    f"{name} is not loaded, as no process could be started for its preflight: "
                    f"{type(error).__name__}, {error}."
                ) from error
        try:
            if not receiver.poll(limit_s):
                raise UserError(
                    f"{name} was not loaded within {limit_s:g} s. Export it again, or serve it "
                    "with a larger --deadline."
                )
            if refusal := receiver.recv_bytes(MAX_BYTES).decode(
                "utf-8", "replace"
            ):  # which may not be trusted
                raise UserError(refusal)
        except OSError as error:
            raise UserError(f"{name} did not answer as a preflight does: {error}.") from error
        except EOFError as error:
            process.join()
            raise UserError(
                f"{name} ended the process that loaded it, by "
                f"{processes.exit_name(process.exitcode)}. "
                "It may need more memory than there is. Otherwise export it again."
            ) from error
        finally:
            process.kill()
            process.join()
            process.close()


def main(copy: CheckedCopy, limits: Limits, runtime: str, sender: Connection) -> None:
    """Loads a version, and sends why it is refused, or "".

    Args:
      copy: of the version.
      limits: of its requests.
      runtime: that computes it.
      sender: of a pipe to the server.
    """
    threading.Thread(target=processes.end_with_parent, daemon=True).start()
    processes.yield_to_others()  # to the server, which answers requests meanwhile
    refusal = ""
    try:
        Servable(copy, folder=copy.folder, limits=limits, runtime=runtime, measure_s=0)
    except Exception as error:
        refusal = reason(error, copy.folder)
    sender.send_bytes(refusal.encode()[:MAX_BYTES])


def reason(error: Exception, version: Path) -> str:
    """Returns in one sentence why a version is not served.

    Args:
      error: raised when it was checked or loaded.
      version: its folder.
    """
    if isinstance(error, (UserError, RequestError)):
        return str(error)
    name = "/".join(version.parts[-3:])
    return f"{name} is damaged: {type(error).__name__}, {str(error)[:200]}."
