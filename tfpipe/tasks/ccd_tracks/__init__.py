"""CCD tracks: which particle left each track (Preuss et al., seed document 001)?"""

from tfpipe.tasks.ccd_tracks.figures import overlay
from tfpipe.tasks.ccd_tracks.options import CcdTracksOptions
from tfpipe.tasks.ccd_tracks.reader import COLUMNS, METADATA, read
from tfpipe.tasks.ccd_tracks.survey import survey, survey_new
from tfpipe.tasks.task import ImageOutputs, Preprocessing, RawFiles, Scoring, Task

TASK = Task(
    name="ccd-tracks",
    title="tracks of particles in exposures of a CCD: x-ray, muon, electron, ...",
    expects=(
        "exposures (.fits, .fit, also .gz or .fz, .npy or .npz) with a labels.csv (exposure, x, y, "
        "label), or ready-cut clusters: clusters/<id>.csv and labels.csv (id, label, energy_adu)"
    ),
    classes=(),
    image_shape=(64, 64, 1),
    columns=COLUMNS,
    metadata=METADATA,
    options=CcdTracksOptions(),
    survey=survey,
    read=read,
    survey_new=survey_new,
    # By benchmarks/ccd_clusters.py the shape says more than a small network sees in the image.
    models=(
        "columns-mlp",
        "compact-resnet",
        "simple-cnn",
        "resnet9",
        "image-and-columns",
        "conv-vae",
    ),
    # Averages of pixels are no whole numbers, and summed energies exceed 65535.
    image_dtype="float32",
    scoring=Scoring(objective="balanced_accuracy"),
    preprocessing=Preprocessing(augmentation="turns"),
    raw_files=RawFiles(
        decisions="decisions.csv",  # labels.csv is the table of the exposures
        source_table="exposures",
        skip_duplicate_check=True,
    ),
    image_outputs=ImageOutputs(overlay=overlay),
    # The background of a track is black; with another threshold give --hp black=...
    model_arguments={"conv-vae": {"black": CcdTracksOptions().threshold}},
)
