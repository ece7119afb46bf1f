"""Record manifest: what packed records hold, and the check that they still do."""

import dataclasses
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from tfpipe.base import files, json_dataclass
from tfpipe.base.errors import UserError
from tfpipe.data import fingerprint
from tfpipe.data.fingerprint import Checksums
from tfpipe.tasks.task import SPLITS, Task

REMEDY = "Remove the folder and run `tfpipe pack` again."
SINGLE = 0.95  # groups an image where nearly each image is a group
RENAMED = {"settled": "user_defined_split", "bad": "unreadable"}  # keys of older releases


@dataclass(frozen=True)
class Shard:
    """A TFRecord file of packed records: name in the folder, split, examples, size, checksum."""

    name: str
    split: str
    count: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RecordSummary:
    """What a version's card holds of the records that it was trained on.

    Attributes:
      fingerprint: SHA-256 over all that the records depend on.
      counts: split -> class -> labelled examples, and "(unlabelled)" where there are some.
      groups: split -> number of groups.
      fractions: shares of (train, validation, test).
      salt: word that a random split is drawn with.
      user_defined_split: whether the user or the task sets the split of some sources.
      unreadable: source that could not be read -> why.
      n_unreadable_files: number of their files, of which one may have several sources; None of
        older releases, which counted sources.
      left_out: what else was left out and why, one sentence each.
      notes: remarks on the records, one sentence each.
      origin: name of a built-in task, or absolute path of the folder or Python file of the task; ""
        of older releases.
    """

    fingerprint: str
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    salt: str = ""
    user_defined_split: bool = False
    unreadable: dict[str, str] = field(default_factory=dict)
    n_unreadable_files: int | None = None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    origin: str = ""

    @staticmethod
    def upgrade(value: dict[str, Any]) -> dict[str, Any]:
        """Returns what an older release wrote with the keys of this one."""
        return {RENAMED.get(name, name): v for name, v in value.items()}

    @property
    def unreadable_files(self) -> int:
        """Number of files that could not be read."""
        count = self.n_unreadable_files
        return len(self.unreadable) if count is None else count

    @property
    def omissions(self) -> list[str]:
        """Returns a sentence for everything that was left out, unreadable files among it."""
        return [*self.left_out, *dict.fromkeys(self.unreadable.values())]


@dataclass(frozen=True, kw_only=True)
class RecordManifest(RecordSummary):
    """The manifest of packed records, `manifest.json`.

    Attributes:
      task: name of the task.
      tfpipe: version of tfpipe that packed them.
      options: the task's options.
      classes: names in label order.
      image_shape: (height, width, channels) as models take images.
      image_dtype: "uint8", "uint16" or "float32".
      image_encoding: "bytes" or "png".
      columns: names of the numbers beside each image.
      metadata: name -> "str", "int64" or "float64", stored with each example.
      interval: names of the two metadata fields with the first and the one-past-last row of what is
        looked for; () for none.
      row_classes: names of the classes of an image's rows; () where rows have none.
      augmentation: kind of augmentation, where the records allow less than the task; "" for the
        task's.
      sources: split -> names of the sources in it.
      shards: the TFRecord files, in order.
      files: other file of the folder -> its SHA-256.
      sharding: how the shards were asked for: a number a split, "auto" for their size, or "" for
        four sources a shard. The fingerprint does not depend on it.
      compared: `near_duplicates.RULES` by which the images of different splits were compared; 0 if
        they were not.
      added_sha256: source that an adaptation added -> SHA-256 of its raw file.
      stored_shape: shape of the images in the records where they are read as grey ones; None where
        it is `image_shape`. Never written.
    """

    task: str
    tfpipe: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    image_dtype: str
    image_encoding: str
    columns: tuple[str, ...]
    metadata: dict[str, str]
    interval: tuple[str, ...] = ()
    row_classes: tuple[str, ...] = ()
    augmentation: str = ""
    sources: dict[str, tuple[str, ...]]
    shards: tuple[Shard, ...]
    files: dict[str, str] = field(default_factory=dict)
    sharding: str = ""
    compared: int = 0
    added_sha256: dict[str, str] = field(default_factory=dict)
    stored_shape: tuple[int, int, int] | None = None

    @classmethod
    def from_json(cls, value: Any, *, file: str) -> Self:
        """Returns the manifest that `manifest.json` holds, of this release or an older one.

        Args:
          value: as `json.loads` returns it.
          file: its path, for the sentence.

        Raises:
          UserError: a field is missing or has another type.
        """
        value = cls.upgrade(value) if isinstance(value, dict) else value
        return json_dataclass.from_json(cls, value, file=file, remedy=REMEDY)

    def to_json(self) -> bytes:
        """Returns the contents of `manifest.json`."""
        return json_dataclass.to_json(self)

    @property
    def summary(self) -> RecordSummary:
        """Returns what a version's card holds of these records."""
        names = [item.name for item in dataclasses.fields(RecordSummary)]
        return RecordSummary(**{name: getattr(self, name) for name in names})


def read(folder: Path) -> RecordManifest:
    """Returns the manifest of packed records.

    Raises:
      UserError: there is none, or it is malformed.
    """
    path = folder / "manifest.json"
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} holds no packed records. Run `tfpipe pack` first.") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is damaged, expected JSON. {REMEDY}") from None
    return RecordManifest.from_json(value, file=str(path))


def verify(folder: Path, *, checksums: Checksums = fingerprint.checksums) -> list[str]:
    """Returns a sentence for each thing wrong with packed records: every shard is read whole.

    Args:
      folder: of the records.
      checksums: computes those of the files.
    """
    from tfpipe.data import schema  # imports TensorFlow, which a manifest alone does not need

    manifest = read(folder)
    names = [*(shard.name for shard in manifest.shards), *manifest.files]
    present = [name for name in names if (folder / name).is_file()]
    sums = dict(zip(present, checksums([folder / name for name in present]), strict=True))
    problems = [
        schema.damage(folder / shard.name, count=shard.count)
        for shard in manifest.shards
        if sums.get(shard.name) != shard.sha256
        or (folder / shard.name).stat().st_size != shard.bytes
    ]
    for name, sha256 in manifest.files.items():
        if sums.get(name) != sha256:
            problems.append(f"{name} is missing or has changed since it was written")
    return [sentence for sentence in problems if sentence]


def checksums(
    folder: Path, *, leave_out: Container[str], linked: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Returns the SHA-256 of each file of a folder, by its path there.

    Args:
      folder: what is to become packed records.
      leave_out: names of files that the manifest vouches for otherwise, or that do not stay.
      linked: the SHA-256 of files that older records hold, too, by their path here.
    """
    inside = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in leave_out
    ]
    names = [path.relative_to(folder).as_posix() for path in inside]
    older = linked or {}
    return {
        name: older[name] if name in older else files.sha256(path)
        for name, path in zip(names, inside, strict=True)
    }


def trusted(folder: Path) -> RecordManifest:
    """Returns the manifest, after checking every shard against it; damaged records are refused."""
    wrong = verify(folder)
    if wrong:
        raise UserError(
            f"{folder} is damaged: {'; '.join(wrong)}. Remove the folder and run `tfpipe pack`."
        )
    return read(folder)


def read_stats(folder: Path) -> dict:
    """Returns image_mean, image_std, column_mean, column_std of the training split."""
    return json.loads((folder / "stats.json").read_bytes())


def counts(task: Task, summaries: list[dict]) -> dict[str, dict[str, int]]:
    """Returns how many examples each split has of each class."""
    by_split = {}
    for split in SPLITS:
        labels = np.sum([a["labels"] for a in summaries if a["split"] == split], axis=0, dtype=int)
        labels = np.broadcast_to(labels, len(task.classes)).tolist()
        by_split[split] = dict(zip(task.classes, labels, strict=True))
        unlabelled = sum(a["unlabelled"] for a in summaries if a["split"] == split)
        if unlabelled:
            by_split[split]["(unlabelled)"] = unlabelled
    return by_split


def are_single(groups: Mapping[str, int], counts: Mapping[str, Mapping[str, int]]) -> bool:
    """Returns whether nearly each image is a group of its own, so that a split is one of images.

    Args:
      groups: split -> number of groups.
      counts: split -> class -> number of images.
    """
    n_images = sum(sum(by_class.values()) for by_class in counts.values())
    return sum(groups.values()) >= SINGLE * n_images


def describe(task: Task, folder: Path, *, summaries: list[dict]) -> None:
    """Writes features.json, dataset_info.json and stats.json beside the shards.

    Args:
      task: the question.
      folder: the shards'.
      summaries: what each shard holds (`schema.write`), and its split.
    """
    import tensorflow_datasets as tfds

    from tfpipe.data import schema

    train = [summary for summary in summaries if summary["split"] == "train"]
    stats = _statistics(train, columns=len(task.columns))
    files.replace(folder / "stats.json", json.dumps(stats, indent=1).encode())
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    infos = [
        tfds.core.SplitInfo(
            name=name,
            shard_lengths=[summary["count"] for summary in summaries if summary["split"] == name],
            num_bytes=sum(summary["bytes"] for summary in summaries if summary["split"] == name),
            filename_template=tfds.core.ShardedFileTemplate(
                dataset_name=schema.dataset_name(task.name),
                split=name,
                filetype_suffix="tfrecord",
                data_dir=folder,
            ),
        )
        for name in SPLITS
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=schema.features(task),
        split_infos=infos,
        filename_template=template,
        description=f"{task.title}, packed by tfpipe",
        check_data=False,  # it would print what it reads
    )


def _statistics(summaries: list[dict], *, columns: int) -> dict[str, list[float]]:
    """Returns mean and standard deviation per channel and column, from exact sums."""
    pixels = sum(summary["pixels"] for summary in summaries)
    count = sum(summary["count"] for summary in summaries)
    stats = {}
    for word, n, key in (("image", pixels, "sums"), ("column", count, "column_sums")):
        total, squares = np.sum([summary[key] for summary in summaries], axis=0)
        mean = total / n
        std = np.sqrt(np.maximum(squares / n - mean**2, 0))
        stats[f"{word}_mean"] = mean.tolist()
        stats[f"{word}_std"] = np.where(std > 0, std, 1.0).tolist()
    return stats
