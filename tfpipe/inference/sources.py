"""Prediction of raw files one after the other: in this process, or by the workers of a runner."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter
from tfpipe.inference.resume import SourceResults
from tfpipe.registry.load import SavedPredictor
from tfpipe.tasks.task import Source, Task


class SourcePredictor(Protocol):
    """A loaded version, and all else that predicting one raw file after another needs."""

    def read(self, source: Source) -> Any:
        """Returns what is read of a source before it is predicted.

        Raises:
          UserError: the source cannot be read.
        """

    def predict(
        self,
        source: Source,
        reading: Any,
        results: SourceResults,
        report: Callable[[float], None],
    ) -> str | None:
        """Predicts a source and stores its result; returns why it cannot be read, or None.

        Args:
          source: the source.
          reading: what `read` returned.
          results: where the result is stored.
          report: receives the share of the source that is done.
        """


class PredictionJob(Protocol):
    """What the predictions of raw files depend on; a process of its own receives it by pickle."""

    @property
    def task(self) -> Task:
        """The task."""

    @property
    def version(self) -> Path:
        """Folder of the version."""

    def open(self, predictor: SavedPredictor) -> SourcePredictor:
        """Returns what predicts the sources.

        Args:
          predictor: the version, loaded.
        """


class SourceRun(NamedTuple):
    """Sources that are to be predicted, those with a result among them.

    Attributes:
      sources: in order.
      job: what they are predicted by.
      predictor: the version, loaded in this process.
      results: where results are, and are stored.
      report: receives the stage "predict".
    """

    sources: Sequence[Source]
    job: PredictionJob
    predictor: SavedPredictor
    results: SourceResults
    report: Reporter

    @property
    def left(self) -> list[Source]:
        """Sources without a result."""
        return [source for source in self.sources if self.results.result(source) is None]


# Predicts what is left of a run, and returns source -> why it could not be predicted.
SourceRunner = Callable[[SourceRun], dict[str, str]]


def predict_here(run: SourceRun) -> dict[str, str]:
    """Predicts sources in this process; each is read while the one before is predicted."""
    left, total = run.left, len(run.sources)
    predictor = run.job.open(run.predictor)
    bad: dict[str, str] = {}
    for done, (source, reading) in enumerate(_read_ahead(left, predictor), total - len(left)):
        run.report("predict", {"done": done, "total": total})
        if isinstance(reading, UserError):
            bad[source.name] = str(reading)
            continue
        report = partial(_report_part, run.report, done=done, total=total)
        reason = predictor.predict(source, reading, run.results, report)
        if reason is not None:
            bad[source.name] = reason
    run.report("predict", {"done": total, "total": total})
    return bad


def _report_part(report: Reporter, share: float, *, done: int, total: int) -> None:
    """Reports the share of the source at hand that is done, besides the sources before it."""
    report("predict", {"done": done, "total": total, "part": share})


def _read_ahead(
    sources: list[Source], predictor: SourcePredictor
) -> Iterator[tuple[Source, Any | UserError]]:
    """Gives each source and its reading, while the next one is being read."""

    def read(source: Source) -> Any | UserError:
        try:
            return predictor.read(source)
        except UserError as error:
            return error

    with ThreadPoolExecutor(1) as pool:
        waiting: tuple[Source, Future[Any | UserError]] | None = None
        for source in sources:
            ahead = (source, pool.submit(read, source))
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = ahead
        if waiting:
            yield waiting[0], waiting[1].result()
