"""How long packing takes: ours, and TFDS' GeneratorBasedBuilder on the same reader.

    python benchmarks/packing.py
    python benchmarks/packing.py --only jpegs --rounds 3

Draws raw files of four kinds: core photos (melt-layer), FlowCam runs (insolubles), a folder of
small JPEGs, and FITS exposures (ccd-tracks). Two sides take turns, each in a process of its own.
Ours is `tfpipe pack` from Python, with near-copies, checksums and manifest. The other is a builder
whose generator calls the same survey and reader, with the same features, which TFDS writes in one
process. Imports are not counted, and each side packs once before it is measured.
"""

import argparse
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import machine
import numpy as np

from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.tasks import ccd_tracks, image_folder, insolubles, melt_layer
from tfpipe.tasks.samples import ccd_tracks as drawn_exposures
from tfpipe.tasks.samples import insolubles as drawn_runs
from tfpipe.tasks.samples import melt_layer as drawn_photos
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import Task

SIDES = ("tfpipe", "tfds")
JPEGS, JPEG_PX = 4000, 96
CLASSES = ("ash", "elm", "fir", "oak")


def draw_jpegs(folder: Path) -> None:
    """Writes small colour JPEGs in a folder for each class."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for i in range(JPEGS):
        shade = cv2.resize(rng.normal(120, 40, (6, 6, 3)), (JPEG_PX, JPEG_PX))
        image = np.clip(shade + rng.normal(0, 6, shade.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / CLASSES[i % len(CLASSES)] / f"{i:06d}.jpg"), image)


# kind of raw files -> how they are drawn
KINDS: dict[str, Callable[[Path], object]] = {
    "melt-layer": lambda folder: drawn_photos.draw(folder, photos=24),
    "insolubles": lambda folder: drawn_runs.draw(folder, runs=8, field_runs=0, particles=500),
    "jpegs": draw_jpegs,
    "fits": lambda folder: drawn_exposures.draw(folder, exposures=24, tracks=170, frame_px=1024),
}


def task_of(kind: str, raw: Path) -> Task:
    """Returns the task of a kind of raw files."""
    tasks = {
        "melt-layer": melt_layer.TASK,
        "insolubles": insolubles.TASK,
        "fits": ccd_tracks.TASK,
    }
    return tasks[kind] if kind in tasks else image_folder.folder_task(raw)


def ours(task: Task, raw: Path, folder: Path) -> int:
    """Packs to a new folder; returns the number of records."""
    from tfpipe.data import pack

    manifest = pack.pack(task, raw, folder / "records", options=task.options, split=SplitConfig())
    return sum(shard.count for shard in manifest.shards)


def tfds_builder(task: Task, raw: Path, folder: Path) -> int:
    """Writes the same examples by a builder of TFDS; returns their number."""
    import tensorflow_datasets as tfds

    from tfpipe.data import pack, schema

    survey = task.survey(raw, task.options)
    options = survey.options or task.options
    whole = pack.settled(task, survey)

    class Packed(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = folder

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=schema.features(whole))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for source in survey.sources:
                for example in whole.read(source, options).examples:
                    yield example.key, schema.fields(example)

    tfds.disable_progress_bar()
    builder = Packed(data_dir=folder)
    builder.download_and_prepare()
    return builder.info.splits["train"].num_examples


def measure(side: str, kind: str, raw: Path) -> dict:
    """Packs once, and returns seconds and the number of records."""
    task = task_of(kind, raw)
    folder = Path(tempfile.mkdtemp(dir=raw.parent))
    began, cpu = time.perf_counter(), time.process_time()
    count = {"tfpipe": ours, "tfds": tfds_builder}[side](task, raw, folder)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    shutil.rmtree(folder)
    return {"seconds": seconds, "processor_s": cpu, "records": count}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=KINDS, nargs="+", default=tuple(KINDS))
    parser.add_argument("--raw", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        logging.disable()
        start_tensorflow()
        kind = given.raw.name
        measure(given.side, kind, given.raw)  # imports and compiled parts
        machine.measure_each_round(lambda _: measure(given.side, kind, given.raw))
        return
    summary = machine.about()
    with tempfile.TemporaryDirectory() as folder:
        for kind in given.only:
            raw = Path(folder) / kind
            KINDS[kind](raw)
            measured = machine.take_turns(SIDES, rounds=given.rounds, words=["--raw", str(raw)])
            seconds = {side: [one["seconds"] for one in measured[side]] for side in SIDES}
            summary[kind] = {
                "records": {side: measured[side][0]["records"] for side in SIDES},
                **{f"{side}_s": machine.spread(seconds[side]) for side in SIDES},
                **{
                    f"{side}_processor_s": machine.spread(
                        [one["processor_s"] for one in measured[side]]
                    )
                    for side in SIDES
                },
                "times_as_fast": machine.ratio(seconds["tfds"], seconds["tfpipe"]),
            }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
