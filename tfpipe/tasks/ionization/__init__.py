"""Maps of hydrogen while it is being ionized (seed 003): at what redshift, by what escape fraction?

Two questions are asked of the same slices of simulated 21 cm brightness temperature.
"""

from functools import partial

from tfpipe.tasks.ionization.options import Options
from tfpipe.tasks.ionization.slices import METADATA, read
from tfpipe.tasks.ionization.survey import REDSHIFTS, class_name, survey, survey_new
from tfpipe.tasks.task import Task

_SHARED = {
    "expects": (
        "21cmFAST cubes as .npy, .npz, .h5 or bare float32, z, f_esc and seed in their names, in "
        "the file, or in a cubes.csv (file, z, f_esc, seed, box_mpc)"
    ),
    "image_shape": (200, 200, 1),
    "image_dtype": "float32",
    "metadata": METADATA,
    "options": Options(),
    "read": read,
    "survey_new": survey_new,
    "models": (
        *("simple-cnn", "simple-cnn-2", "resnet9", "image-and-columns", "code-cnn"),
        *("dense-baseline", "columns-mlp", "conv-autoencoder"),
    ),
    "compared": (
        *("frozen-code-cnn", "code-cnn", "dense-baseline", "pca-forest", "xgboost", "simple-cnn"),
    ),
    # Seed 003's author divides by 70 mK, and classified pictures of 50 x 50 by one hidden layer.
    "arguments": {
        "conv-autoencoder": {"white": 70.0},
        "code-cnn": {"white": 70.0},
        "dense-baseline": {"side": 50},
    },
    "objective": "balanced_accuracy",
    "augmentation": "periodic",
    "apart": "no_signal",
}

REDSHIFT = Task(
    name="ionization-redshift",
    title="the redshift of a slice through a simulated 21 cm map",
    classes=tuple(class_name(z, "z") for z in REDSHIFTS),
    survey=partial(survey, asks="z"),
    quantity="z",
    **_SHARED,
)
ESCAPE_FRACTION = Task(
    name="ionization-escape-fraction",
    title="the escape fraction of ionizing photons, of a slice through a simulated 21 cm map",
    classes=(),
    survey=partial(survey, asks="f_esc"),
    quantity="f_esc",
    **_SHARED,
)
