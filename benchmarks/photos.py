"""How long a core photo's windows take: by the threshold, all, and as the deck has it.

    python benchmarks/photos.py saved_models/melt-layer/simple-cnn/1

Draws one section at the size it is scaled to (200 px across) and shows its windows, every 10 rows
and in four flips, to a saved version. Sides take turns, each in a process of its own: `predict`
computes what `tfpipe predict` does, by the version's threshold; `every window` computes all in all
flips; `deck` calls `model.predict` on one slice after the other, as seed 002's "Using the Model"
has it, on a part of them only: what all would take is that many times as long, and said to be so.
Reading the photo and finding the core, the same for all sides, is not in these times. Beside them
stands whether the layers found are the same.
"""

import argparse
import functools
import json
import tempfile
import time
from pathlib import Path

import machine
import numpy as np

from tfpipe.models import sliding_window
from tfpipe.registry import load
from tfpipe.tasks.melt_layer import TASK
from tfpipe.tasks.melt_layer.predict import infer, predict
from tfpipe.tasks.melt_layer.windows import HEIGHT_PX
from tfpipe.tasks.samples import melt_layer

PREDICT, EVERY, DECK = SIDES = ("predict", "every window", "deck")
SLICES = 25  # that the deck's side predicts in a round
STRIDE_PX = 10  # seed 002, "Using the Model"


class Timed:
    """A model that adds up the seconds it is asked for."""

    def __init__(self, classify):
        self._classify, self.seconds = classify, 0.0

    def __call__(self, images):
        return self._timed(self._classify, images)

    def along(self, *given):
        return self._timed(self._classify.along, *given)

    def _timed(self, function, *given):
        began = time.perf_counter()
        outputs = function(*given)
        self.seconds += time.perf_counter() - began
        return outputs


@functools.cache
def loaded_version(version: Path) -> load.SavedPredictor:
    return load.open_version(version)


@functools.cache
def timed_version(loaded: load.SavedPredictor, side: str) -> Timed:
    """Returns a version as a side asks it, for all rounds."""
    if side == PREDICT:
        return Timed(load.with_inference_mode(loaded, sliding_window.DEFAULT_MODE))
    return Timed(sliding_window.of_classifier(loaded.predict_proba, height_px=HEIGHT_PX))


def warm(loaded: load.SavedPredictor, side: str, source, options) -> Timed:
    """Returns it after a first photo, which nobody times."""
    timed = timed_version(loaded, side)
    if not timed.seconds:
        infer(source, timed, options)
    return timed


def of_side(loaded: load.SavedPredictor, source, *, side: str, options) -> dict:
    """Returns seconds for one photo's windows, and the layers."""
    timed = warm(loaded, side, source, options)
    timed.seconds = 0.0
    seen = infer(source, timed, options)
    results = predict(seen, loaded.card.thresholds).rows
    spans = [[row["from_top_mm"], row["thickness_mm"]] for row in results]
    return {"seconds": timed.seconds, "windows": len(seen.probability), "layers": spans}


def of_deck(version: Path, count: int) -> dict:
    """Returns what `predict` on every slice would take, from some of them."""
    model = load.read_model(version)
    slices = np.random.default_rng(0).integers(0, 255, (SLICES + 1, 50, 200, 3), dtype=np.uint8)
    model.predict({"image": slices[:1]}, verbose=0)
    began = time.perf_counter()
    for one in slices[1:]:
        model.predict({"image": one[None]}, verbose=0)
    each = (time.perf_counter() - began) / SLICES
    return {"slice_s": each, "seconds": each * count}


def measure(side: str, version: Path, folder: Path) -> dict:
    options = type(TASK.options)(predict_stride_px=STRIDE_PX)
    source = TASK.survey(folder, options).sources[0]
    if side == DECK:
        photo = source.about.photo
        rows = round((photo.bottom_m - photo.top_m) * 2000)  # 200 px across are 0.1 m
        return of_deck(version, 4 * len(range(0, rows - HEIGHT_PX + 1, STRIDE_PX)))
    return of_side(loaded_version(version), source, side=side, options=options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES)
    words = parser.parse_args()
    if words.side:
        machine.measure_each_round(lambda _: measure(words.side, words.version, words.folder))
        return
    about = machine.about()
    with tempfile.TemporaryDirectory() as folder:
        melt_layer.draw(Path(folder, "raw"), photos=1, seed=5)
        given = [str(words.version.resolve()), "--folder", str(Path(folder, "raw"))]
        measured = machine.take_turns(SIDES, rounds=words.rounds, words=given)
    seconds = {side: [one["seconds"] for one in measured[side]] for side in SIDES}
    predicted, every = measured[PREDICT][0], measured[EVERY][0]
    summary = {
        **about,
        "windows_and_flips": 4 * every["windows"],
        **{f"{side}_s": machine.spread(seconds[side]) for side in SIDES},
        "deck_s_is": f"extrapolated from {SLICES} slices",
        "times_as_fast": {
            f"{PREDICT} / {other}": machine.ratio(seconds[other], seconds[PREDICT])
            for other in (EVERY, DECK)
        },
        "layers_of_every_window": every["layers"],
        "layers_of_predict": predicted["layers"],
    }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
