"""Apache Beam: runners, options of their pipelines, and elements that their workers process.

Elements and what processes them travel to the workers by pickle; results come back as files. So all
workers need what is read and written under the same paths.
"""

import argparse
import contextlib
import importlib
import importlib.util
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tfpipe.base import logs
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError

with logs.quiet():  # of Google's clients, which few need
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

RUNNERS = (
    "DirectRunner",
    "DaskRunner",
    "PrismRunner",
    "FlinkRunner",
    "SparkRunner",
    "DataflowRunner",
)
MAX_ELEMENTS = 1000  # of a pipeline; of more pieces of work each element has several
_WITHOUT_SERVER = ("DirectRunner", "DaskRunner")  # a job server may add options of its own
_LOGGERS = ("apache_beam", "distributed")


class Runner:
    """A runner of Apache Beam with its options.

    Attributes:
      name: one of `RUNNERS`.
    """

    def __init__(self, name: str, options: Mapping[str, str | None]):
        """Checks the runner and its options; nothing is started.

        Args:
          name: as the attribute.
          options: of the pipeline, by name; None for those without a value.

        Raises:
          UserError: there is no such runner or option, or its value is none.
        """
        self.name = choose(name, RUNNERS, noun="runner")
        if name == "DaskRunner":
            if importlib.util.find_spec("distributed") is None:
                raise UserError(
                    "DaskRunner needs Dask, which is not installed. Run `pip install "
                    "'tfpipe[beam]'`."
                )
            importlib.import_module("apache_beam.runners.dask.dask_runner")  # defines its options
        self._flags = [f"--runner={name}"]
        self._flags += [f"--{k}" if v is None else f"--{k}={v}" for k, v in options.items()]
        names = _option_names(self._flags)
        for option in options if name in _WITHOUT_SERVER else ():
            choose(option, names, noun="option of Beam")

    def check(self, origin: str, *, work: str) -> None:
        """Raises a UserError if workers could not import a task.

        Args:
          origin: of the task, see `catalog.origin_of`.
          work: what the workers are to do with it, a verb.
        """
        if origin.endswith(".py"):
            raise UserError(
                f"{self.name} cannot {work} the task of a Python file, {origin}: workers cannot "
                f"import what is defined in it. {work.capitalize()} it without --runner."
            )

    def process(self, elements: Sequence[Any], function: beam.DoFn) -> None:
        """Has the workers process elements, in any order, perhaps more than once.

        Raises:
          UserError: the pipeline failed; it has the sentence of a worker, or the last one of Beam.
        """
        flags = self._flags
        if self.name == "DaskRunner" and not any(flag.startswith("--dask_n") for flag in flags):
            # Its own guess is 128 elements in a task, which is all of few on one worker.
            flags = [*flags, f"--dask_npartitions={len(elements)}"]
        options = PipelineOptions(flags)
        try:
            with logs.quiet(*_LOGGERS):
                pipeline = beam.Pipeline(self._engine(options), options)
                _ = pipeline | beam.Create(elements) | beam.Reshuffle() | beam.ParDo(function)
                result = pipeline.run()
                try:
                    result.wait_until_finish()
                finally:
                    if client := getattr(result, "client", None):  # DaskRunner leaves it open
                        client.close()
        except Exception as error:
            raise UserError(self._reason(error)) from error

    def _engine(self, options: PipelineOptions) -> Any:
        """Returns the runner itself where Beam does not find the right one by its name."""
        if self.name == "DaskRunner":
            from apache_beam.runners.dask.dask_runner import DaskRunner

            return DaskRunner()
        if self.name != "DirectRunner":
            return self.name
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

    def _reason(self, error: Exception) -> str:
        """Returns a sentence for what ended a pipeline."""
        text = str(error) or type(error).__name__
        sentence = re.search(r"tfpipe\.base\.errors\.UserError: (.+)", text)
        if isinstance(error, UserError) or sentence:
            sentence_text = sentence.group(1) if sentence else text
            return re.sub(r" \[while running .*", "", sentence_text)
        last = [line.strip() for line in text.splitlines() if line.strip()][-1]
        return (
            f"{self.name} failed: {last.rstrip('.')}. What is finished stays: the same command "
            "goes on."
        )


def chunks(items: Sequence[Any]) -> list[Sequence[Any]]:
    """Returns pieces of work in order, as at most `MAX_ELEMENTS` elements of several pieces."""
    size = max(1, -(-len(items) // MAX_ELEMENTS))
    return [items[i : i + size] for i in range(0, len(items), size)]


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
