"""Packing by Apache Beam: what reads whole files is done by the workers of a cluster.

One element of the pipeline is one shard, whose sources were fixed before. A worker writes it by the
same code as on one machine, so its bytes are the same whichever worker does, and however often.
With it come sums of pixels, counts, and the images' perceptual hashes. Workers also compute the
checksums of raw files and of older records. What is left, from the plan to the manifest, reads no
raw image. All workers see raw files and records under the same paths: results come back as files.
"""

import functools
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam

from tfpipe.base import beam_pipeline, files
from tfpipe.base.beam_pipeline import Runner
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter
from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.tasks import catalog
from tfpipe.tasks.task import Source

if TYPE_CHECKING:  # a worker imports this module before it has started TensorFlow
    from tfpipe.data.fingerprint import Checksums
    from tfpipe.data.pack import PackingEngine, ShardPlan, ShardWriter
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
        # Of the process that packs: a worker has its own, and reads regrouped sources again.
        here = ("cache", "checksum", "regrouped")
        self._context = {name: value for name, value in context.items() if name not in here}

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


class SumFiles(beam.DoFn):
    """Computes the checksums of some files.

    Args:
      folder: where they are left, as number.json.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def process(self, element: tuple[int, Sequence[Path]]) -> Iterator[int]:
        number, paths = element
        sums = [files.sha256(path) for path in paths]
        files.replace(self._folder / f"{number}.json", json.dumps(sums).encode())
        yield number


def packing_engine(name: str, options: Mapping[str, str | None], records: Path) -> "PackingEngine":
    """Returns a `pack.PackingEngine` whose work is done by a runner of Apache Beam.

    Args:
      name: of the runner, one of `beam_pipeline.RUNNERS`.
      options: of the pipeline, by name; None for those without a value.
      records: folder of the records, beside which results of the workers are left.

    Raises:
      UserError: there is no such runner or option, or its value is none.
    """
    from tfpipe.data.pack import PackingEngine

    runner = Runner(name, options)
    return PackingEngine(_shard_writer(runner), _checksums(runner, records))


def _checksums(runner: Runner, records: Path) -> "Checksums":
    """Returns a function that has workers compute the checksums of files."""
    from tfpipe.data import exchange

    folder = exchange.hidden(records, "sums").absolute()

    def checksums(paths: list[Path]) -> list[str]:
        if not paths:
            return []
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed: the caller has a lock
        elements = list(enumerate(beam_pipeline.chunks([path.absolute() for path in paths])))
        try:
            runner.process(elements, SumFiles(folder))
            found = [folder / f"{number}.json" for number, _ in elements]
            if missing := [path for path in found if not path.is_file()]:
                raise UserError(
                    f"{runner.name} ended, but {len(missing)} of {len(found)} lists of checksums "
                    f"are not in {folder}. Put raw files and records where all workers reach them "
                    "under the same path."
                )
            return [one for path in found for one in json.loads(path.read_bytes())]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return checksums


def _shard_writer(runner: Runner) -> "ShardWriter":
    """Returns a `pack.ShardWriter` that has workers write the shards."""
    from tfpipe.data import source_cache

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
                f"{runner.name} ended, but {len(missing)} of {len(shards)} shards are not in "
                f"{folder}: {listed(missing, most=3)}. Put raw files and records where all workers "
                "reach them under the same path."
            )
        report("pack", {"done": len(shards), "total": len(shards)})
        return [
            source_cache.in_short(json.loads(_summary(folder, shard).read_text()))
            for shard in shards
        ]

    return write


def _summary(folder: Path, shard: "ShardPlan") -> Path:
    return folder / f"{shard.name}.json"
