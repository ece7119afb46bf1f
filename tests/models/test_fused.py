"""Fused operations compute what Keras' own do: outputs, gradients and moving statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import make_features, make_small, spec_for

from tfpipe.base import resources
from tfpipe.base.hardware import dtype_policy
from tfpipe.models.fused import MANY_CHANNELS, fused_operations, inference

NORMALIZED = ("resnet9", "resnet18", "compact-resnet", "core-unet")


def step(model: keras.Model, features) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Returns outputs, gradients and moving statistics of a training step."""

    @tf.function
    def traced():
        keras.utils.set_random_seed(0)
        with tf.GradientTape() as tape:
            outputs = model(features, training=True)
            loss = tf.reduce_mean(tf.square(tf.cast(outputs, tf.float32) - 0.3))
        return outputs, tape.gradient(loss, model.trainable_variables)

    outputs, gradients = traced()
    moved = [w.numpy() for w in model.non_trainable_variables if "moving" in w.name]
    return outputs.numpy(), [tf.convert_to_tensor(g).numpy() for g in gradients], moved


def operations(model: keras.Model, features, *, training: bool) -> list[str]:
    graph = tf.function(lambda: model(features, training=training)).get_concrete_function().graph
    return [operation.type for operation in graph.get_operations()]


def norms_of(model: keras.Model) -> int:
    layers = [layer for layer in model._flatten_layers() if "BatchNorm" in type(layer).__name__]
    return sum(len(layer.input.shape) == 4 for layer in layers)


@pytest.mark.parametrize("name", NORMALIZED)
def test_a_training_step_is_that_of_keras(name):
    with dtype_policy("float32"):
        spec = spec_for(name)
        keras.utils.set_random_seed(1)
        model = make_small(name, spec, dropout=0.0)
    for layer in model._flatten_layers():
        if hasattr(layer, "gamma"):  # some begin at 0, and would hide what is before them
            layer.gamma.assign(0.5 + keras.random.uniform(layer.gamma.shape, seed=2))
    features = make_features(model, spec, batch=8)
    weights = model.get_weights()
    expected = step(model, features)
    model.set_weights(weights)
    with fused_operations(model):
        assert operations(model, features, training=True).count("FusedBatchNormV3") == norms_of(
            model
        ), "each norm is one operation"
        computed = step(model, features)
    assert expected[2], "there are moving statistics to compare"
    np.testing.assert_allclose(computed[0], expected[0], atol=2e-5)
    for one, other in zip(computed[1] + computed[2], expected[1] + expected[2], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4 * np.abs(other).max() + 1e-6)


@pytest.mark.parametrize("name", NORMALIZED)
def test_predictions_are_those_of_keras_and_layers_are_put_back(name):
    spec = spec_for(name)
    with dtype_policy("float32"):
        model = make_small(name, spec)
    features = make_features(model, spec)
    for layer in model._flatten_layers():
        if hasattr(layer, "moving_mean"):
            layer.moving_mean.assign(keras.random.normal(layer.moving_mean.shape, seed=3))
    expected = model(features, training=False).numpy()
    config, before = model.get_config(), operations(model, features, training=False)
    with fused_operations(model), fused_operations(model):
        assert "FusedBatchNormV3" in operations(model, features, training=False)
        np.testing.assert_allclose(model(features, training=False), expected, atol=1e-5)
    assert operations(model, features, training=False) == before
    assert model.get_config() == config
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


def test_layers_are_put_back_after_an_error():
    model = make_small("resnet18", spec_for("resnet18"))
    with pytest.raises(KeyError), fused_operations(model):
        raise KeyError
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


@pytest.mark.parametrize("size", [1, 3, (2, 3)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_gradient_of_many_channels_is_that_of_keras(size, padding, monkeypatch):
    monkeypatch.setattr(resources, "processors", lambda: "avx512_bf16")  # whatever this machine is
    rng = np.random.default_rng(0)
    maps = tf.constant(rng.normal(size=(4, 5, 6, MANY_CHANNELS)), tf.bfloat16)
    layer = keras.layers.Conv2D(8, size, padding=padding, use_bias=False, dtype="mixed_bfloat16")
    image = keras.Input(maps.shape[1:], dtype="bfloat16")
    model = keras.Model(image, layer(image))
    weighed = tf.constant(rng.normal(size=(4, *model.output.shape[1:])), tf.float32)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(maps)
            loss = tf.reduce_sum(weighed * tf.cast(model(maps), tf.float32))
        return tape.gradient(loss, [maps, layer.kernel.value])

    expected = [tf.cast(one, tf.float32).numpy() for one in gradients()]
    with fused_operations(model):
        fused = tf.function(gradients.python_function)
        computed = [tf.cast(one, tf.float32).numpy() for one in fused()]
        graph = fused.get_concrete_function().graph
    assert "Conv2DBackpropFilter" not in {one.type for one in graph.get_operations()}
    for one, other in zip(computed, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=0.01 * np.abs(other).max())


def test_norms_that_are_not_trained_use_and_leave_their_statistics():
    spec = spec_for("resnet18")
    with dtype_policy("float32"):
        model = make_small("resnet18", spec, dropout=0.0)
    model.trainable = False
    features = make_features(model, spec)
    before = model.get_weights()
    expected = model(features, training=True).numpy()
    with fused_operations(model):
        np.testing.assert_allclose(model(features, training=True), expected, atol=1e-5)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_inference_is_that_of_keras_and_follows_weights_that_are_set_later():
    spec = spec_for("compact-resnet")
    with dtype_policy("float32"):
        model = make_small("compact-resnet", spec)
    features = make_features(model, spec)
    call = inference(model)
    first = call(features).numpy()
    np.testing.assert_allclose(first, model(features, training=False), atol=1e-5)
    model.get_layer("stem_norm").moving_mean.assign_add([1.0])
    np.testing.assert_allclose(call(features), model(features, training=False), atol=1e-5)
    assert np.abs(call(features) - first).max() > 1e-4


def scaling_model(shape, *, mean, variance) -> keras.Model:
    image = keras.Input(shape, dtype="uint16")
    scale = keras.layers.Normalization(mean=mean, variance=variance, dtype="float32")
    return keras.Model(image, scale(image))


@pytest.mark.parametrize(
    ("shape", "by_row"),
    [((4, 5, 3), True), ((4, 5, 2), True), ((4, 5, 1), False), ((None, 5, 3), False)],
)
def test_pixels_are_scaled_as_keras_scales_them(shape, by_row):
    channels = shape[2]
    model = scaling_model(
        shape, mean=[100.0, 3000.0, 7.0][:channels], variance=[400.0, 1e6, 0.0][:channels]
    )
    image = np.random.default_rng(0).integers(0, 65536, (6, 4, 5, channels)).astype(np.uint16)
    expected = model(image).numpy()
    signature = tf.TensorSpec((None, *shape), tf.uint16)
    with fused_operations(model):
        function = tf.function(model, jit_compile=False).get_concrete_function(signature)
    np.testing.assert_allclose(function(tf.constant(image)), expected, rtol=1e-6)
    assert ("Reshape" in {one.type for one in function.graph.get_operations()}) == by_row
    assert not any("call" in vars(layer) for layer in model.layers)


def test_one_number_scales_all_channels():
    model = scaling_model((4, 5, 3), mean=100.0, variance=25.0)
    image = np.random.default_rng(0).integers(0, 65536, (6, 4, 5, 3)).astype(np.uint16)
    expected = model(image).numpy()
    with fused_operations(model):
        np.testing.assert_allclose(model(image), expected, rtol=1e-6)


@keras.saving.register_keras_serializable("tests")
class Normed(keras.layers.Layer):
    """A user's layer that holds a batch norm, which was never called as a layer of the model."""

    def build(self, input_shape):
        self.norm = keras.layers.BatchNormalization()
        self.norm.build(input_shape)

    def call(self, inputs, training=False):
        return self.norm(inputs, training=training)


def test_a_norm_inside_a_layer_of_the_users_is_fused_too():
    image = keras.Input((4, 5, 3), name="image")
    model = keras.Model({"image": image}, Normed(dtype="float32")(image))
    features = {"image": np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)}
    call = inference(model)
    np.testing.assert_allclose(call(features), model(features, training=False), atol=1e-5)
    operations_of_call = call.get_concrete_function(features).graph.get_operations()
    assert "FusedBatchNormV3" in {one.type for one in operations_of_call}


def dropout_of(rate: float, *, dtype: str = "float32") -> tuple[keras.Model, keras.layers.Layer]:
    image = keras.Input((30, 40, 3), name="image", dtype=dtype)
    layer = keras.layers.Dropout(rate, seed=1, dtype=dtype)
    return keras.Model({"image": image}, layer(image)), layer


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate, dtype):
    model, _ = dropout_of(rate, dtype=dtype)
    features = {"image": tf.ones((7, 30, 40, 3), dtype)}
    with fused_operations(model):
        call = tf.function(lambda: model(features, training=True))
        first, second = (tf.cast(call(), tf.float32).numpy() for _ in range(2))
        operations = {one.type for one in call.get_concrete_function().graph.get_operations()}
        np.testing.assert_array_equal(model(features, training=False), features["image"])
    assert "StatelessRandomUniformFullIntV2" in operations
    n = first.size
    for drawn in (first, second):
        dropped = (drawn == 0).mean()
        assert abs(dropped - round(256 * rate) / 256) < 5 * np.sqrt(rate / n)
        assert len(np.unique(drawn)) == 2
        assert abs(drawn.mean() - 1) < 5 * np.sqrt(rate / (1 - rate) / n) + 2**-8 * (
            dtype == "bfloat16"
        )
    both = ((first == 0) & (second == 0)).mean()
    assert abs(both - rate**2) < 0.01, "draws of two steps are independent"
    neighbours = ((first[..., 1:, :] == 0) & (first[..., :-1, :] == 0)).mean()
    assert abs(neighbours - rate**2) < 0.01, "and so are those of neighbours"


def test_a_gradient_passes_where_dropout_lets_pass_and_draws_follow_the_seed():
    model, layer = dropout_of(0.4)
    inputs = tf.random.stateless_normal((2, 30, 40, 3), seed=(1, 2)) + 10.0
    state = layer.seed_generator.state.numpy()
    with fused_operations(model), tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = model({"image": inputs}, training=True)
    gradient = tape.gradient(outputs, inputs).numpy()
    np.testing.assert_allclose(gradient, outputs / inputs, rtol=1e-5)
    layer.seed_generator.state.assign(state)
    with fused_operations(model):
        np.testing.assert_array_equal(model({"image": inputs}, training=True), outputs)
        assert (model({"image": inputs}, training=True) != outputs).numpy().any()


@pytest.mark.parametrize("rate", [0.0, 0.0001, 1.0])
def test_rates_that_a_byte_does_not_resolve_stay_with_keras(rate):
    model, layer = dropout_of(rate)
    with fused_operations(model):
        assert "call" not in vars(layer)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pixels_are_scaled_to_the_bit_as_by_keras(dtype):
    image = keras.Input((5, 7, 3), dtype=dtype, name="image")
    scale = keras.layers.Normalization(
        mean=[101.3, 90.1, 77.7], variance=[900.0, 811.0, 0.0], dtype="float32"
    )
    model = keras.Model({"image": image}, scale(image))
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (4, 5, 7, 3), dtype)
    expected = model({"image": pixels}).numpy()
    with fused_operations(model):
        assert "call" in vars(scale)
        np.testing.assert_array_equal(model({"image": pixels}), expected)
