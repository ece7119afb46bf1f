"""Prediction by Apache Beam: raw files predicted by the workers of a cluster.

A worker loads the version once in each of its processes, checked as always, and predicts a file by
the same code as on one machine. What a file's result is, rows, overlay, counts, is stored in the
folder beside the table, where `resume` looks for it. The process that was started writes the table.
"""

import functools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam

from tfpipe.base import beam_pipeline
from tfpipe.base.beam_pipeline import Runner
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.base.tensorflow import set_environment, start_tensorflow
from tfpipe.tasks import catalog
from tfpipe.tasks.task import Source

if TYPE_CHECKING:  # a worker imports this module before it has started TensorFlow
    from tfpipe.inference.resume import SourceResults
    from tfpipe.inference.sources import PredictionJob, SourcePredictor, SourceRun, SourceRunner
    from tfpipe.registry.load import SavedPredictor

set_environment()  # a worker imports this module first, and TensorFlow with the job


class PredictSources(beam.DoFn):
    """Predicts some sources, and stores the result of each, or why there is none.

    Args:
      folder: of the results.
      job: what the sources are predicted by.
    """

    def __init__(self, folder: Path, job: "PredictionJob"):
        self._folder, self._job, self._run = folder, job, uuid.uuid4().hex
        self._predictor: SourcePredictor | None = None

    def process(self, element: Sequence[Source]) -> Iterator[str]:
        loaded = _loaded(self._run, self._job.version)
        from tfpipe.inference import resume

        results = resume.SourceResults(self._folder)
        for source in element:
            if results.result(source) is None:
                self._predict(source, results, loaded)
            yield source.name

    def _predict(self, source: Source, results: "SourceResults", loaded: "SavedPredictor") -> None:
        # One for all sources that work: contact sheets compare an image with those before.
        predictor = self._predictor or self._job.open(loaded)
        self._predictor = None
        try:
            reading = predictor.read(source)
            reason = predictor.predict(source, reading, results, lambda share: None)
        except UserError as error:
            reason = str(error)
        except Exception as error:  # whatever it is, other files are predicted
            lines = str(error).strip().splitlines() or [""]
            reason = f"{source.name} failed: {type(error).__name__}: {lines[0]}"
        if reason is not None:
            results.add_failure(source, reason)
        else:
            self._predictor = predictor


@functools.lru_cache(maxsize=1)
def _loaded(run: str, version: Path) -> "SavedPredictor":
    """Returns a version, loaded once in each process of a run."""
    start_tensorflow()
    from tfpipe.registry import load

    return load.open_version(version)


def source_runner(name: str, options: Mapping[str, str | None]) -> "SourceRunner":
    """Returns a `sources.SourceRunner` that has a runner of Apache Beam predict the sources.

    Args:
      name: of the runner, one of `beam_pipeline.RUNNERS`.
      options: of the pipeline, by name; None for those without a value.

    Raises:
      UserError: there is no such runner or option, or its value is none.
    """
    runner = Runner(name, options)

    def predict(run: "SourceRun") -> dict[str, str]:
        left, total = run.left, len(run.sources)
        run.report("predict", {"done": total - len(left), "total": total})
        if left:
            runner.check(catalog.origin_of(run.job.task), work="predict")
            for source in left:
                run.results.remove_failure(source)
            elements = beam_pipeline.chunks(left)
            runner.process(elements, PredictSources(run.results.folder, run.job))
        bad = {}
        for source in left:
            if run.results.result(source) is None:
                bad[source.name] = run.results.failure(source)
        missing = [source for source, reason in bad.items() if reason is None]
        if missing:
            raise UserError(
                f"{name} ended, but {len(missing)} of {total} files have no result in "
                f"{run.results.folder}: {listed(missing, most=3)}. Put raw files, versions and the "
                "table where all workers reach them under the same path."
            )
        run.report("predict", {"done": total, "total": total})
        return {source: reason for source, reason in bad.items() if reason is not None}

    return predict
