"""What a server is asked to serve."""

from pathlib import Path
from typing import NamedTuple

from tfpipe.serving.runtimes.available import SAVEDMODEL


class Wanted(NamedTuple):
    """What is served, from where, and how.

    Attributes:
      words: TASK, TASK/MODEL and TASK/MODEL/N; none for every task with a version.
      models: saved_models/.
      runtime: that computes the networks, see `runtimes.installed`.
      poll_s: between looks at the folders.
    """

    words: list[str]
    models: Path
    runtime: str = SAVEDMODEL
    poll_s: float = 1.0
