"""One fit for all models, the precision it computes in, and what a random split would claim."""

import shutil

import keras
import numpy as np
import pytest
import tiny

from tfpipe import evaluation, naive, training

SETTINGS = training.Settings(epochs=3, batch_size=16, learning_rate=0.01, seed=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> training.Data:
    return tiny.packed(tmp_path_factory.mktemp("tiny"))


def fitted(data, settings=SETTINGS):
    keras.utils.set_random_seed(settings.seed)
    model = tiny.build(tiny.spec_of(data))
    training.prepare(model, data, settings=settings)
    return model, training.fit(model, data, settings=settings)


@pytest.fixture(scope="module")
def known(data):
    return fitted(data)


def test_training_learns_and_tells_each_epoch(known):
    _, history = known
    assert set(history) == {"loss", "val_loss", "val_average_precision", "seconds"}
    assert history["loss"][-1] < history["loss"][0]
    assert max(history["val_average_precision"]) > 0.9


def test_the_model_is_left_as_its_best_epoch_had_it(known, data):
    model, history = known
    labels, said = training.predicted(model, data, "validation")
    likely = said[np.arange(len(labels)), labels]
    best = int(np.argmax(history["val_average_precision"]))
    assert np.isclose(-np.log(likely).mean(), history["val_loss"][best], atol=1e-5)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model(known, data):
    again, history = fitted(data)
    assert history["loss"] == known[1]["loss"]
    for one, other in zip(known[0].get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_decaying_rate_ends_at_zero(data):
    settings = training.Settings(epochs=2, batch_size=16, decay=True, optimizer="sgd")
    model, _ = fitted(data, settings)
    assert np.isclose(float(model.optimizer.learning_rate), 0.0, atol=1e-9)


def test_hardest_are_the_worst_tenth_of_each_class():
    labels = np.array([0] * 30 + [1] * 5)
    positive = np.r_[np.linspace(0, 0.9, 30), [0.1, 0.5, 0.6, 0.7, 0.8]]
    hard = training.hardest(labels, np.stack([1 - positive, positive], axis=1))
    assert np.flatnonzero(hard).tolist() == [27, 28, 29, 30]


@pytest.mark.slow
def test_hard_examples_are_drawn_after_a_third_of_the_epochs(data, monkeypatch):
    fit, told = training.fit, []

    def spied(model, *arguments, **options):
        hard = options.get("hard")
        told.append((options.get("first_epoch", 0), None if hard is None else int(hard.sum())))
        return fit(model, *arguments, **options)

    monkeypatch.setattr(training, "fit", spied)
    settings = training.Settings(epochs=3, batch_size=16, decay=True)
    model = tiny.build(tiny.spec_of(data))
    training.prepare(model, data, settings=settings)
    history = training.fit_to_end(model, data, settings=settings)
    counts = data.manifest["counts"]["train"].values()
    assert told == [(0, None), (1, sum(max(1, count // 10) for count in counts))]
    assert len(history["loss"]) == 3
    assert np.isclose(float(model.optimizer.learning_rate), 0.0, atol=1e-9)


def test_predicted_covers_a_split_in_order(known, data):
    labels, said = training.predicted(known[0], data, "test")
    assert len(labels) == sum(data.manifest["counts"]["test"].values())
    assert np.allclose(said.sum(axis=1), 1)


@pytest.mark.parametrize(("flags", "policy"), [("avx2 avx512_bf16", "mixed_bfloat16"), ("avx2", 0)])
def test_bfloat16_is_taken_only_where_the_processor_has_it(monkeypatch, flags, policy):
    monkeypatch.setattr(training.Path, "read_text", lambda path: f"flags : {flags}")
    assert training.compute_policy("auto") == (policy or "float32")
    assert training.compute_policy("float32") == "float32"


def test_models_are_not_compiled_by_xla_on_a_processor(known):
    assert known[0].jit_compile is False


@pytest.mark.slow
def test_a_random_split_takes_every_picture_once(data, tmp_path):
    mixed = naive._mixed(data, tmp_path, seed=3)
    honest, drawn = data.manifest, mixed.manifest
    for name in honest["classes"]:
        counts = [sum(m["counts"][s][name] for s in m["counts"]) for m in (honest, drawn)]
        assert counts[0] == counts[1]
    scores = naive.random_split_scores(
        lambda: tiny.build(tiny.spec_of(data)), data, settings=SETTINGS
    )
    assert scores["examples"] == sum(drawn["counts"]["test"].values()) or scores["examples"] > 0
    assert 0 <= scores["accuracy"] <= 1


def test_thresholds_come_from_validation_files_alone(known, data, tmp_path):
    def classify(images):
        return known[0].predict_on_batch({"image": images})

    raw, changed = data.folder.parent / "raw", tmp_path / "raw"
    shutil.copytree(raw, changed)
    for name in data.manifest["sources"]["test"]:
        (changed / name).write_text("987")
    options = {"options": tiny.TASK.options}
    before = evaluation.evaluate(tiny.TASK, raw, data, classify, **options)
    after = evaluation.evaluate(tiny.TASK, changed, data, classify, **options)
    assert after.thresholds == before.thresholds
    assert after.scores["validation"] == before.scores["validation"]
    counts = data.manifest["counts"]
    asked = sum(sum(counts[split].values()) for split in ("validation", "test"))
    assert len(before.predictions) == asked
    assert set(before.predictions["split"]) == {"validation", "test"}
