"""The manifest of packed records: what they are, and whether they still are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.data import schema
from tfpipe.tasks.task import SPLITS, Task


def read(folder: Path) -> dict:
    """Returns the manifest of packed records.

    Raises:
      UserError: if there is none, or it is no manifest.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder} holds no packed records. Run `tfpipe pack` first.") from None
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or not {"fingerprint", "shards", "files"} <= set(manifest):
        raise UserError(f"{path} is damaged. Remove {folder} and run `tfpipe pack` again.")
    return manifest


def verify(folder: Path) -> list[str]:
    """Returns a sentence for each thing wrong with packed records: every shard is read whole."""
    manifest = read(folder)
    found = []
    for shard in manifest["shards"]:
        expected = {key: shard[key] for key in ("count", "bytes", "sha256")}
        found.append(schema.damage(folder / shard["name"], **expected))
    for name, sha256 in manifest["files"].items():
        path = folder / name
        if not path.is_file() or files.sha256(path) != sha256:
            found.append(f"{name} is missing or has changed since it was written")
    return [sentence for sentence in found if sentence]


def trusted(folder: Path) -> dict:
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


def for_card(manifest: dict) -> dict[str, Any]:
    """Returns what a version's card tells of the records that it learnt from."""
    names = ("fingerprint", "counts", "groups", "fractions", "salt", "settled", "notes", "bad")
    return {"options": manifest["options"], "data": {name: manifest[name] for name in names}}


def counts(task: Task, abouts: list[dict]) -> dict[str, dict[str, int]]:
    """Returns how many examples each split has of each class."""
    found = {}
    for split in SPLITS:
        labels = np.sum([a["labels"] for a in abouts if a["split"] == split], axis=0, dtype=int)
        labels = np.broadcast_to(labels, len(task.classes)).tolist()
        found[split] = dict(zip(task.classes, labels, strict=True))
        unlabelled = sum(a["unlabelled"] for a in abouts if a["split"] == split)
        if unlabelled:
            found[split]["(unlabelled)"] = unlabelled
    return found


def describe(task: Task, folder: Path, *, abouts: list[dict]) -> None:
    """Writes features.json, dataset_info.json and stats.json beside the shards.

    Args:
      task: the question.
      folder: the shards'.
      abouts: what each shard holds (`schema.write`), and its split.
    """
    train = [about for about in abouts if about["split"] == "train"]
    stats = _statistics(train, columns=len(task.columns))
    files.replace(folder / "stats.json", json.dumps(stats, indent=1).encode())
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    infos = [
        tfds.core.SplitInfo(
            name=name,
            shard_lengths=[about["count"] for about in abouts if about["split"] == name],
            num_bytes=sum(about["bytes"] for about in abouts if about["split"] == name),
            filename_template=tfds.core.ShardedFileTemplate(
                dataset_name=task.name.replace("-", "_"),
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
    )


def _statistics(abouts: list[dict], *, columns: int) -> dict[str, list[float]]:
    """Returns mean and standard deviation per channel and column, from exact sums."""
    pixels = sum(about["pixels"] for about in abouts)
    count = sum(about["count"] for about in abouts)
    stats = {}
    for word, n, key in (("image", pixels, "sums"), ("column", count, "column_sums")):
        total, squares = np.sum([about[key] for about in abouts], axis=0)
        mean = total / n
        std = np.sqrt(np.maximum(squares / n - mean**2, 0))
        stats[f"{word}_mean"] = mean.tolist()
        stats[f"{word}_std"] = np.where(std > 0, std, 1.0).tolist()
    return stats
