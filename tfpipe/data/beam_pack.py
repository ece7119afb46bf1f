"""Packing by Apache Beam: the shards of `pack` written by the workers of a cluster.

One element of the pipeline is one shard, whose sources were fixed before. A worker writes it by the
same code as on one machine, so its bytes are the same whichever worker does, and however often.
Everything else, from the plan to the manifest, stays in the process that packs. All workers see raw
files and records under the same paths: the shards' summaries come back as files beside them.
"""

import functools
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam

from tfpipe.base.beam_pipeline import Runner
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter
from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.tasks import catalog
from tfpipe.tasks.task import Source

if TYPE_CHECKING:  # a worker imports this module before it has started TensorFlow
    from tfpipe.data.pack import ShardPlan, ShardWriter
    from tfpipe.data.source_cache import SourceCache


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


def shard_writer(name: str, options: Mapping[str, str | None]) -> "ShardWriter":
    """Returns a `pack.ShardWriter` that has a runner of Apache Beam write the shards.

    Args:
      name: of the runner, one of `beam_pipeline.RUNNERS`.
      options: of the pipeline, by name; None for those without a value.

    Raises:
      UserError: there is no such runner or option, or its value is none.
    """
    runner = Runner(name, options)

    def write(
        shards: list["ShardPlan"], folder: Path, context: dict[str, Any], report: Reporter
    ) -> list[dict[str, Any]]:
        waiting = [shard for shard in shards if not _summary(folder, shard).is_file()]
        report("pack", {"done": len(shards) - len(waiting), "total": len(shards)})
        if waiting:
            runner.check(catalog.origin_of(context["task"]), work="pack")
            elements = [(shard.name, shard.sources) for shard in waiting]
            runner.process(elements, WriteShard(folder.absolute(), context))
        missing = [s.name for s in waiting if not _summary(folder, s).is_file()]
        if missing:
            raise UserError(
                f"{name} ended, but {len(missing)} of {len(shards)} shards are not in {folder}: "
                f"{listed(missing, most=3)}. Put raw files and records where all workers reach "
                "them under the same path."
            )
        report("pack", {"done": len(shards), "total": len(shards)})
        return [json.loads(_summary(folder, shard).read_text()) for shard in shards]

    return write


def _summary(folder: Path, shard: "ShardPlan") -> Path:
    return folder / f"{shard.name}.json"
