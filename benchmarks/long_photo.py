"""How long a photo of 30,000 x 1,500 px takes, against a `model.predict` a slice (seed 002).

    python benchmarks/long_photo.py saved_models/melt-layer/simple-cnn/1

Draws one section, stretches it to the size of a real scan, and runs `tfpipe predict` on it three
times in processes of their own; then times `predict` of the same model on the first slices of the
same photo, one flip at a time, and says what all of them would take.
"""

import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import keras
import numpy as np

from tfpipe.base import images
from tfpipe.tasks.melt_layer import TASK, core_detection
from tfpipe.tasks.melt_layer import windows as melt_layer_windows
from tfpipe.tasks.samples import melt_layer

HEIGHT_PX, WIDTH_PX = 30_000, 1_500
RUNS, SLICES = 3, 25


def long_photo(folder: Path) -> Path:
    """Writes the photo and its photos.csv; returns its path."""
    melt_layer.draw(folder / "raw", photos=1, seed=5)
    drawn = images.read(next((folder / "raw" / "photos").iterdir()))
    path = folder / "raw" / "photos" / "core_001.png"
    cv2.imwrite(str(path), cv2.resize(drawn, (WIDTH_PX, HEIGHT_PX))[..., ::-1])
    return path


def ours(version: Path, photo: Path) -> float:
    """Returns the seconds that one `tfpipe predict` takes, its start included."""
    place = ["--models", str(version.parents[2]), "--model", version.parent.name]
    words = ["predict", "melt-layer", str(photo), "--out", str(photo.parent / "layers.csv")]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tfpipe", *words, *place, "--version", version.name],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def theirs(version: Path, photo: Path) -> tuple[float, int]:
    """Returns the seconds of one `model.predict` of a slice, and how many slices and flips."""
    model = keras.models.load_model(version / "assets.extra" / "model.keras")
    ice = core_detection.cut(images.read(photo), crop_px=None, name=photo.name).image
    tops = melt_layer_windows.tops(len(ice), stride_px=TASK.options.predict_stride_px)
    windows = melt_layer_windows.windows(ice, tops[: SLICES + 1])
    model.predict({"image": windows[:1]}, verbose=0)
    began = time.perf_counter()
    for window in windows[1:]:
        model.predict({"image": window[None]}, verbose=0)
    return (time.perf_counter() - began) / SLICES, 4 * len(tops)


def main() -> None:
    version = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        photo = long_photo(Path(folder))
        seconds = [ours(version, photo) for _ in range(RUNS)]
        peak_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        each_s, count = theirs(version, photo)
    summary = {
        "machine": f"{platform.machine()}, {platform.python_version()}",
        "photo_px": [HEIGHT_PX, WIDTH_PX],
        "tfpipe_predict_s": {"median": round(float(np.median(seconds)), 1), "all": seconds},
        "tfpipe_peak_mb": peak_kb // 1024,
        "predict_a_slice_s": round(each_s, 4),
        "predict_all_slices_s": round(each_s * count, 1),
        "slices_and_flips": count,
    }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
