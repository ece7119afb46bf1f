"""A head on cached embeddings becomes what it becomes behind its frozen body."""

from dataclasses import replace

import four_class_task
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfpipe.data import dataset
from tfpipe.data.dataset import Subset
from tfpipe.models.layers import head, image_input
from tfpipe.training import compile as training_compile
from tfpipe.training import embedding_cache, loop
from tfpipe.training.config import TrainingConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets"),
]
SETTINGS = TrainingConfig(
    epochs=8, patience=8, batch_size=16, learning_rate=0.02, seed=1, unfreeze=1, augmentation="none"
)
BALANCES = ("sampling", "weights", "none")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> loop.Dataset:
    """Images of four classes with columns; every ninth has no label."""
    return four_class_task.packed(tmp_path_factory.mktemp("kinds"))


class Counting(layers.Layer):
    """Passes images on as they are, and counts them."""

    def __init__(self, **rest):
        super().__init__(**rest)
        self.n_images = 0

    def call(self, images):
        def count(array):
            self.n_images += len(array)
            return array

        counted = tf.numpy_function(count, [images], images.dtype, stateful=True)
        return tf.ensure_shape(counted, images.shape)


class Network:
    """A frozen body with two stages, of which the second may be opened, joined with columns."""

    def __init__(self, data: loop.Dataset, settings: TrainingConfig):
        keras.utils.set_random_seed(settings.seed)
        spec = four_class_task.spec_of(data)
        image, x = image_input(spec)
        columns = keras.Input((len(spec.columns),), name="columns")
        pixels = keras.Input(spec.image_shape)
        stages = layers.Conv2D(6, 3, strides=2, activation="relu", name="conv1_conv")(pixels)
        stages = layers.Conv2D(8, 3, strides=2, activation="relu", name="conv2_conv")(stages)
        stages = layers.BatchNormalization(name="conv2_bn")(stages)
        body = keras.Model(pixels, stages, name="body")
        body.trainable = False
        self.counting = Counting(name="counting")
        x = layers.GlobalAveragePooling2D(name="pool")(body(self.counting(x), training=False))
        x = layers.Concatenate(name="joined")([x, layers.Dense(4, activation="relu")(columns)])
        x = layers.Dense(8, activation="relu", name="embedding")(x)
        x = layers.Dropout(0.3, name="embedding_dropout")(x)
        inputs = {"image": image, "columns": columns}
        self.model = keras.Model(inputs, head(x, spec))
        self.data, self.settings, self.notes = data, settings, []
        loop.prepare(self.model, data, settings=settings)

    def fit(self, **rest) -> dict[str, list[float]]:
        return loop.fit(
            self.model,
            self.data,
            settings=self.settings,
            report=lambda stage, info: self.notes.append((stage, info)),
            **rest,
        )


def fitted(data, settings=SETTINGS, **rest) -> tuple[Network, dict[str, list[float]]]:
    network = Network(data, settings)
    return network, network.fit(**rest)


@pytest.fixture
def without_cache(monkeypatch):
    """Returns a function that trains as without a cache, for want of memory."""

    def fit(data, settings=SETTINGS, **rest):
        with monkeypatch.context() as patch:
            patch.setattr(embedding_cache, "MEMORY_SHARE", 0.0)
            return fitted(data, settings, **rest)

    return fit


def assert_alike(one, other, **tolerance) -> None:
    """Asserts that two trainings ended alike, but for rounding."""
    (network, history), (other_network, other_history) = one, other
    for name in set(history) - {"seconds"}:
        np.testing.assert_allclose(
            history[name], other_history[name], **tolerance or {"atol": 1e-4}, err_msg=name
        )
    for a, b in zip(network.model.get_weights(), other_network.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **tolerance or {"atol": 1e-3})


def n_labelled(data: loop.Dataset, split: str) -> int:
    counts = data.manifest.counts[split]
    return sum(counts[name] for name in four_class_task.CLASSES)


# As behind the body.


@pytest.mark.parametrize("balance", BALANCES)
def test_without_augmentation_the_model_is_that_of_an_uncached_training(
    data, balance, without_cache
):
    settings = replace(SETTINGS, balance=balance, unfreeze=0)
    cached = fitted(data, settings)
    assert_alike(cached, without_cache(data, settings))
    assert not cached[0].notes


def test_hard_examples_are_drawn_as_in_an_uncached_training(data, without_cache):
    settings = replace(SETTINGS, mining=True, schedule="cosine", unfreeze=0)
    mined, plain = fitted(data, settings), fitted(data, replace(settings, mining=False))
    assert_alike(mined, without_cache(data, settings))
    assert mined[1]["loss"] != plain[1]["loss"]


def test_a_fold_is_trained_on_its_own_images(data, without_cache):
    labels = dataset.labels_of(data.folder, ("train",), manifest=data.manifest)
    chosen = np.arange(len(labels)) % 3 > 0
    fold = replace(data, train=Subset(("train",), chosen))
    settings = replace(SETTINGS, unfreeze=0)
    network, history = fitted(fold, settings)
    n_images = int((labels[chosen] >= 0).sum())
    assert network.counting.n_images == n_images + n_labelled(data, "validation")
    assert_alike((network, history), without_cache(fold, settings))


def test_stages_are_opened_after_the_cached_epochs(data, without_cache):
    settings = replace(SETTINGS, epochs=10, schedule="cosine")
    body = Network(data, settings).model.get_layer("body").get_weights()
    cached = fitted(data, settings)
    assert_alike(cached, without_cache(data, settings), atol=3e-3)
    opened = cached[0].model.get_layer("body").get_weights()
    changed = [not np.array_equal(a, b) for a, b in zip(body, opened, strict=True)]
    # Kernel and bias of the first convolution and of the second, and four of the norm's.
    assert changed == [False, False, True, True, False, False, False, False]


# What it costs.


@pytest.mark.parametrize(("epochs", "views"), [(4, 4), (12, 6), (30, 8)])
def test_the_body_sees_each_view_of_an_image_once(data, epochs, views):
    settings = replace(SETTINGS, unfreeze=0, augmentation="slices", epochs=epochs, patience=epochs)
    network, _ = fitted(data, settings)
    n_images = views * n_labelled(data, "train") + n_labelled(data, "validation")
    assert network.counting.n_images == n_images


def test_no_view_is_computed_before_its_epoch(data):
    settings = replace(SETTINGS, unfreeze=0, augmentation="slices", epochs=12)
    network, _ = fitted(data, settings, until=2)
    assert network.counting.n_images == 2 * n_labelled(data, "train") + n_labelled(
        data, "validation"
    )


def test_few_epochs_are_trained_as_without_a_cache(data, without_cache):
    settings = replace(
        SETTINGS, unfreeze=0, augmentation="slices", epochs=embedding_cache.FEWEST_VIEWS - 1
    )
    network, history = fitted(data, settings)
    assert history["loss"] == without_cache(data, settings)[1]["loss"]
    assert network.counting.n_images >= settings.epochs * n_labelled(data, "validation")


def test_views_differ_and_are_those_of_the_seed(data):
    settings = replace(SETTINGS, unfreeze=0, augmentation="slices", epochs=4)
    network, history = fitted(data, settings)
    assert fitted(data, settings)[1]["loss"] == history["loss"]
    plain = fitted(data, replace(settings, augmentation="none"))
    assert plain[1]["loss"] != history["loss"]


def test_a_cache_that_does_not_fit_is_named_and_done_without(data, without_cache):
    network, _ = without_cache(data)
    ((stage, info),) = network.notes
    assert stage == "train"
    assert "more than the 0.0 GB that are used for them here" in info["note"]
    n_validation = SETTINGS.epochs * n_labelled(data, "validation")
    assert network.counting.n_images > n_validation


# Going on.


class Killed(Exception):
    """Raised in place of a kill."""


def test_a_training_that_was_killed_ends_with_the_same_weights(data, tmp_path, monkeypatch):
    settings = replace(SETTINGS, augmentation="slices", mining=True, epochs=12)
    whole, history = fitted(data, settings)
    n_steps = training_compile.steps_per_epoch(whole.model, data, settings)
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1.0)
    monkeypatch.setattr(loop, "SAVE_SHARE", 1e9)
    add, left = loop.checkpoints.add, [0]

    def counted(*arguments, **options):
        add(*arguments, **options)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(loop.checkpoints, "add", counted)
    n_killed = 0
    for moment in (n_steps + 3, 3 * n_steps, None):  # in epochs 2 and 5
        left[0] = moment or 0
        try:
            network, resumed = fitted(data, settings, checkpoint_folder=tmp_path)
        except Killed:
            n_killed += 1
    assert n_killed == 2
    assert resumed["loss"] == history["loss"] and resumed["val_loss"] == history["val_loss"]
    weights = zip(network.model.get_weights(), whole.model.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in weights)
