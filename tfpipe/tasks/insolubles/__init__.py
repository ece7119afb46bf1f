"""Insoluble particles of ice cores in FlowCam images: which class is each (seed document 000)?"""

from tfpipe.tasks.insolubles import ecotaxa
from tfpipe.tasks.insolubles.options import InsolublesOptions
from tfpipe.tasks.insolubles.reader import METADATA, read
from tfpipe.tasks.insolubles.survey import survey, survey_new
from tfpipe.tasks.task import ImageOutputs, Preprocessing, Scoring, Task

TASK = Task(
    name="insolubles",
    title="insoluble particles in ice cores, by FlowCam images and measurements",
    expects=(
        "a folder for each run of VisualSpreadsheet (.lst or exported .csv, collages, .cla if "
        "sorted), or of images with a .csv (imgpaths, columns, label) or ecotaxa*.tsv"
    ),
    classes=(),
    image_shape=(128, 128, 3),
    metadata=METADATA,
    options=InsolublesOptions(),
    survey=survey,
    read=read,
    survey_new=survey_new,
    models=(
        "compact-resnet",
        "resnet18",
        "image-and-columns",
        "columns-mlp",
        "simple-cnn",
        "resnet9",
        "resnet34",
        "conv-autoencoder",
        "conv-vae",
        "resnet50",
        "resnet50-and-columns",
        "vgg16",
    ),
    scoring=Scoring(objective="balanced_accuracy"),
    preprocessing=Preprocessing(
        augmentation="objects",
        # Scaled by its own deviation, a speck on an even ground would look as dark as a boulder.
        per_image_standardization=False,
        letterbox=True,
    ),
    image_outputs=ImageOutputs(
        writers={".tsv": ecotaxa.write_predictions, ".zip": ecotaxa.write_predictions_zip},
        write_labels=ecotaxa.write_zip,
    ),
)
