"""One fit for all models: it learns, stops, goes on where it was killed, and writes things down."""

import csv
import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import subprocesses
import tiny
import trained_by_threads

from tfpipe.base.errors import UserError
from tfpipe.data import dataset, manifest
from tfpipe.training import checkpoints, loggers, loop, validation
from tfpipe.training.config import TrainingConfig

pytestmark = pytest.mark.slow

SETTINGS = TrainingConfig(epochs=3, batch_size=16, learning_rate=0.01, seed=1)
FALLING = replace(SETTINGS, schedule="cosine", mining=True)
KILLED = replace(FALLING, schedule="exponential", decay_steps=10)  # keeps its best epoch, too


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> loop.Dataset:
    return tiny.packed(tmp_path_factory.mktemp("tiny"))


def fresh(data, settings=SETTINGS):
    keras.utils.set_random_seed(settings.seed)
    model = tiny.build(tiny.spec_of(data), dropout=0.3)
    loop.prepare(model, data, settings=settings)
    return model


def fitted(data, settings=SETTINGS, **rest):
    model = fresh(data, settings)
    return model, loop.fit(model, data, settings=settings, **rest)


def same_weights(one, other) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def trained(data):
    return fitted(data)


@pytest.fixture(scope="module")
def falling(data):
    """A model, its history, and of each stream of batches its first epoch and its hard images."""
    draw, streams = dataset.training_batches, []

    def spied(folder, drawing, **rest):
        n_hard = None if drawing.hard is None else int(drawing.hard.sum())
        streams.append((drawing.seed // 1000, n_hard))
        return draw(folder, drawing, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "training_batches", spied)
        return *fitted(data, FALLING), streams


def go_on(data, folder: Path, **rest):
    """Trains by what is in a folder: checkpoints, and the table of the epochs so far."""
    callbacks = [loggers.history_csv(folder / "history.csv")]
    checkpoint_folder = folder / "checkpoints"
    return fitted(data, FALLING, checkpoint_folder=checkpoint_folder, callbacks=callbacks, **rest)


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """The folder of a training that was stopped after its first epoch and after its second."""
    folder = tmp_path_factory.mktemp("stopped")
    for until in (1, 2):
        model, history = go_on(data, folder, until=until)
        assert len(history["loss"]) == until
    return folder, model


@pytest.fixture(scope="module")
def resumed(stopped, data, tmp_path_factory):
    """The folder, model and history of the stopped training, which went on to its end."""
    folder = tmp_path_factory.mktemp("resumed")
    shutil.copytree(stopped[0], folder, dirs_exist_ok=True)
    return folder, *go_on(data, folder)


# Learning.


def test_training_learns_and_tells_each_epoch(trained):
    _, history = trained
    assert set(history) == {"loss", "val_loss", "val_average_precision", "seconds"}
    assert history["loss"][-1] < history["loss"][0]
    assert max(history["val_average_precision"]) > 0.9


def test_the_model_is_left_as_its_best_epoch_had_it(trained, data):
    model, history = trained
    labels, probabilities = validation.predict(model, data, dataset.VALIDATION)
    true_probs = probabilities[np.arange(len(labels)), labels]
    best = int(np.argmax(history["val_average_precision"]))
    assert np.isclose(-np.log(true_probs).mean(), history["val_loss"][best], atol=1e-5)


def test_with_a_rate_that_falls_to_zero_the_last_epoch_is_kept(falling, data):
    model, history, _ = falling
    labels, probabilities = validation.predict(model, data, dataset.VALIDATION)
    true_probs = probabilities[np.arange(len(labels)), labels]
    assert np.isclose(-np.log(true_probs).mean(), history["val_loss"][-1], atol=1e-5)
    assert np.isclose(float(model.optimizer.learning_rate), 0.0, atol=1e-7)


def test_the_same_seed_gives_the_same_model(falling, data):
    again, history = fitted(data, FALLING)
    assert history["loss"] == falling[1]["loss"]
    assert same_weights(falling[0], again)


def test_another_number_of_threads_gives_the_same_model_but_for_rounding(data):
    made = []
    for threads in ("1", "2"):
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        run = subprocesses.run(
            trained_by_threads.__file__, data.folder, **dict.fromkeys(names, threads)
        )
        assert run.returncode == 0, run.stderr[-2000:]
        made.append(json.loads(run.stdout.splitlines()[-1]))
    one, two = made
    np.testing.assert_allclose(one["probabilities"], two["probabilities"], atol=1e-5)
    for name, values in one["history"].items():
        np.testing.assert_allclose(values, two["history"][name], atol=1e-4, err_msg=name)


def test_patience_ends_a_training_that_gets_no_better(data, monkeypatch):
    monkeypatch.setattr(loop, "scorer", lambda *_: lambda epoch: {"val_average_precision": 0.5})
    _, history = fitted(data, replace(SETTINGS, epochs=9, patience=2))
    assert len(history["loss"]) == 3


def test_answers_that_are_no_numbers_end_a_training(data):
    model = fresh(data)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(UserError, match="diverged in epoch 1.*learning rate"):
        loop.fit(model, data, settings=SETTINGS)


def test_hardest_are_the_worst_tenth_of_each_class():
    labels = np.array([0] * 30 + [1] * 5)
    positive = np.r_[np.linspace(0, 0.9, 30), [0.1, 0.5, 0.6, 0.7, 0.8]]
    hard = validation.hardest_examples(labels, np.stack([1 - positive, positive], axis=1))
    assert np.flatnonzero(hard).tolist() == [27, 28, 29, 30]


def test_hard_examples_are_drawn_after_a_third_of_the_epochs(falling, data):
    counts = data.manifest.counts["train"].values()
    assert falling[2] == [(0, None), (1, sum(max(1, count // 10) for count in counts))]


def test_predicted_covers_a_split_in_order(trained, data):
    labels, probabilities = validation.predict(trained[0], data, dataset.TEST)
    assert len(labels) == sum(data.manifest.counts["test"].values())
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_gradients_are_clipped_and_weights_decay(data):
    settings = replace(SETTINGS, clip=0.1, weight_decay=1e-4, optimizer="adam")
    optimizer = fresh(data, settings).optimizer
    assert (optimizer.clipvalue, optimizer.weight_decay) == (0.1, 1e-4)


@pytest.mark.parametrize("change", [{"optimizer": "adm"}, {"schedule": "cosin"}, {"loss": "mse"}])
def test_a_word_that_is_unknown_is_named(data, change):
    with pytest.raises(UserError, match=next(iter(change.values()))):
        fresh(data, replace(SETTINGS, **change))


def test_models_are_not_compiled_by_xla_on_a_processor(trained):
    assert trained[0].jit_compile is False


# Going on.


def test_a_training_stopped_between_epochs_goes_on_as_if_it_had_not_been(stopped, resumed, falling):
    _, model, history = resumed
    assert not same_weights(stopped[1], falling[0])
    assert same_weights(model, falling[0])
    assert history["loss"] == falling[1]["loss"] and history["val_loss"] == falling[1]["val_loss"]


def test_the_best_epoch_is_remembered_over_a_stop(trained, data, tmp_path):
    fitted(data, checkpoint_folder=tmp_path, until=2)
    model, history = fitted(data, checkpoint_folder=tmp_path)
    assert same_weights(model, trained[0])
    assert history["val_loss"] == trained[1]["val_loss"]


def test_killed_three_times_inside_epochs_it_ends_with_the_same_weights(data, tmp_path):
    """The process keeps its state at every batch, and dies after a random one."""
    whole, _ = fitted(data, KILLED)
    run = subprocesses.run(__file__, data.folder, tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert json.loads(run.stdout.splitlines()[-1]) == [-signal.SIGKILL] * 3 + [0]
    final = np.load(tmp_path / "final.npz", allow_pickle=False)
    assert all(np.array_equal(final[f"arr_{i}"], w) for i, w in enumerate(whole.get_weights()))


def train_in_child(data: loop.Dataset, folder: Path, dies_at: int | None) -> int:
    """Trains in a forked process that kills itself at its nth batch; returns its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    loop.SAVE_EVERY_S, loop.SAVE_SHARE = -1.0, 1e9
    add, left = loop.checkpoints.add, [dies_at]

    def counted(*args, **kwargs):
        if left[0] is not None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        add(*args, **kwargs)

    loop.checkpoints.add = counted
    model, _ = fitted(data, KILLED, checkpoint_folder=folder / "checkpoints")
    np.savez(folder / "final.npz", *model.get_weights())
    os._exit(0)


# What is written down.


def test_history_is_a_table_that_a_resumed_training_continues(resumed):
    folder, _, history = resumed
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["val_loss"]) for row in rows] == history["val_loss"]


# Checkpoints.


def test_a_damaged_state_falls_back_to_the_one_before(stopped, falling, data, tmp_path, caplog):
    shutil.copytree(stopped[0] / "checkpoints", tmp_path, dirs_exist_ok=True)
    _, newer = sorted(tmp_path.glob("*.npz"))
    whole = newer.read_bytes()
    newer.write_bytes(whole[: len(whole) // 2])
    model, _ = fitted(data, FALLING, checkpoint_folder=tmp_path)
    assert same_weights(model, falling[0])
    assert f"{newer} is damaged" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "empty", "bit"])
def test_when_every_state_is_damaged_it_is_said_and_nothing_begins_anew(trained, tmp_path, damage):
    for number in (1, 2, 3):
        checkpoints.add(tmp_path, trained[0], number=number)
    checkpoint_files = sorted(tmp_path.glob("*.npz"))
    assert len(checkpoint_files) == 2
    for path in checkpoint_files:
        whole = bytearray(path.read_bytes())
        if damage == "bit":
            whole[len(whole) // 2] ^= 1
        path.write_bytes({"cut": whole[:-30], "empty": b"", "bit": whole}[damage])
    with pytest.raises(UserError, match="Every checkpoint.*damaged.*Remove that folder"):
        checkpoints.newest(tmp_path)


def test_the_state_of_another_model_is_refused_and_changes_nothing(data, tmp_path):
    checkpoints.save(tmp_path / "state.npz", fresh(data))
    other = tiny.build(tiny.spec_of(data), filters=5)
    loop.prepare(other, data, settings=SETTINGS)
    before = other.get_weights()
    with pytest.raises(UserError, match="checkpoint of another model"):
        checkpoints.restore(checkpoints.read(tmp_path / "state.npz"), other)
    assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True))


if __name__ == "__main__":
    records, folder = (Path(word) for word in sys.argv[1:])
    opened = loop.Dataset(records, manifest.read(records), tiny.TASK.scoring.objective)
    rng = np.random.default_rng(7)
    # Of 39 batches in all, so that every one of the three dies on its way.
    moments = [int(n) for n in rng.integers(5, 13, 3)] + [None]
    print(json.dumps([train_in_child(opened, folder, moment) for moment in moments]))
