"""A process that predicts and is killed, again and again, until one run is left alone."""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import four_class_task
import numpy as np
import pandas as pd
import tiny
from made_card import made_card

from tfpipe.inference import files
from tfpipe.inference import images as inference_images
from tfpipe.inference.request import PredictionRequest
from tfpipe.models.spec import Spec
from tfpipe.registry import load, predictions, store
from tfpipe.tasks.task import FilePrediction

PICTURES = replace(four_class_task.TASK, whole_file=None)
WHOLE_FILE = replace(tiny.TASK.whole_file, table_columns=("bright", "share"))
PHOTOS = replace(tiny.TASK, name="photos", whole_file=WHOLE_FILE)


SPEC = Spec((16, 16, 1), tiny.CLASSES, (100.0,), (50.0,))


class Bright:
    """Predicts the last class for the brightest images; stands for a trained version."""

    def __init__(self, version):
        self.novelty = None
        classes = four_class_task.CLASSES if version.name == "pictures" else tiny.CLASSES
        self.card = made_card(
            classes=classes, spec=SPEC, thresholds={"decision": 0.5, "confident": 0.9}
        )

    def predict_proba(self, images, columns=None):
        light = images.mean(axis=(1, 2, 3)) / 255
        levels = np.linspace(0.2, 0.6, len(self.card.classes))
        scores = np.exp(-(((light[:, None] - levels) / 0.1) ** 2)).astype(np.float32)
        return scores / scores.sum(axis=1, keepdims=True)


def made_predictions(version, metadata, *, classes=()) -> pd.DataFrame:
    """Returns predictions of a version on validation and test examples."""
    labels = np.tile(np.arange(4), 20)
    frame = pd.DataFrame({"label": labels, "split": np.repeat(["validation", "test"], 40)})
    frame["group"] = [f"g{i % 5}" for i in range(80)]
    frame[[f"p_{name}" for name in four_class_task.CLASSES]] = 0.1 + 0.6 * np.eye(4)[labels]
    return frame


def run(kind: str, raw: Path, out: Path) -> dict:
    """Predicts, and notes in a file beside the raw ones each source that is read."""

    def noted(function):
        def noting(source, *rest):
            with (raw.parent / "read.txt").open("a") as file:
                file.write(f"{source.name}\n")
            return function(source, *rest)

        return noting

    load.LoadedVersion, predictions.predictions = Bright, made_predictions
    store.read_card = lambda version: Bright(version).card
    version = raw.parent / kind
    if kind == "pictures":
        task = replace(PICTURES, read=noted(PICTURES.read))
        return inference_images.predict(PredictionRequest(task, version, [raw], out))._asdict()
    task = replace(
        PHOTOS,
        whole_file=replace(
            WHOLE_FILE,
            infer=noted(WHOLE_FILE.infer),
            predict=lambda outputs, thresholds: FilePrediction(
                [{"bright": int((outputs > 0.5).sum()), "share": float(outputs.mean())}],
                [{"p": float(probability)} for probability in outputs],
            ),
        ),
    )
    windows = out.with_name(f"windows{out.suffix}")
    return files.predict(PredictionRequest(task, version, [raw], out), windows=windows)._asdict()


def _killed_at(call: int) -> None:
    """Makes the process kill itself just before its nth renaming or removal of a file."""
    left = [call]

    def counted(function):
        def counting(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return counting

    for name in ("replace", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))


def main(kind: str, raw: Path, out: Path, moments: list[int]) -> None:
    statuses = []
    for moment in [*moments, 0]:
        child = os.fork()
        if not child:
            if moment:
                _killed_at(moment)
            try:
                made = run(kind, raw, out)
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(1)
            (raw.parent / "made.json").write_text(json.dumps(made, default=str))
            os._exit(0)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(statuses))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]))
