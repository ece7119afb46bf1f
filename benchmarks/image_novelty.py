"""Novelty of images: how often ordinary images and others are called new, on drawn samples.

    python benchmarks/image_novelty.py --data FOLDER

It draws and packs the samples of three tasks, and takes the statistics of each task's training and
validation images as a training does. Then it counts the images that are called new: the test split,
crops of photographs (those in scikit-image), whole core photos squeezed into the size of an image,
noise and even grey areas, and the test images of the other two tasks.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import skimage.data

import tfpipe
from tfpipe.data import dataset, manifest
from tfpipe.evaluation import image_novelty

SAMPLES = {
    "melt-layer": {"photos": 8, "px_per_m": 600},
    "insolubles": {"runs": 8, "field_runs": 1, "particles": 100},
    "ccd-tracks": {"exposures": 8, "tracks": 40, "frame_px": 384},
}
PHOTOGRAPHS = ("camera", "coins", "moon", "page", "text", "clock", "astronaut", "coffee", "chelsea")
CROPS = 20  # of each photograph


def main() -> None:
    """Prints a row of the table for each task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for samples and records")
    folder = parser.parse_args().data
    project = tfpipe.Project(data=folder, saved_models=folder / "models", progress=False)
    images = {name: split_images(project, name) for name in SAMPLES}
    photos = [cv2.imread(str(p)) for p in sorted(folder.glob("raw/melt-layer/photos/*"))]
    print("task | test | photographs | core photos | noise, grey | other tasks")
    for name, (training, validation, test) in images.items():
        task = tfpipe.load_task(name)
        statistics = image_novelty.fit(
            [training],
            [validation],
            ignores_exposure=task.preprocessing.per_image_standardization,
        )
        assert statistics is not None
        others = [image for other in images if other != name for image in images[other][2]]
        kinds = (
            test,
            fitted(photographs(), like=test),
            fitted(photos, like=test),
            fitted(noise_and_grey(), like=test),
            fitted(others, like=test),
        )
        shares = [image_novelty.is_new(kind, statistics) for kind in kinds]
        cells = [f"{share.mean():.1%} of {len(share)}" for share in shares]
        print(" | ".join([name, *cells]), flush=True)


def split_images(project: tfpipe.Project, name: str) -> list[np.ndarray]:
    """Returns the images of train, validation and test of a task's sample."""
    if not project.raw_folder(tfpipe.load_task(name)).exists():
        project.sample(name, **SAMPLES[name])
    records = project.pack(name).path
    own = manifest.read(records)
    return [
        np.concatenate(
            [
                features["image"]
                for features, _ in dataset.batches(
                    records, subset, manifest=own
                ).as_numpy_iterator()
            ]
        )
        for subset in (dataset.TRAIN, dataset.VALIDATION, dataset.TEST)
    ]


def photographs() -> list[np.ndarray]:
    """Returns crops of photographs, each a fifth to all of one."""
    rng = np.random.default_rng(0)
    crops = []
    for name in PHOTOGRAPHS:
        photo = getattr(skimage.data, name)()
        for _ in range(CROPS):
            height, width = (int(side * rng.uniform(0.2, 1)) for side in photo.shape[:2])
            top = rng.integers(0, photo.shape[0] - height + 1)
            left = rng.integers(0, photo.shape[1] - width + 1)
            crops.append(photo[top : top + height, left : left + width])
    return crops


def noise_and_grey() -> list[np.ndarray]:
    """Returns images of noise, and of one grey value each."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (128, 128, 3), dtype=np.uint8) for _ in range(20)]
    return noise + [np.full((64, 64, 3), grey, np.uint8) for grey in range(0, 255, 13)]


def fitted(images: list[np.ndarray], *, like: np.ndarray) -> np.ndarray:
    """Returns images at the size, in the channels and in the dtype of others."""
    height, width, channels = like.shape[1:]
    fitted_images = []
    for image in images:
        pixels = (image if image.ndim == 3 else image[..., None]).astype(np.float32)
        if image.dtype != np.uint8:
            pixels = 255 * (pixels - pixels.min()) / (np.ptp(pixels) + 1e-6)
        pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        pixels = pixels if channels == 3 else pixels.mean(axis=2, keepdims=True)
        fitted_images.append(pixels.astype(like.dtype))
    return np.stack(fitted_images)


if __name__ == "__main__":
    main()
