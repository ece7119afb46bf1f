"""Packed records, opened for training: the dataset and the model's spec."""

from pathlib import Path

from tfpipe.data import manifest as data_manifest
from tfpipe.data import validation
from tfpipe.data.dataset import Dataset
from tfpipe.models import AUTOENCODERS
from tfpipe.models.spec import Spec
from tfpipe.tasks.task import Task


def opened(task: Task, records: Path, *, model: str, is_checked: bool) -> tuple[Dataset, Spec]:
    """Returns packed records, and what a model may know of them.

    Args:
      task: the question.
      records: the folder.
      model: name of the model that is to learn from them.
      is_checked: whether somebody has read every byte of them before; else it is done now.
    """
    manifest = data_manifest.read(records) if is_checked else data_manifest.trusted(records)
    if model not in AUTOENCODERS:
        validation.classifiable(manifest)
    stats = data_manifest.read_stats(records)
    height, width, channels = manifest.image_shape
    spec = Spec(
        image_shape=(height, width, channels),
        image_dtype=manifest.image_dtype,
        classes=tuple(manifest.classes),
        columns=tuple(manifest.columns),
        per_image_standardization=task.preprocessing.per_image_standardization,
        letterbox=task.preprocessing.letterbox,
        **{name: tuple(values) for name, values in stats.items()},
    )
    objective = "loss" if model in AUTOENCODERS else task.scoring.objective
    return Dataset(records, manifest, objective), spec
