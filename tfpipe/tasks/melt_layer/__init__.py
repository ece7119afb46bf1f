"""Melt layers in line-scan photos of ice cores (seed 002): where are they, in metres of depth?"""

from dataclasses import replace
from functools import partial

from tfpipe.tasks.melt_layer import strip_prediction, strips
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.predict import LENS, evaluate, infer, overlay, predict
from tfpipe.tasks.melt_layer.reader import omissions, read, read_strips
from tfpipe.tasks.melt_layer.review_view import REVIEW
from tfpipe.tasks.melt_layer.survey import survey, survey_new
from tfpipe.tasks.task import Preprocessing, RawFiles, Task, WholeFile

LAYERS = WholeFile(
    infer=infer,
    predict=predict,
    overlay=overlay,
    table_columns=(
        "photo",
        "depth_from_m",
        "depth_to_m",
        "thickness_mm",
        "probability",
        "uncertain",
        "from_top_mm",
    ),
    evaluate=evaluate,
    metric="layer_f1",
    tie_metric="layer_depth_error_mm",
    sliding_window=True,
    interval=("layer_top_px", "layer_bottom_px"),
    review=REVIEW,
)

WINDOWS = Task(
    name="melt-layer",
    title="melt layers in line-scan photos of ice cores, in metres of depth",
    expects=(
        "photos/*.{png,jpg,tif} (one core section each), a table of photos (photo, top_m, "
        "bottom_m), a table of features (depth from, depth to, type of feature)"
    ),
    classes=("no-layer", "melt-layer"),
    image_shape=(50, 200, 3),
    metadata={
        "photo": "str",
        "depth_top_m": "float64",
        "depth_bottom_m": "float64",
        "type_of_feature": "str",
        "shift_mm": "float64",
        "layer_top_px": "int64",
        "layer_bottom_px": "int64",
    },
    options=MeltLayerOptions(),
    survey=survey,
    read=read,
    survey_new=survey_new,
    models=(
        "simple-cnn",
        "simple-cnn-interval",
        "enhanced-cnn",
        "core-unet",
        "simple-cnn-2",
        "compact-resnet",
        "resnet9",
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "vgg16",
        "code-cnn",
        "dense-baseline",
        "conv-autoencoder",
        "conv-vae",
    ),
    # Seed document 002: "not all with the same camera settings".
    preprocessing=Preprocessing(per_image_standardization=True),
    raw_files=RawFiles(source_table="alignment", omissions=omissions),
    whole_file=LAYERS,
)

# The same photos, tables, groups and splits, seen in decimetres, with a class for each row.
STRIPS = replace(
    WINDOWS,
    view="strips",
    image_shape=(strips.HEIGHT_PX, strips.WIDTH_PX, 1),
    row_classes=strips.ROW_CLASSES,
    read=read_strips,
    metadata={
        "photo": "str",
        "depth_top_m": "float64",
        "depth_bottom_m": "float64",
        "shift_mm": "float64",
        "layer_rows": "int64",
        "silent_rows": "int64",
    },
    models=("core-unet",),
    preprocessing=Preprocessing(augmentation="strips"),
    whole_file=replace(
        LAYERS,
        infer=strip_prediction.infer,
        predict=strip_prediction.predict,
        overlay=strip_prediction.overlay,
        table_columns=(
            "photo",
            "kind",
            "depth_from_m",
            "depth_to_m",
            "thickness_mm",
            "darkness",
            "probability",
            "uncertain",
            "from_top_mm",
        ),
        evaluate=partial(evaluate, kinds=(LENS,)),
        kinds=(LENS,),
        interval=(),
    ),
)

TASK = replace(WINDOWS, other_views=(STRIPS,))
