"""Any folder of images: class folders, or a table of them. What does each show?"""

import re
import unicodedata
from pathlib import Path

from tfpipe.tasks.image_folder.options import ImageFolderOptions
from tfpipe.tasks.image_folder.reader import METADATA, read
from tfpipe.tasks.image_folder.survey import survey, survey_new
from tfpipe.tasks.task import Preprocessing, RawFiles, Scoring, Task

EXPECTS = (
    "a folder for each class, with images (PNG, JPEG, TIFF, ...), in one tree or under train/, "
    "val/ and test/; or a table with path, label, perhaps group and split, and numbers as columns"
)
MODELS = (
    "compact-resnet",
    "simple-cnn",
    "resnet18",
    "image-and-columns",
    "columns-mlp",
    "resnet9",
    "resnet34",
    "resnet50",
    "vgg16",
    "conv-autoencoder",
    "conv-vae",
)


def folder_task(folder: Path, *, taken: tuple[str, ...] = ()) -> Task:
    """Returns the task of classifying the images of a folder.

    Args:
      folder: holds class folders, or a table and images.
      taken: names of other tasks.
    """
    name = task_name(folder)
    return Task(
        name=f"{name}-pictures" if name in taken else name,
        title=f"the images of the folder {folder.resolve().name}",
        expects=EXPECTS,
        classes=(),
        image_shape=(128, 128, 3),
        metadata=METADATA,
        options=ImageFolderOptions(),
        survey=survey,
        read=read,
        survey_new=survey_new,
        models=MODELS,
        scoring=Scoring(objective="balanced_accuracy"),
        preprocessing=Preprocessing(augmentation="measured"),
        raw_files=RawFiles(folder=folder.resolve()),
    )


def task_name(folder: Path) -> str:
    """Returns a folder's name as a task's: lower-case letters without accents, digits, hyphens."""
    plain = unicodedata.normalize("NFKD", folder.resolve().name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "pictures"
