"""Novelty of images: how often ordinary images and others are called new, on drawn samples.

    python benchmarks/image_novelty.py --data FOLDER

It draws and packs the samples of five tasks, and trains a small network of each. Then it counts the
images that are called new, by the pixels alone and by pixels and embedding: those of the test split
(all, and those of its worst group of ten images or more), those of `novel_images`, and test images
of the other tasks. Images come as bytes, as the serving page takes them; for a task whose images
are no bytes, grey values are stretched to those of its test images.
"""

import argparse
import time
from pathlib import Path

import cv2
import novel_images
import numpy as np
import tensorflow as tf

import tfpipe
from tfpipe.data import dataset, manifest
from tfpipe.inference import monitoring
from tfpipe.inference.monitoring import Novelty
from tfpipe.models.spec import Spec
from tfpipe.registry import export

SAMPLES = {
    "melt-layer": {"photos": 16, "px_per_m": 600},
    "insolubles": {"runs": 12, "field_runs": 1, "particles": 100},
    "ccd-tracks": {"exposures": 16, "tracks": 40, "frame_px": 384},
    "ionization-redshift": {"simulations": 6},
    "folds": {"outcrops": 40, "crops": 4},
}
MODEL, SMALL, EPOCHS = "simple-cnn", {"filters": 8, "dense_units": 32}, 8
OTHERS = 60  # test images of each other task
MIN_OF_GROUP = 10  # images of a group whose share is counted


def main() -> None:
    """Prints two rows of the table for each task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for samples and records")
    parser.add_argument("--seed", type=int, default=0, help="of the samples and of training")
    arguments = parser.parse_args()
    folder = arguments.data
    project = tfpipe.Project(
        data=folder, saved_models=folder / "models", seed=arguments.seed, progress=False
    )
    trained = {name: (train(project, name), *test_split(project, name)) for name in SAMPLES}
    kinds = novel_images.by_kind()
    print(
        "task | rule | test | worst group |", " | ".join([*kinds, "other tasks"]), "| ms an image"
    )
    for name, (version, test, groups) in trained.items():
        others = [
            image
            for other, (_, images, _) in trained.items()
            for image in to_rgb(images[:: max(1, len(images) // OTHERS)])
            if other != name
        ]
        spec = version.card.network_spec
        sets = {
            kind: fitted(images, spec, like=test)
            for kind, images in (*kinds.items(), ("other tasks", others))
        }
        for rule in ("pixels", "embedding"):
            began = time.perf_counter()
            flagged = find_new(version, test, rule=rule)
            ms = 1000 * (time.perf_counter() - began) / len(test)
            names, counts = np.unique(groups, return_counts=True)
            large = names[counts >= MIN_OF_GROUP]
            worst = max((flagged[groups == one].mean() for one in large), default=np.nan)
            shares = [find_new(version, images, rule=rule).mean() for images in sets.values()]
            cells = [f"{share:.1%}" for share in (flagged.mean(), worst, *shares)]
            print(" | ".join([name, rule, *cells, f"{ms:.2f}"]), flush=True)


def train(project: tfpipe.Project, name: str) -> tfpipe.Version:
    """Returns a version of a small network, trained on a task's sample unless that was done."""
    if list((project.saved_models / name).glob("*/[0-9]*")):
        return project.version(name)
    if not project.raw_folder(tfpipe.load_task(name)).exists():
        project.sample(name, **SAMPLES[name])
    return project.train(
        name, model=MODEL, hyperparameters=SMALL, epochs=EPOCHS, random_split=False
    )


def test_split(project: tfpipe.Project, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of a task's test split, and their groups."""
    records = project.pack(name).path
    own = manifest.read(records)
    batches = dataset.batches(records, dataset.TEST, manifest=own).as_numpy_iterator()
    images = np.concatenate([features["image"] for features, _ in batches])
    return images, dataset.groups_of(records, ("test",), manifest=own).astype(str)


def find_new(version: tfpipe.Version, images: np.ndarray, *, rule: str) -> np.ndarray:
    """Returns whether each image is new by a rule; the embedding's needs a call of the network."""
    predictor = version.predictor
    embedding = predictor.embed(images) if rule == "embedding" else None
    novelty: Novelty | None = monitoring.find_new(
        images, embedding, card=version.card, statistics=predictor.novelty
    )
    assert novelty is not None and (embedding is None) == (novelty.share is None)
    return novelty.are_new


def fitted(images: list[np.ndarray], spec: Spec, *, like: np.ndarray) -> np.ndarray:
    """Returns images [height, width, 3] uint8 as the network takes them.

    Args:
      images: of any size.
      spec: of the network.
      like: images whose range of values other values than bytes are stretched to.
    """
    if spec.image_dtype == "uint8":
        pngs = (cv2.imencode(".png", image[:, :, ::-1])[1].tobytes() for image in images)
        return np.stack([export.decode_image(tf.constant(png), spec).numpy() for png in pngs])
    height, width, channels = spec.image_shape
    low, high = np.quantile(like, [0.001, 0.999])
    pixels = [
        cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        for image in images
    ]
    grey = np.stack(pixels).mean(axis=3, keepdims=True).repeat(channels, axis=3)
    return (low + grey / 255 * (high - low)).astype(spec.image_dtype)


def to_rgb(images: np.ndarray) -> list[np.ndarray]:
    """Returns images of any kind as bytes, [height, width, 3] each."""
    shown = []
    for image in images:
        pixels = image.astype(np.float32)
        if image.dtype != np.uint8:
            pixels = 255 * (pixels - pixels.min()) / (np.ptp(pixels) + 1e-6)
        shown.append(np.repeat(pixels, 3 // image.shape[2], axis=2).astype(np.uint8))
    return shown


if __name__ == "__main__":
    main()
