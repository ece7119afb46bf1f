"""Packing by Apache Beam: the shards of `pack` written by the workers of a cluster.

One element of the pipeline is one shard, whose sources were fixed before. A worker writes it by the
same code as on one machine, so its bytes are the same whichever worker does, and however often.
Everything else, from the plan to the manifest, stays in the process that packs. All workers see raw
files and records under the same paths: the shards' summaries come back as files beside them.
"""

import argparse
import contextlib
import functools
import importlib.util
import io
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfpipe.base import logs
from tfpipe.base.choose import choose, listed
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter
from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.tasks import catalog
from tfpipe.tasks.task import Source

with logs.quiet():  # of Google's clients, which few need
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

if TYPE_CHECKING:  # a worker imports this module before it has started TensorFlow
    from tfpipe.data.pack import ShardPlan, ShardWriter
    from tfpipe.data.source_cache import SourceCache

RUNNERS = (
    "DirectRunner",
    "DaskRunner",
    "PrismRunner",
    "FlinkRunner",
    "SparkRunner",
    "DataflowRunner",
)
_WITHOUT_SERVER = ("DirectRunner", "DaskRunner")  # a job server may add options of its own
_LOGGERS = ("apache_beam", "distributed")


class WriteShard(beam.DoFn):
    """Writes one shard; done again after a worker's death it leaves the same files.

    Args:
      folder: where shards are gathered.
      context: the keywords of `schema.write`.
    """

    def __init__(self, folder: Path, context: dict[str, Any]):
        self._folder = folder
        self._run, self._old_records = uuid.uuid4().hex, context["cache"].folder
        self._context = {name: value for name, value in context.items() if name != "cache"}

    def process(self, element: tuple[str, list[Source]]) -> Iterator[str]:
        cache = _cache(self._run, self._old_records)
        from tfpipe.data import schema

        name, sources = element
        yield schema.write(self._folder, name, sources, cache=cache, **self._context)["name"]


@functools.lru_cache(maxsize=1)
def _cache(run: str, folder: Path | None) -> "SourceCache":
    """Returns the units of the old records, opened once in each process of a run."""
    start_tensorflow()
    from tfpipe.data.source_cache import SourceCache

    return SourceCache(folder)


def shard_writer(runner: str, options: Mapping[str, str | None]) -> "ShardWriter":
    """Returns a `pack.ShardWriter` that has a runner of Apache Beam write the shards.

    Args:
      runner: its name, one of `RUNNERS`.
      options: of the pipeline, by name; None for those without a value.

    Raises:
      UserError: there is no such runner or option, or its value is none.
    """
    choose(runner, RUNNERS, noun="runner")
    if runner == "DaskRunner":
        if importlib.util.find_spec("distributed") is None:
            raise UserError(
                "DaskRunner needs Dask, which is not installed. Run `pip install 'tfpipe[beam]'`."
            )
        importlib.import_module("apache_beam.runners.dask.dask_runner")  # defines its options
    flags = [f"--runner={runner}"]
    flags += [f"--{name}" if v is None else f"--{name}={v}" for name, v in options.items()]
    names = _option_names(flags)
    for name in options if runner in _WITHOUT_SERVER else ():
        choose(name, names, noun="option of Beam")

    def write(
        shards: list["ShardPlan"], folder: Path, context: dict[str, Any], report: Reporter
    ) -> list[dict[str, Any]]:
        waiting = [shard for shard in shards if not _summary(folder, shard).is_file()]
        report("pack", {"done": len(shards) - len(waiting), "total": len(shards)})
        if waiting:
            _run(runner, flags, waiting, folder.absolute(), context)
        missing = [s.name for s in waiting if not _summary(folder, s).is_file()]
        if missing:
            raise UserError(
                f"{runner} ended, but {len(missing)} of {len(shards)} shards are not in {folder}: "
                f"{listed(missing, most=3)}. Put raw files and records where all workers reach "
                "them under the same path."
            )
        report("pack", {"done": len(shards), "total": len(shards)})
        return [json.loads(_summary(folder, shard).read_text()) for shard in shards]

    return write


def _summary(folder: Path, shard: "ShardPlan") -> Path:
    return folder / f"{shard.name}.json"


def _option_names(flags: list[str]) -> list[str]:
    """Returns the names of all options of Beam that are installed, after reading those given."""
    parsers: list[argparse.ArgumentParser] = []
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), logs.quiet(*_LOGGERS):
            PipelineOptions(flags).get_all_options(add_extra_args_fn=parsers.append)
    except SystemExit as error:
        reason = complaint.getvalue().strip().rpartition("error: ")[2]
        raise UserError(f"Beam refuses --beam-option: {reason}. Correct its value.") from error
    return re.findall(r"--(\w+)", parsers[0].format_help())


def _run(
    runner: str,
    flags: list[str],
    shards: list["ShardPlan"],
    folder: Path,
    context: dict[str, Any],
) -> None:
    """Runs the pipeline to its end; what it raises becomes a sentence."""
    if runner == "DaskRunner" and not any(flag.startswith("--dask_n") for flag in flags):
        # Its own guess is 128 elements in a task, which is all shards on one worker.
        flags = [*flags, f"--dask_npartitions={len(shards)}"]
    options = PipelineOptions(flags)
    origin = catalog.origin_of(context["task"])
    if origin.endswith(".py"):
        raise UserError(
            f"{runner} cannot pack the task of a Python file, {origin}: workers cannot import what "
            "is defined in it. Pack it without --runner."
        )
    elements = [(shard.name, shard.sources) for shard in shards]
    writer = WriteShard(folder, context)
    try:
        with logs.quiet(*_LOGGERS):
            pipeline = beam.Pipeline(_engine(runner, options), options)
            _ = pipeline | beam.Create(elements) | beam.Reshuffle() | beam.ParDo(writer)
            result = pipeline.run()
            try:
                result.wait_until_finish()
            finally:
                if client := getattr(result, "client", None):  # DaskRunner leaves it open
                    client.close()
    except Exception as error:
        raise UserError(_reason(runner, error)) from error


def _engine(runner: str, options: PipelineOptions) -> Any:
    """Returns the runner itself where Beam does not find the right one by its name."""
    if runner == "DaskRunner":
        from apache_beam.runners.dask.dask_runner import DaskRunner

        return DaskRunner()
    if runner != "DirectRunner":
        return runner
    # Beam's own DirectRunner looks for Prism first, and would fetch it from the network.
    settings = {"default_sdk_harness_log_level": "CRITICAL"} | options.get_all_options(
        drop_default=True
    )
    encoded = JobServiceHandle.encode_pipeline_options(settings)
    return FnApiRunner(
        provision_info=ExtendedProvisionInfo(
            beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
        )
    )


def _reason(runner: str, error: Exception) -> str:
    """Returns a sentence for what ended a pipeline: that of a worker, or the last one of Beam."""
    text = str(error) or type(error).__name__
    sentence = re.search(r"tfpipe\.base\.errors\.UserError: (.+)", text)
    if isinstance(error, UserError) or sentence:
        sentence_text = sentence.group(1) if sentence else text
        return re.sub(r" \[while running .*", "", sentence_text)
    last = [line.strip() for line in text.splitlines() if line.strip()][-1]
    return f"{runner} failed: {last.rstrip('.')}. Finished shards stay: the same command goes on."
