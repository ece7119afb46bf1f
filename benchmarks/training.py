"""Pictures a second in training: `loop.fit` against plain Keras and PyTorch, and their scores.

    python benchmarks/training.py --model simple-cnn
    python benchmarks/training.py --model resnet18
    python benchmarks/training.py --model resnet50 --epochs 20

Trains the same network on the same drawn pictures of 50 x 200 x 3 (is there a band across?), by the
same optimizer, for a few epochs, from as many seeds as there are rounds. Ours reads records,
changes pictures at random, and computes as `--precision auto` has it; plain Keras learns in float32
from arrays in memory, once with TensorFlow as it comes and once with oneDNN on, which TensorFlow
leaves off on processors without AVX512; PyTorch, eager, likewise, in float32 and, where the
processor computes in it, bfloat16. The sides take turns, each in a process of its own.

Pictures a second are the training pictures over the time of an epoch, scoring included: the median
of all epochs but the first, in which things are compiled. Scores are average precision on the
validation pictures after the last epoch. PyTorch's sides need torch, and are left out without it.

`resnet50` has a frozen body of random weights, which are as slow as pretrained ones, at 64 x 64 px.
Its sides are tfpipe with and without a cache of the body's outputs. Beside the rate, which is that
of epochs with a full cache, the seconds of all epochs include the time to fill it.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
from sklearn.metrics import average_precision_score

CLASSES = ("empty", "band")  # those of `drawn`, whose TensorFlow crashes beside torch
SHAPE, BATCH, RATE = (50, 200, 3), 32, 1e-3


def ours(name: str, folder: Path, *, epochs: int, seed: int) -> tuple[list[float], float]:
    """Trains as `tfpipe train` does."""
    from tfpipe.base.tensorflow import start_tensorflow

    start_tensorflow()
    import keras

    from tfpipe.base import hardware
    from tfpipe.data import manifest as data_manifest
    from tfpipe.models import MODELS
    from tfpipe.models.spec import Spec
    from tfpipe.training import loop
    from tfpipe.training.config import TrainingConfig

    keras.backend.clear_session()
    keras.config.set_dtype_policy(hardware.compute_policy("auto"))
    keras.utils.set_random_seed(seed)
    manifest = data_manifest.read(folder / "records")
    data = loop.Dataset(folder / "records", manifest, "average_precision")
    stats = data_manifest.read_stats(data.folder)
    spec = Spec(SHAPE, CLASSES, stats["image_mean"], stats["image_std"])
    settings = TrainingConfig(
        optimizer="adam",
        learning_rate=RATE,
        epochs=epochs,
        patience=epochs,
        batch_size=BATCH,
        balance="none",
        unfreeze=0,
        seed=seed,
    )
    model = MODELS[name](spec, **frozen(folder) if name == FROZEN else {})
    loop.prepare(model, data, settings=settings)
    history = loop.fit(model, data, settings=settings)
    return history["seconds"], history["val_average_precision"][-1]


def without_cache(*given, **how) -> tuple[list[float], float]:
    """The same, where memory is too small for the outputs of a frozen body."""
    from tfpipe.training import embedding_cache

    embedding_cache.MEMORY_SHARE = 0.0
    return ours(*given, **how)


def frozen(folder: Path) -> dict[str, object]:
    """Returns the builder's arguments of a network with a frozen body, whose weights are random."""
    import keras

    path = folder / "body.weights.h5"
    if not path.is_file():
        keras.applications.ResNet50(include_top=False, weights=None).save_weights(path)
    return {"weights": str(path), "image_size": 64}


def plain_keras(name: str, folder: Path, *, epochs: int, seed: int) -> tuple[list[float], float]:
    """`model.fit` on arrays."""
    import time

    import keras
    import plain_keras as plain

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    (images, labels), (inputs, truth) = arrays(folder)
    model = plain.MODELS[name](SHAPE)
    model.compile(
        optimizer=keras.optimizers.Adam(RATE),
        loss="binary_crossentropy",
    )
    ends = []
    note = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: ends.append(time.perf_counter()),
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()),
    )
    model.fit(
        images,
        labels,
        batch_size=BATCH,
        epochs=epochs,
        validation_data=(inputs, truth),
        validation_batch_size=256,
        callbacks=[note],
        verbose=0,
    )
    outputs = model.predict(inputs, batch_size=256, verbose=0)[:, 0]
    return np.diff(ends).tolist(), average_precision_score(truth, outputs)


def keras_with_onednn(*given, **how) -> tuple[list[float], float]:
    """The same, as fast as TensorFlow can be made by a word in the environment."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    return plain_keras(*given, **how)


def plain_torch(name: str, folder: Path, *, epochs: int, seed: int, bfloat16: bool):
    """The eager loop."""
    import plain_torch as plain
    import torch

    torch.manual_seed(seed)
    train, validation = arrays(folder)
    seconds, outputs = plain.fit(
        plain.MODELS[name](SHAPE),
        train,
        validation,
        epochs=epochs,
        batch=BATCH,
        rate=RATE,
        bfloat16=bfloat16,
    )
    return seconds, average_precision_score(validation[1], outputs)


FROZEN, UNCACHED = "resnet50", "tfpipe, no cache"
SIDES: dict[str, Callable] = {
    "tfpipe": ours,
    UNCACHED: without_cache,
    "keras float32": plain_keras,
    "keras float32, oneDNN on": keras_with_onednn,
    "torch float32": lambda *given, **how: plain_torch(*given, bfloat16=False, **how),
    "torch bfloat16": lambda *given, **how: plain_torch(*given, bfloat16=True, **how),
}


def arrays(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns (images, labels) of the training and of the validation pictures."""
    with np.load(folder / "arrays.npz") as stored:
        return [(stored[f"{s}_images"], stored[f"{s}_labels"]) for s in ("train", "validation")]


def draw(folder: Path, *, pictures: int) -> None:
    """Draws the pictures, as records and as arrays."""
    import drawn

    manifest = drawn.packed(folder, pictures=pictures, shape=SHAPE)
    stored = {}
    for split in ("train", "validation"):
        images, labels, _ = drawn.arrays(manifest, split)
        stored |= {f"{split}_images": images, f"{split}_labels": labels}
    np.savez(folder / "arrays.npz", **stored)


def measured(given: argparse.Namespace, *, seed: int) -> dict:
    """Trains one side once."""
    seconds, score = SIDES[given.side](given.model, given.folder, epochs=given.epochs, seed=seed)
    rate = given.pictures / np.median(seconds[1:])
    return {
        "pictures_s": float(rate),
        "first_epoch_s": seconds[0],
        "all_epochs_s": float(np.sum(seconds)),
        "score": float(score),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=("simple-cnn", "resnet18", FROZEN), default="simple-cnn")
    parser.add_argument("--pictures", type=int, default=650, help="for training; a multiple of 25")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        machine.measure_each_round(lambda one: measured(given, seed=one))
        return
    summary = machine.about()
    has = {"torch": machine.installed("torch"), "bfloat16": summary["bfloat16"]}
    sides = [s for s in SIDES if all(there for word, there in has.items() if word in s)]
    sides = [s for s in sides if (s == UNCACHED) == (given.model == FROZEN) or s == "tfpipe"]
    words = [f"--{n}={getattr(given, n)}" for n in ("model", "pictures", "epochs", "rounds")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "drawn"
        draw(folder, pictures=given.pictures)
        results = machine.take_turns(
            sides, rounds=given.rounds, words=[*words, f"--folder={folder}"]
        )
    summary |= {"pictures": given.pictures, "epochs": given.epochs}
    for what in ("pictures_s", "score", "first_epoch_s", "all_epochs_s"):
        summary[what] = {
            side: machine.spread([one[what] for one in results[side]]) for side in sides
        }
    rates = {side: [one["pictures_s"] for one in results[side]] for side in sides}
    summary["times_as_fast"] = {
        f"tfpipe / {side}": machine.ratio(rates["tfpipe"], rates[side]) for side in sides[1:]
    }
    summary["left_out"] = [side for side in SIDES if side not in sides]
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
