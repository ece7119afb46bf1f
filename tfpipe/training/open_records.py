"""Opening of packed records for training: the dataset and the model's spec."""

from pathlib import Path

from tfpipe.data import manifest as data_manifest
from tfpipe.data import validation
from tfpipe.data.dataset import Dataset
from tfpipe.models import AUTOENCODERS
from tfpipe.models.spec import Spec
from tfpipe.tasks.task import Task


def opened(task: Task, records: Path, *, model: str, is_checked: bool) -> tuple[Dataset, Spec]:
    """Returns the dataset in a folder, and the spec that models are built by.

    Args:
      task: the task.
      records: folder of the packed records.
      model: name of the model to train.
      is_checked: whether the caller has verified every file already; else it is done here.
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
        row_classes=tuple(manifest.row_classes),
        **{name: tuple(values) for name, values in stats.items()},
    )
    objective = "loss" if model in AUTOENCODERS else task.scoring.objective
    return Dataset(records, manifest, objective), spec
