"""Folds in layered rock (seed document 004): is each hinge a box, a chevron, or rounded?"""

from pathlib import Path
from typing import Any

from tfpipe.base import files
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.tasks import image_folder
from tfpipe.tasks.image_folder import class_folders
from tfpipe.tasks.image_folder.options import ImageFolderOptions
from tfpipe.tasks.task import Baselines, Preprocessing, Scoring, Survey, Task

CLASSES = ("box", "chevron", "rounded")
OUTCROP = r"^(outcrop[^_]*|.*)"  # up to the first "_"; other names are groups of their own
FEATURES = "features_*.csv"  # ready feature tables, as in the repository of seed document 004


def survey(folder: Path, options: Any) -> Survey:
    """Lists the images of class folders; decodes a few to choose their size.

    Raises:
      UserError: as of any folder; there are feature tables only; or none of the classes is here.
    """
    if folder.is_dir() and any(folder.glob(FEATURES)) and not class_folders.images_in(folder)[0]:
        raise UserError(
            f"{files.shown(folder)} holds tables of features and no images, so there is nothing "
            "to pack. `tfpipe shallow folds` reads such tables; for other commands put images in "
            "class folders."
        )
    contents = image_folder.survey(folder, options)
    unknown = [name for name in contents.classes if name.lower() not in CLASSES]
    if unknown:
        raise UserError(
            f"{files.shown(folder)} has the classes {listed(contents.classes)}, expected "
            f"{', '.join(CLASSES)}. Rename the folders, or give the folder itself as the task: "
            f"`tfpipe tune {files.shown(folder)}`."
        )
    return contents


TASK = Task(
    name="folds",
    title="folds in layered rock, by the shape of their hinges",
    expects=(
        "box/, chevron/ and rounded/ with images, in one tree or under train/, val/ and test/ "
        "(group-from tells the outcrop by the name); or ready features_{train,val,test}.csv"
    ),
    classes=(),
    image_shape=(128, 128, 3),
    metadata=image_folder.METADATA,
    options=ImageFolderOptions(group_from=OUTCROP),
    survey=survey,
    read=image_folder.read,
    survey_new=image_folder.survey_new,
    models=(
        "resnet9",
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "simple-cnn",
        "compact-resnet",
        "vgg16",
        "conv-autoencoder",
        "conv-vae",
    ),
    scoring=Scoring(objective="balanced_accuracy"),
    preprocessing=Preprocessing(augmentation="photos"),
    baselines=Baselines(
        candidates=(
            "resnet9+grey",
            "resnet9",
            "resnet34",
            "resnet50+random",
            "resnet50+pretrained",
            "resnet101+random",
            "resnet101+pretrained",
            "resnet152+random",
            "resnet152+pretrained",
        ),
        packed_splits=True,
        leaderboard=True,
    ),
)
