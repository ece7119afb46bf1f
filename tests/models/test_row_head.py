"""Classes of rows: a loss that forgives small shifts, silent rows, and a second output."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import make_features, make_small, make_spec

from tfpipe.base.errors import UserError
from tfpipe.data.strip_augmentation import strip_augmentation
from tfpipe.models import sliding_window
from tfpipe.models.outputs import with_all_outputs
from tfpipe.models.row_head import SILENT, best_shift_loss
from tfpipe.models.zoo.core_unet import RelativeBrightness
from tfpipe.registry import keras_scan

ROWS, TOLERANCE = 60, 3
SPEC = make_spec((ROWS, 20, 1))


def layer_at(first, end):
    """Returns the labels [1, rows] of a strip with one layer."""
    labels = np.zeros((1, ROWS), np.uint8)
    labels[0, first:end] = 1
    return labels


def logits_of(labels, *, size=4.0):
    """Returns the logits [1, rows, 3] of a model that is sure of these labels."""
    return tf.constant(size * np.eye(3, dtype=np.float32)[labels])


def loss_of(logits, labels):
    loss = best_shift_loss(logits, tf.constant(labels), shift_rows=TOLERANCE, event_weight=2.0)
    return float(loss[0])


def test_labels_within_the_tolerance_cost_the_same_and_farther_ones_more():
    logits = logits_of(layer_at(30, 36))
    losses = {k: loss_of(logits, layer_at(30 + k, 36 + k)) for k in range(-7, 8)}
    for k, loss in losses.items():
        if abs(k) <= TOLERANCE:
            assert loss == pytest.approx(losses[0], rel=0.06)  # rows that move in are silent
        else:
            assert loss > 3 * losses[0]
    assert losses[4] < losses[5] < losses[6] and losses[-4] < losses[-5] < losses[-6]


def test_a_layer_at_the_edge_is_not_moved_out_of_the_strip_for_nothing():
    nothing = logits_of(np.zeros((1, ROWS), np.uint8))
    for first, end in ((0, 6), (0, TOLERANCE), (0, 1), (ROWS - 1, ROWS), (ROWS - TOLERANCE, ROWS)):
        cost = loss_of(nothing, layer_at(first, end)) - loss_of(nothing, layer_at(0, 0))
        assert cost > 0.9 * 2.0 * (end - first) * 4.0 / ROWS  # weight, rows, size of the logits
        found = logits_of(layer_at(first, end))
        assert loss_of(found, layer_at(first, end)) < 1.2 * loss_of(nothing, layer_at(0, 0))
    # A layer that the table puts some rows too high or too low is forgiven at the edge as well.
    assert loss_of(logits_of(layer_at(3, 9)), layer_at(0, 6)) < 0.1


def test_silent_rows_have_no_gradient_and_others_have():
    labels = layer_at(20, 26)
    labels[0, 40:] = SILENT
    logits = tf.Variable(logits_of(layer_at(22, 50), size=0.5))
    with tf.GradientTape() as tape:
        loss = best_shift_loss(logits, tf.constant(labels), shift_rows=0, event_weight=2.0)
    gradient = np.abs(tape.gradient(loss, logits).numpy()[0]).sum(axis=1)
    assert (gradient[:40] > 0).all() and (gradient[40:] == 0).all()
    everything = np.full((1, ROWS), SILENT, np.uint8)
    assert loss_of(logits, everything) == 0


def test_the_rows_of_a_model_learn_from_their_targets_and_are_saved(tmp_path):
    keras.utils.set_random_seed(0)
    model = make_small("core-unet", SPEC)
    features = make_features(model, SPEC, batch=4)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    label = np.array([0, 1, 0, 1])
    rows = np.zeros((4, ROWS), np.uint8)
    with_rows = model.evaluate(features, {"label": label, "row_labels": rows}, verbose=0)
    assert with_rows > model.evaluate(features, label, verbose=0)  # which is of the image alone
    before = model.get_layer("rows").classes.get_weights()
    model.train_on_batch(features, {"label": label, "row_labels": rows})
    assert np.abs(model.get_layer("rows").classes.get_weights()[0] - before[0]).max() > 0
    outputs = with_all_outputs(model)(features)
    assert outputs["rows"].shape == (4, ROWS, 3) and outputs["probabilities"].shape == (4, 2)
    np.testing.assert_allclose(outputs["rows"].numpy().sum(axis=2), 1, atol=1e-5)
    path = tmp_path / "model.keras"
    model.save(path)
    keras_scan.scan(path, name="model")
    again = with_all_outputs(keras.models.load_model(path, compile=False))(features)
    np.testing.assert_allclose(again["rows"], outputs["rows"], atol=1e-6)


def test_a_long_image_is_predicted_row_by_row():
    model = make_small("core-unet", SPEC)
    modes = sliding_window.by_inference_mode(model)
    assert list(modes) == ["rows"]
    core = np.random.default_rng(0).integers(0, 255, (1, 150, 20, 1), dtype=np.uint8)
    tops = np.array([[0, 30, 90]])
    outputs = modes["rows"].along(core, tops)
    assert outputs["rows"].shape == (1, 3, ROWS, 3) and outputs["probabilities"].shape == (1, 3, 2)
    alone = with_all_outputs(model)({"image": core[:, 30:90]})
    np.testing.assert_allclose(outputs["rows"][0, 1], alone["rows"][0], atol=1e-5)


def test_an_exposure_changes_nothing_and_a_dark_band_has_one_value():
    layer = RelativeBrightness(100.0)
    rng = np.random.default_rng(1)
    image = rng.uniform(80, 120, (1, 40, 80, 1)).astype(np.float32)
    image[:, 10:14] *= 0.75
    plain, bright = layer(image).numpy(), layer(1.6 * image).numpy()
    np.testing.assert_allclose(plain, bright, atol=0.05)
    drop = plain[:, 10:14].mean() - plain[:, 20:30].mean()
    assert drop == pytest.approx(5 * np.log(0.75), abs=0.15)


def test_data_without_classes_of_rows_is_refused():
    with pytest.raises(UserError, match="learns the class of each row"):
        make_small("core-unet", dataclasses.replace(SPEC, row_classes=()))


def test_augmentation_turns_rows_and_their_classes_together():
    count, height = 64, 80
    image = np.full((count, height, 12, 1), 120, np.uint8)
    rows = np.zeros((count, height), np.uint8)
    for i in range(count):
        first = 5 + i % 20
        image[i, first : first + 8] = 30
        rows[i, first : first + 8] = 1
    batch = {"image": tf.constant(image), "row_labels": tf.constant(rows)}, tf.zeros(count)
    augment = strip_augmentation(3)
    (features, _), (again, _) = (augment(tf.constant(7), batch) for _ in range(2))
    np.testing.assert_array_equal(features["image"], again["image"])
    other, _ = augment(tf.constant(8), batch)
    assert (other["image"].numpy() != features["image"].numpy()).any()
    changed, labels = features["image"].numpy().astype(float), features["row_labels"].numpy()
    assert features["image"].dtype == tf.uint8
    is_turned = (labels != rows).any(axis=1)
    assert 0.2 < is_turned.mean() < 0.8
    np.testing.assert_array_equal(labels[is_turned], rows[is_turned, ::-1])
    light = changed.mean(axis=(2, 3))
    for one, of_rows in zip(light, labels, strict=True):
        assert one[of_rows == 1].max() < np.median(one[of_rows == 0])
    # Bands that are no layers: rows of other brightness, of which no label speaks.
    plain = light / np.median(light, axis=1, keepdims=True)
    assert (plain[labels == 0] < 0.9).mean() > 0.01
