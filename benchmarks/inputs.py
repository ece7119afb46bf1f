"""Pictures a second: our batches against what users of Keras, tf.data and PyTorch write.

    python benchmarks/inputs.py

Draws 6,000 grey pictures of 128 x 128 px with 36 numbers each; packs them to records, and writes
them as PNG files in a folder for each class, with the numbers in a table. Each side reads them in
shuffled batches of 64, again and again, the files in the page cache; in turn, each in a process of
its own. `image_dataset_from_directory` is not asked for the numbers, which it has no place for.
The side of PyTorch needs torch, and is left out without it.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import drawn
import machine
import numpy as np

from tfpipe.base.tensorflow import start_tensorflow

SHAPE, PICTURES, BATCH = (128, 128, 1), 6_000, 64
ROUNDS, LEAST_S = 7, 2.0
READY = 16  # batches that may lie ready from before a measurement, and are not counted
TARGETS = {"keras image_dataset_from_directory": 3.0, "tf.data from_generator and cv2": 5.0}


def ours(folder: Path, *, augmentation: str) -> Iterator:
    """Records, shuffled as for training; each class as often as it comes."""
    start_tensorflow()
    from tfpipe.data import dataset as data_dataset
    from tfpipe.data import manifest as data_manifest
    from tfpipe.data.sampling import Drawing

    records = folder / "records"
    drawing = Drawing(seed=0, batch_size=BATCH, balance="none", augmentation=augmentation)
    manifest = data_manifest.read(records)
    return iter(data_dataset.training_batches(records, drawing, manifest=manifest))


def keras_directory(folder: Path) -> Iterator:
    """What the Keras guides begin with."""
    import keras

    dataset = keras.utils.image_dataset_from_directory(
        folder / "png",
        color_mode="grayscale",
        image_size=SHAPE[:2],
        batch_size=BATCH,
        verbose=False,
    )
    return iter(dataset.prefetch(2).repeat())


def generator_and_cv2(folder: Path) -> Iterator:
    """What the seed projects do."""
    import tensorflow as tf

    paths, labels, columns = table(folder)

    def examples():
        for i in np.random.permutation(len(paths)):
            image = cv2.imread(str(paths[i]), cv2.IMREAD_GRAYSCALE)
            yield {"image": image[..., None], "columns": columns[i]}, labels[i]

    kinds = {
        "image": tf.TensorSpec(SHAPE, tf.uint8),
        "columns": tf.TensorSpec(columns.shape[1:], tf.float32),
    }
    signature = (kinds, tf.TensorSpec((), tf.int64))
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    return iter(dataset.batch(BATCH).prefetch(2).repeat())


def torch_loader(folder: Path) -> Iterator:
    """A map-style data set that decodes by cv2, and two workers."""
    import torch

    class Pictures(torch.utils.data.Dataset):
        def __init__(self):
            self.paths, self.labels, self.columns = table(folder)

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, i):
            image = cv2.imread(str(self.paths[i]), cv2.IMREAD_GRAYSCALE)
            return image[None], self.columns[i], self.labels[i]

    cv2.setNumThreads(1)
    loader = torch.utils.data.DataLoader(
        Pictures(), batch_size=BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    while True:
        yield from ((image, label) for image, _, label in loader)


SIDES: dict[str, Callable[[Path], Iterator]] = {
    "tfpipe": lambda folder: ours(folder, augmentation="none"),
    "tfpipe, pictures changed at random": lambda folder: ours(folder, augmentation="slices"),
    "keras image_dataset_from_directory": keras_directory,
    "tf.data from_generator and cv2": generator_and_cv2,
    "torch DataLoader, two workers": torch_loader,
}


def write_files(folder: Path) -> None:
    """Writes the training pictures as png/<class>/<number>.png, and the numbers to columns.npy."""
    manifest = drawn.packed(folder, pictures=PICTURES, shape=SHAPE)
    images, labels, columns = drawn.arrays(manifest, "train")
    for name in drawn.CLASSES:
        (folder / "png" / name).mkdir(parents=True)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        cv2.imwrite(str(folder / "png" / drawn.CLASSES[label] / f"{i:05d}.png"), image)
    np.save(folder / "columns.npy", columns)


def table(folder: Path) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Returns paths, labels [n] int64 and columns [n, 36] float32, in order of their numbers."""
    paths = sorted((folder / "png").glob("*/*.png"), key=lambda path: path.name)
    labels = np.array([drawn.CLASSES.index(path.parent.name) for path in paths])
    return paths, labels, np.load(folder / "columns.npy", allow_pickle=False)


def pictures_a_second(batches: Iterator) -> float:
    """Reads at least as many pictures as there are, and for two seconds."""
    for _ in range(READY):
        next(batches)
    count, began = 0, time.perf_counter()
    while count < PICTURES or time.perf_counter() - began < LEAST_S:
        count += len(next(batches)[1])
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        batches = SIDES[given.side](given.folder)
        pictures_a_second(batches)  # fills caches and starts workers
        machine.measure_each_round(lambda one: {"pictures_s": pictures_a_second(batches)})
        return
    summary = machine.about()
    sides = [side for side in SIDES if "torch" not in side or machine.installed("torch")]
    with tempfile.TemporaryDirectory() as name:
        write_files(Path(name) / "drawn")
        words = ["--folder", str(Path(name) / "drawn")]
        measured = machine.take_turns(sides, rounds=ROUNDS, words=words)
    rates = {side: [one["pictures_s"] for one in measured[side]] for side in sides}
    summary["pictures_s"] = {side: machine.spread(values) for side, values in rates.items()}
    summary["times_as_fast"] = {
        f"tfpipe / {side}": machine.ratio(rates["tfpipe"], rates[side]) for side in sides[2:]
    }
    summary["targets"] = TARGETS
    summary["left_out"] = [side for side in SIDES if side not in sides]
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
