"""One list of models, and every promise the rest of the package relies on, over all of it."""

import dataclasses
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    COLUMNS,
    NEED_COLUMNS,
    SMALL,
    TAKE_COLUMNS,
    count_trainable,
    embed,
    layer_counts,
    make_features,
    make_images,
    make_small,
    make_spec,
    predict,
    settle,
    spec_for,
)

from tfpipe.base import hardware
from tfpipe.base.errors import UserError
from tfpipe.models import AUTOENCODERS, MODELS, build
from tfpipe.models.calls import reconstructs
from tfpipe.models.layers import image_input
from tfpipe.models.spec import Spec

pytestmark = pytest.mark.slow

# As resnet18, resnet50 and image-and-columns: one test each.
DEEPER = ("resnet34", "resnet101", "resnet152", "resnet50-and-columns")
HEAVY = ("resnet9", "resnet18", "resnet50", "vgg16", "image-and-columns")
EVERY_MODEL = [name for name in SMALL if name not in DEEPER]
CLASSIFIERS = [name for name in EVERY_MODEL if name not in AUTOENCODERS]
# Probabilities, or pixels in 0..1, may differ by so much in bfloat16, whose mantissa of 8 bits is
# right to 1 in 256; measured over three seeds: to 0.002, and to 0.01 in residual networks.
BFLOAT16_TOLERANCE = 0.03


@pytest.fixture(autouse=True)
def equal_weights_in_every_run():
    """Small networks have weights with which no unit answers, once in some hundred runs."""
    keras.utils.set_random_seed(0)


# Published numbers.


def test_simple_cnn_has_the_layers_of_the_seed():
    model = MODELS["simple-cnn"](make_spec((50, 200, 3)))
    # Seed 002, slide "Simple CNN".
    assert layer_counts(model) == [896, 18496, 73856, 2457728, 129]
    assert model.count_params() == 2_551_105


def test_enhanced_cnn_has_the_layers_of_the_seed():
    model = MODELS["enhanced-cnn"](make_spec((50, 200, 3)))
    # Seed 002, slide "Enhanced CNN".
    stem = [11932]
    blocks = [221998, 221998, 443996, 887678, 1331517, 1997040, 2662720, 3550084]
    assert layer_counts(model) == [*stem, *blocks, 1183466, 49455, 158]
    assert model.count_params() == 12_562_042


@pytest.mark.parametrize(
    ("shape", "stages"),
    [((8, 8, 1), 3), ((48, 48, 1), 4), ((128, 128, 3), 4), ((50, 200, 3), 4), ((700, 700, 1), 4)],
)
def test_compact_resnet_works_at_about_the_same_side_whatever_the_image(shape, stages):
    model = MODELS["compact-resnet"](make_spec(shape, classes=4))
    maps = [one.output.shape[1:3] for one in model.layers if one.name.endswith("block1_relu")]
    assert len(maps) == stages
    assert max(maps[0]) <= 60 and min(maps[-1]) >= 2
    # A block is two 3x3 convolutions, each with a norm of 4 numbers a channel, and a projection
    # where the channels change.
    block = [9 * 16 * 16 * 2 + 2 * 4 * 16]
    widths = (32, 64, 128)[: stages - 1]
    block += [9 * n * (n // 2) + 9 * n * n + n * (n // 2) + 3 * 4 * n for n in widths]
    last = 16 * 2 ** (stages - 1)
    stem = 9 * shape[-1] * 16 + 4 * 16
    scale = 2 * shape[-1] + 1  # mean, variance and count of the input's scaling
    assert model.count_params() in (
        stem + sum(block) + (last + 1) * 4,
        stem + sum(block) + (last + 1) * 4 + scale,
    )


@pytest.mark.parametrize(("side", "factor"), [(500, 1), (1000, 2)])
def test_simple_cnn_2_takes_the_windows_of_the_seed(side, factor):
    model = MODELS["simple-cnn-2"](make_spec((side, side, 3)))
    assert model.get_layer("downsize").output.shape == (None, 500, 500, 3)
    # The Simple CNN's convolutions, which seed 002 prints, and two more that double them.
    assert layer_counts(model) == [896, 18496, 73856, 295168, 1180160, 65664, 129]
    spec = make_spec((4 * factor, 4 * factor, 1))
    small = MODELS["simple-cnn-2"](spec, longest_px=4, filters=1, conv_layers=1)
    shown = keras.Model(small.input, small.get_layer("downsize").output)
    images = make_images(spec).astype("float32")
    blocks = images.reshape(3, 4, factor, 4, factor, 1)
    np.testing.assert_allclose(
        predict(shown, make_images(spec)), (blocks.mean(axis=(2, 4)) - 120) / 60, atol=1e-5
    )


def test_resnet9_has_as_many_parameters_as_published():
    model = MODELS["resnet9"](make_spec((32, 32, 3), classes=10))
    # Jovian's "Zero to GANs", lesson 5, with ten classes of CIFAR-10.
    assert count_trainable(model) == 6_575_370
    assert model.get_layer("residual2_add").output.shape == (None, 4, 4, 512)


def test_resnet18_has_the_head_of_the_seed():
    model = MODELS["resnet18"](make_spec((128, 128, 3), classes=7))
    # torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["num_params"], less its head.
    torchvision = 11_689_512 - (512 * 1000 + 1000)
    # Seed 000, "CNN on images": fc, bn1, fc3, bn3, layer_out.
    head = (512 * 64 + 64) + 2 * 64 + (64 * 40 + 40) + 2 * 40 + (40 * 7 + 7)
    assert count_trainable(model) == torchvision + head
    assert model.get_layer("embedding").output.shape == (None, 40)
    assert {one.rate for one in model.layers if isinstance(one, keras.layers.Dropout)} == {0.2}


def test_resnet34_has_as_many_parameters_as_torchvision():
    model = MODELS["resnet34"](make_spec((224, 224, 3), classes=1000))
    # torchvision.models.ResNet34_Weights.IMAGENET1K_V1.meta["num_params"]
    assert count_trainable(model) == 21_797_672
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 33 + 3  # 34 layers with the head, and 3 projections
    # He et al. (2015), table 1: 112 px after the stem, then 56, 28, 14, 7.
    assert model.get_layer("stem_relu").output.shape == (None, 112, 112, 64)
    assert model.get_layer("stage1_block3_relu").output.shape == (None, 56, 56, 64)
    assert model.get_layer("stage4_block3_relu").output.shape == (None, 7, 7, 512)


def test_the_columns_go_through_the_layers_of_the_seed():
    spec = make_spec((32, 32, 3), classes=7, columns=tuple(f"column{i}" for i in range(34)))
    # Seed 000, "NN on metadata": linear layers, and batch norms of 128, 64 and 40.
    branch = (34 * 128 + 128) + 2 * 128 + (128 * 64 + 64) + 2 * 64 + (64 * 32 + 32)
    head = 2 * 40 + (40 * 7 + 7)
    assert count_trainable(MODELS["columns-mlp"](spec)) == branch + (32 * 40 + 40) + head
    # "CNN on images with metadata": base.fc and bn1 make 64 of the picture, fc3 takes 96.
    base = 11_689_512 - (512 * 1000 + 1000) + (512 * 64 + 64) + 2 * 64
    both = MODELS["image-and-columns"](spec)
    assert count_trainable(both) == base + branch + (96 * 40 + 40) + head


def test_dense_baseline_has_the_layers_of_the_seed():
    model = MODELS["dense-baseline"](make_spec((50, 50, 1), classes=17))
    # Seed 003, section 3.1.1: 2500 - 350 - 17.
    assert layer_counts(model) == [2500 * 350 + 350, 350 * 17 + 17]


@pytest.mark.parametrize(
    ("name", "published"),
    # keras.io/api/applications, with top.
    [("resnet50", 25_636_712), ("resnet101", 44_707_176), ("resnet152", 60_419_944)],
)
def test_bodies_are_those_of_keras(name, published):
    body = make_small(name, make_spec()).get_layer("own_body")
    assert body.count_params() == published - 2048 * 1000 - 1000


# Every promise, over every model.


def test_the_list_is_complete():
    assert set(SMALL) == set(MODELS)


@pytest.mark.parametrize("name", SMALL)
def test_builders_take_the_spec_and_keywords_with_defaults(name):
    spec, *rest = inspect.signature(MODELS[name]).parameters.values()
    assert spec.name == "spec"
    assert all(one.kind is one.KEYWORD_ONLY and one.default is not one.empty for one in rest)
    assert len(rest) <= 6
    assert all(f"{one.name}:" in MODELS[name].__doc__ for one in rest)


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_names_shapes_and_ranges(name):
    spec = spec_for(name, classes=7)
    model = make_small(name, spec)
    both = ["image", "columns"]
    expected = {"columns-mlp": ["columns"], "image-and-columns": both}
    assert list(model.input) == expected.get(name, ["image"])
    for key, dtype in (("image", spec.image_dtype), ("columns", "float32")):
        assert key not in model.input or model.input[key].dtype == dtype
    assert len(model.get_layer("embedding").output.shape) == 2
    answers = predict(model, make_features(model, spec))
    assert answers.dtype == np.float32
    assert answers.min() >= 0
    assert reconstructs(model) == (name in AUTOENCODERS)
    if reconstructs(model):
        assert model.output_names == ["reconstruction"]
        assert answers.shape == (3, *spec.image_shape)
        assert answers.max() <= 1
    else:
        assert model.output_names == ["probabilities"]
        assert answers.shape == (3, 7)
        np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in HEAVY])
def test_two_classes_share_one_unit(name):
    spec = spec_for(name)
    model = make_small(name, spec)
    assert model.get_layer("positive").units == 1
    answers = predict(model, make_features(model, spec))
    assert answers.shape == (3, 2)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", DEEPER)
def test_the_deeper_ones_answer(name):
    spec = spec_for(name, classes=7)
    model = make_small(name, spec)
    takes = ["image", "columns"] if name in NEED_COLUMNS else ["image"]
    assert (list(model.input), model.output_names) == (takes, ["probabilities"])
    features = make_features(model, spec)
    np.testing.assert_allclose(predict(model, features).sum(axis=1), 1, atol=1e-6)
    assert len(embed(model, features)) == 3


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((40, 33, 1), "uint8"), ((33, 32, 3), "uint16"), ((48, 48, 1), "float32")],
    ids=["grey", "deep", "float"],
)
@pytest.mark.parametrize("name", EVERY_MODEL)
def test_any_shape_and_dtype(name, shape, dtype):
    spec = spec_for(name, shape=shape, dtype=dtype)
    model = make_small(name, spec)
    features = make_features(model, spec)
    assert np.isfinite(predict(model, features)).all()
    seen = embed(model, features)
    for key, values in features.items():  # each is looked at
        other = embed(model, features | {key: values[:, ::-1] // 2})
        assert np.abs(other - seen).max() > 1e-3 * np.abs(seen).max()


@pytest.mark.parametrize("name", [name for name in SMALL if name not in HEAVY + DEEPER])
def test_columns_are_taken_where_they_make_sense(name):
    spec = make_spec(columns=COLUMNS)
    model = make_small(name, spec)
    assert ("columns" in model.input) == (name in TAKE_COLUMNS)
    if name not in NEED_COLUMNS:
        assert "columns" not in make_small(name, make_spec()).input


@pytest.mark.parametrize("name", NEED_COLUMNS)
def test_models_of_columns_say_when_there_are_none(name):
    with pytest.raises(UserError, match="the data has none. Use another model"):
        make_small(name, make_spec())


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_a_few_steps_lower_the_loss(name):
    keras.utils.set_random_seed(0)
    spec = spec_for(name)
    dropouts = [key for key in inspect.signature(MODELS[name]).parameters if "dropout" in key]
    model = make_small(name, spec, **dict.fromkeys(dropouts, 0.0))
    features, target = make_features(model, spec, batch=4), np.arange(4) % 2
    if reconstructs(model):
        features["image"][:] = 255  # noise has nothing to learn
        target = np.ones((4, *spec.image_shape), "float32")
    # Eagerly, as tracing ResNet-34 takes longer than its steps.
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="binary_crossentropy" if reconstructs(model) else "sparse_categorical_crossentropy",
        run_eagerly=True,
    )
    losses = [float(model.train_on_batch(features, target)) for _ in range(3)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_save_and_load_gives_the_same_answers(name, tmp_path):
    spec = spec_for(name)
    model = make_small(name, spec)
    features = make_features(model, spec)
    settle(model, spec).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(predict(loaded, features), predict(model, features), atol=1e-6)
    np.testing.assert_allclose(embed(loaded, features), embed(model, features), rtol=1e-4)
    assert count_trainable(loaded) == count_trainable(model)


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_a_saved_model_gives_the_same_answers(name, tmp_path):
    spec = spec_for(name)
    model = make_small(name, spec)
    features = make_features(model, spec)
    served = tf.Module()
    served.model = settle(model, spec)
    signature = {key: tf.TensorSpec((None, *v.shape[1:]), v.dtype) for key, v in features.items()}
    served.call = tf.function(lambda x: model(x, training=False), input_signature=[signature])
    tf.saved_model.save(served, tmp_path / "saved")
    loaded = tf.saved_model.load(tmp_path / "saved")
    answers = loaded.call({key: tf.constant(value) for key, value in features.items()})
    np.testing.assert_allclose(answers.numpy(), predict(model, features), atol=1e-5)


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_bfloat16_answers_as_float32_does(name):
    keras.utils.set_random_seed(0)
    spec = spec_for(name)
    precise = make_small(name, spec)
    features = make_features(precise, spec)
    expected = predict(settle(precise, spec), features)
    with hardware.dtype_policy("mixed_bfloat16"):
        model = make_small(name, spec)
    assert model.get_layer("embedding").compute_dtype == "bfloat16"
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    model.set_weights(precise.get_weights())
    answers = predict(model, features)
    assert answers.dtype == np.float32
    assert 0 < np.abs(answers - expected).max() <= BFLOAT16_TOLERANCE


# What pixels become.


def test_pixels_are_scaled_by_the_statistics_of_the_training_split():
    spec = Spec((2, 2, 2), ("no", "yes"), (10.0, 200.0), (2.0, 50.0), image_dtype="uint16")
    model = keras.Model(*image_input(spec))
    images = make_images(spec)
    expected = (images - np.array([10, 200])) / np.array([2, 50])
    np.testing.assert_allclose(np.asarray(model(images)), expected, rtol=1e-5)


def test_columns_are_scaled_by_the_statistics_of_the_training_split():
    model = make_small("columns-mlp", make_spec(columns=COLUMNS))
    scaled = keras.Model(model.input, model.get_layer("scale_columns").output)
    said = scaled({"columns": np.array([[5, 7, 1]], "float32")})
    np.testing.assert_allclose(np.asarray(said), [[0, 1, -2]], atol=1e-6)


def test_per_image_standardization_makes_answers_the_same_whatever_the_camera_did():
    spec = dataclasses.replace(make_spec(), per_image_standardization=True)
    model = make_small("simple-cnn", spec)
    dark = np.random.default_rng(0).integers(20, 60, (4, *spec.image_shape)).astype(np.uint8)
    said, brighter = (model({"image": one}).numpy() for one in (dark, 4 * dark + 10))
    np.testing.assert_allclose(said, brighter, atol=0.01)
    plain = make_small("simple-cnn", make_spec())
    assert model.count_params() == plain.count_params()
    flat = np.full((1, *spec.image_shape), 7, np.uint8)
    assert np.isfinite(model({"image": flat}).numpy()).all()


# What users get wrong.


@pytest.mark.parametrize(("name", "fitting"), [("simple-cnn", 5), ("enhanced-cnn", 4)])
def test_pictures_too_small_for_their_layers(name, fitting):
    spec = make_spec((32, 64, 3))
    make_small(name, spec, conv_layers=fitting)
    with pytest.raises(UserError, match="at least 64 px each way, but images are 32 x 64 px"):
        make_small(name, spec, conv_layers=fitting + 1)


@pytest.mark.parametrize("name", [name for name in SMALL if name not in HEAVY + DEEPER])
def test_tiny_pictures_are_taken_or_refused_in_a_sentence(name):
    spec = spec_for(name, shape=(8, 9, 1))
    try:
        model = make_small(name, spec)
    except UserError as error:
        assert name == "enhanced-cnn"
        assert "Give fewer conv_layers" in str(error)
    else:
        assert np.isfinite(predict(model, make_features(model, spec))).all()


@pytest.mark.parametrize(
    "wrong", [{"filters": 0}, {"filters": -3}, {"dropout": 7.0}, {"filters": "many"}]
)
def test_values_that_no_model_can_have_are_named(wrong):
    spec = Spec((32, 32, 1), ("a", "b"), (0.0,), (1.0,))
    (name, value) = next(iter(wrong.items()))
    with pytest.raises(UserError, match=f"simple-cnn cannot be built with {name}={value}: .+--hp"):
        build("simple-cnn", spec, wrong)
