"""A task small enough to train in a second: is the 16 x 16 picture's middle bright?"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tfpipe.data import manifest as data_manifest
from tfpipe.data import pack
from tfpipe.models.spec import Spec
from tfpipe.models.zoo import simple_cnn
from tfpipe.search.config import SearchConfig
from tfpipe.tasks.task import (
    Example,
    FilePrediction,
    RawFiles,
    Reading,
    Source,
    Survey,
    Task,
    WholeFile,
)
from tfpipe.training import loop

CLASSES = ("dull", "bright")


@dataclass(frozen=True)
class Options:
    pictures: int = field(default=24, metadata={"help": "pictures a file"})


@dataclass(frozen=True)
class Counts:
    right: int
    asked: int
    false_positive_kinds: tuple[str, ...] = ()

    def __add__(self, other):
        return Counts(self.right + other.right, self.asked + other.asked)

    @property
    def precision(self):
        return self.right / self.asked

    @property
    def precision_bound(self):
        return self.precision

    @property
    def scores(self):
        return {"file_share": self.precision}


def survey(folder: Path, options: Options) -> Survey:
    paths = sorted(folder.glob("*.txt"))
    return Survey(tuple(Source(path.name, path.stem, path) for path in paths))


def read(source: Source, options: Options) -> Reading:
    rng = np.random.default_rng(int(source.path.read_text()))
    examples = []
    for i in range(options.pictures):
        image = rng.integers(0, 120, (16, 16, 1), dtype=np.uint8)
        image[4:12, 4:12] += np.uint8(60 * (i % 2))
        key = f"{source.name}@{i:03d}"
        examples.append(Example(key, source.group, image, i % 2, np.zeros(0, np.float32), {}))
    return Reading(examples, {"file": source.name, "seed": source.path.read_text()})


def infer(source, classify, options):
    images = np.stack([example.image for example in read(source, options).examples])
    return classify(images)[:, 1]


def predict(outputs, thresholds):
    return FilePrediction([{"bright": int((outputs >= thresholds["decision"]).sum())}], [])


def evaluate(source, row, prediction):
    return Counts(prediction.rows[0]["bright"] == Options().pictures // 2, 1)


TASK = Task(
    name="tiny",
    title="bright middles",
    expects="*.txt",
    classes=CLASSES,
    image_shape=(16, 16, 1),
    options=Options(),
    survey=survey,
    read=read,
    survey_new=lambda paths, table, options: survey(paths[0], options),
    models=("simple-cnn",),
    raw_files=RawFiles(source_table="files"),
    whole_file=WholeFile(
        infer=infer,
        predict=predict,
        overlay=lambda outputs, thresholds: np.zeros((4, 4, 3), np.uint8),
        table_columns=("bright",),
        evaluate=evaluate,
        metric="file_share",
    ),
)


def packed(folder: Path, *, files: int = 12) -> loop.Dataset:
    """Draws and packs the tiny task under a folder: raw/ and records/."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    for i in range(files):
        (raw / f"file{i:02d}.txt").write_text(str(i))
    manifest = pack.pack(TASK, raw, folder / "records", options=TASK.options)
    return loop.Dataset(folder / "records", manifest, TASK.scoring.objective)


def spec_of(data: loop.Dataset) -> Spec:
    """Returns what a model may know of the packed tiny task."""
    stats = {name: tuple(values) for name, values in data_manifest.read_stats(data.folder).items()}
    return Spec(image_shape=(16, 16, 1), classes=CLASSES, **stats)


def build(spec: Spec, *, filters: int = 4, dropout: float = 0.0):
    """Builds a simple-cnn of one block and eight units."""
    return simple_cnn.build_simple_cnn(
        spec, filters=filters, conv_layers=1, dropout=dropout, dense_units=8, dense_dropout=0.0
    )


def search_config(data: loop.Dataset, **changes) -> SearchConfig:
    """Returns a search of the tiny task by `tiny_space.py`, small unless changed."""
    here = Path(__file__)
    given = {"space": str(here.with_name("tiny_space.py")), "training": {"seed": 3}}
    given |= {"algorithm": "random", "trials": 3, "trial_epochs": 1} | changes
    if given["algorithm"] == "hyperband":
        given["trials"] = None
    return SearchConfig(str(here), "simple-cnn", str(data.folder), **given)
