"""Added records: packed records and newly labelled images of other files, as one set of records."""

import dataclasses
import filecmp
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.data import manifest as data_manifest
from tfpipe.data import schema
from tfpipe.data.manifest import RecordManifest, Shard
from tfpipe.data.source_cache import SourceCache
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.task import Example, Reading, Source, Task

PREFIX = "new: "  # before names of added files, groups and images: packed ones may have the same
SHARE = 0.5  # of the packed training examples: so many added ones are drawn in an epoch
MAX_REPEATS = 50  # of an added example in an epoch


class AddedImages(NamedTuple):
    """Labelled images to add.

    Attributes:
      sources: the files that hold them.
      columns: names of the columns of these files.
      decisions: key of an image -> its label, a validated one.
      splits: key of an image -> "train" or "test"; those of a group have the same.
      options: of the task, that the files are read with; they may differ from the packed records'.
      groups: key of an image -> its group, where that is not the one that is read.
    """

    sources: tuple[Source, ...]
    columns: tuple[str, ...]
    decisions: Mapping[str, Decision]
    splits: Mapping[str, str]
    options: Any
    groups: Mapping[str, str] = MappingProxyType({})


def write(folder: Path, home: Path, added: AddedImages, *, task: Task) -> RecordManifest:
    """Writes records that hold those of another folder and added images; replaces the folder.

    Files of the other folder are linked, not copied, where the disk allows. Added training images
    are named several times, so that an epoch has half as many of them as of the others.

    Args:
      folder: where they go.
      home: folder of the packed records.
      added: the images.
      task: with the classes and columns of the packed records.

    Raises:
      UserError: a file cannot be read, or lacks an image that has a label.
    """
    manifest = data_manifest.trusted(home)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in sorted(home.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            _link(path, folder / path.relative_to(home))
    summaries = []
    for split in ("train", "test"):
        keys = {key for key, part in added.splits.items() if part == split}
        if not keys:
            continue
        summary = schema.write(
            folder,
            f"added-{split}.tfrecord",
            [replace(source, name=f"{PREFIX}{source.name}") for source in added.sources],
            task=replace(task, read=_AddedReader(task, added, keys).read),
            options=added.options,
            cache=SourceCache(),
            decided={f"{PREFIX}{key}": added.decisions[key] for key in keys},
        )
        if summary["bad"]:
            raise UserError(f"An added file cannot be read: {next(iter(summary['bad'].values()))}")
        if summary["count"] != len(keys):
            raise UserError(
                f"The new files hold {summary['count']:,} of the {len(keys):,} labelled images to "
                f"{split} on: they, or the options, have changed since images were drawn. Put the "
                "files back, or draw again by another --out."
            )
        summaries.append(summary | {"split": split})
    made = _joined(manifest, summaries, added, task=task)
    files.replace(folder / "manifest.json", made.to_json())
    return made


def check_new(sources: Sequence[Source], raw: Path) -> None:
    """Refuses files that the raw folder holds, under whatever name: they may be trained on already.

    Args:
      sources: the files to add.
      raw: folder of the raw files.

    Raises:
      UserError: a file has the same bytes as one of the raw folder.
    """
    new: dict[tuple[int, bytes], list[Path]] = {}
    for path in {source.path: None for source in sources}:
        new.setdefault(_beginning(path), []).append(path)
    sizes = {size for size, _ in new}
    for old in sorted(raw.rglob("*")):
        if not old.is_file() or old.stat().st_size not in sizes - {0}:
            continue
        for path in new.get(_beginning(old), []):
            if filecmp.cmp(path, old, shallow=False):
                raise UserError(
                    f"{files.shown(path)} is {files.shown(old.relative_to(raw))} of the raw folder,"
                    " so the version may have been trained on it. Give files of the other "
                    "instrument or site only."
                )


def _beginning(path: Path) -> tuple[int, bytes]:
    """Returns the size of a file and a hash of its first bytes; other files mostly have others."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
        return path.stat().st_size, hashlib.sha256(head).digest()
    except OSError as error:
        raise UserError(f"{files.shown(path)} cannot be read: {error.strerror}.") from error


def read_all(added: AddedImages, task: Task, *, most: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns all images of the files, or some of each at random, labelled or not.

    Args:
      added: names the files.
      task: with the classes and columns of the packed records.
      most: images in all.
      seed: of the draw.

    Returns:
      "image" [n, height, width, channels] and "columns" [n, columns], in a random order.
    """
    rng = np.random.default_rng(seed)
    quota = -(-most // len(added.sources))
    reader = _AddedReader(task, added, None)
    examples: list[Example] = []
    for source in added.sources:
        own = reader.read(source, added.options).examples
        examples += [own[i] for i in rng.permutation(len(own))[:quota]]
    order = rng.permutation(len(examples))
    return {
        "image": np.stack([examples[i].image for i in order]),
        "columns": np.stack([examples[i].columns for i in order]),
    }


class _AddedReader:
    """Reads the chosen images of a file, as the packed records hold others."""

    def __init__(self, task: Task, added: AddedImages, keys: set[str] | None):
        """Reads by a task.

        Args:
          task: with the columns of the packed records.
          added: names the columns of the files, and the groups.
          keys: of the images to read; None for all.
        """
        self._task, self._groups, self._keys = task, added.groups, keys
        columns = added.columns
        self._order = [columns.index(name) if name in columns else -1 for name in task.columns]

    def read(self, source: Source, options: Any) -> Reading:
        own = replace(source, name=source.name.removeprefix(PREFIX))
        examples = self._task.read(own, options).examples
        chosen = [one for one in examples if self._keys is None or one.key in self._keys]
        return Reading([self._as_added(one) for one in chosen])

    def _as_added(self, example: Example) -> Example:
        columns = np.append(example.columns, np.nan)[self._order].astype(np.float32)
        group = f"{PREFIX}{self._groups.get(example.key, example.group)}"
        key = f"{PREFIX}{example.key}"
        return example._replace(key=key, group=group, columns=columns)


def _joined(
    manifest: RecordManifest, summaries: list[dict[str, Any]], added: AddedImages, *, task: Task
) -> RecordManifest:
    fields = [field.name for field in dataclasses.fields(Shard)]
    paths = {f"{PREFIX}{source.name}": source.path for source in added.sources}
    names = {unit["source"] for one in summaries for unit in one["units"] if unit["count"]}
    n_home = sum(shard.count for shard in manifest.shards if shard.split == "train")
    shards, counts, sources = list(manifest.shards), dict(manifest.counts), dict(manifest.sources)
    groups = dict(manifest.groups)
    new_counts = data_manifest.counts(task, summaries)
    for summary in summaries:
        split, n_added = summary["split"], max(1, summary["count"])
        repeats = 1
        if split == "train":
            repeats = int(np.clip(round(SHARE * n_home / n_added), 1, MAX_REPEATS))
        shards += [Shard(**{name: summary[name] for name in fields})] * repeats
        counts[split] = {
            name: counts.get(split, {}).get(name, 0) + count
            for name, count in new_counts[split].items()
        } | {k: v for k, v in counts.get(split, {}).items() if k not in new_counts[split]}
        units = [unit for unit in summary["units"] if unit["count"]]
        sources[split] = (*sources.get(split, ()), *(unit["source"] for unit in units))
        groups[split] = groups.get(split, 0) + len({unit["group"] for unit in units})
    labels = sorted((key, one.label, added.splits[key]) for key, one in added.decisions.items())
    text = json.dumps([manifest.fingerprint, labels])
    return replace(
        manifest,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        shards=tuple(shards),
        counts=counts,
        sources=sources,
        groups=groups,
        added_sha256={name: files.sha256(paths[name]) for name in sorted(names)},
        notes=(*manifest.notes, f"{len(labels):,} images of other files are added."),
    )


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    files.link(path, target)
