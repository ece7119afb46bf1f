"""Maps of hydrogen during reionization: redshift and escape fraction (Fay 2019, seed document 003).

Two tasks that read the same slices of simulated 21 cm brightness temperature.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tfpipe.tasks.ionization.options import IonizationOptions
from tfpipe.tasks.ionization.reader import METADATA, read
from tfpipe.tasks.ionization.survey import REDSHIFTS, class_name, survey, survey_new
from tfpipe.tasks.task import Baselines, Preprocessing, Scoring, Survey, Task


def _task(
    name: str,
    title: str,
    *,
    classes: tuple[str, ...],
    survey: Callable[[Path, IonizationOptions], Survey],
    ordinal_target: str,
) -> Task:
    return Task(
        name=name,
        title=title,
        expects=(
            "21cmFAST cubes as .npy, .npz, .h5 or bare float32, z, f_esc and seed in their names, "
            "in the file, or in a cubes.csv (file, z, f_esc, seed, box_mpc)"
        ),
        classes=classes,
        image_shape=(200, 200, 1),
        options=IonizationOptions(),
        survey=survey,
        read=read,
        survey_new=survey_new,
        models=(
            "simple-cnn",
            "compact-resnet",
            "simple-cnn-2",
            "resnet9",
            "image-and-columns",
            "code-cnn",
            "dense-baseline",
            "columns-mlp",
            "conv-autoencoder",
        ),
        image_dtype="float32",
        metadata=METADATA,
        scoring=Scoring(
            objective="balanced_accuracy",
            ordinal_target=ordinal_target,
            ambiguous="no_signal",
        ),
        preprocessing=Preprocessing(augmentation="periodic"),
        # Fay (2019) divides by 70 mK, and classifies images of 50 x 50 by one hidden layer.
        model_arguments={
            "conv-autoencoder": {"white": 70.0},
            "code-cnn": {"white": 70.0},
            "dense-baseline": {"side": 50},
        },
        baselines=Baselines(
            candidates=(
                "frozen-code-cnn",
                "code-cnn",
                "dense-baseline",
                "pca-forest",
                "xgboost",
                "simple-cnn",
            )
        ),
    )


REDSHIFT = _task(
    "ionization-redshift",
    "the redshift of a slice through a simulated 21 cm map",
    classes=tuple(class_name(z, "z") for z in REDSHIFTS),
    survey=partial(survey, target="z"),
    ordinal_target="z",
)
ESCAPE_FRACTION = _task(
    "ionization-escape-fraction",
    "the escape fraction of ionizing photons, of a slice through a simulated 21 cm map",
    classes=(),
    survey=partial(survey, target="f_esc"),
    ordinal_target="f_esc",
)
