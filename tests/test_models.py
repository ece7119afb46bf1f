"""One list of models, and every promise the rest of the package relies on, over all of it."""

import dataclasses
import inspect

import keras
import numpy as np
import pytest

from tfpipe.errors import UserError
from tfpipe.models import MODELS
from tfpipe.models.parts import Spec, image_input

# Arguments that make each model small enough to build and run in a test.
SMALL = {
    "simple-cnn": {"filters": 4, "dense_units": 8},
    "enhanced-cnn": {"filters": 6},
    "resnet34": {"filters": 4},
    "vgg16": {"weights": "none", "dense_units": 8, "image_size": 32},
}
HEAVY = {"resnet34", "vgg16"}
EVERY_MODEL = list(SMALL)
HEAVY_ONES_SLOW = [
    pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in SMALL
]


def make_spec(shape=(50, 64, 3), *, classes=2, dtype="uint8") -> Spec:
    channels = shape[-1]
    names = tuple(f"class{i}" for i in range(classes))
    return Spec(shape, names, (120.0,) * channels, (60.0,) * channels, image_dtype=dtype)


def make_small(name: str, spec: Spec, **overrides) -> keras.Model:
    return MODELS[name](spec, **{**SMALL[name], **overrides})


def make_images(spec: Spec, *, batch: int = 3) -> np.ndarray:
    """Returns raw pixels [batch, height, width, channels] 0..255 in the spec's dtype."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *spec.image_shape))
    return pixels.astype(spec.image_dtype)


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model({"image": images}, training=False))


def count_trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture
def bfloat16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


# Published numbers.


def test_simple_cnn_has_the_layers_of_the_seed():
    model = MODELS["simple-cnn"](make_spec((50, 200, 3)))
    counts = [n for n in (layer.count_params() for layer in model.layers) if n]
    assert counts == [896, 18496, 73856, 2457728, 129]  # seed 002, slide "Simple CNN"
    assert model.count_params() == 2_551_105


def test_enhanced_cnn_has_the_layers_of_the_seed():
    model = MODELS["enhanced-cnn"](make_spec((50, 200, 3)))
    counts = [n for n in (layer.count_params() for layer in model.layers) if n]
    # Seed 002, slide "Enhanced CNN".
    stem = [11932]
    blocks = [221998, 221998, 443996, 887678, 1331517, 1997040, 2662720, 3550084]
    assert counts == [*stem, *blocks, 1183466, 49455, 158]
    assert model.count_params() == 12_562_042


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


def test_vgg16_trains_its_top_only():
    model = MODELS["vgg16"](make_spec((50, 200, 3)), weights="none")
    body = model.get_layer("vgg16")
    assert body.count_params() == 14_714_688  # keras.applications.VGG16(include_top=False)
    assert not body.trainable_weights
    assert body.output.shape == (None, 7, 7, 512)
    top = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert top == ["dense", "embedding", "positive"]  # seed 002: "3 Dense 'Top' Layers"


# Every promise, over every model.


def test_the_list_is_complete():
    assert set(SMALL) == set(MODELS)


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_builders_take_the_spec_and_keywords_with_defaults(name):
    spec, *rest = inspect.signature(MODELS[name]).parameters.values()
    assert spec.name == "spec"
    assert all(one.kind is one.KEYWORD_ONLY and one.default is not one.empty for one in rest)


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("name", EVERY_MODEL)
def test_names_shapes_and_sums(name, classes):
    spec = make_spec(classes=classes)
    model = make_small(name, spec)
    assert list(model.input) == ["image"]
    assert model.input["image"].dtype == spec.image_dtype
    assert len(model.get_layer("embedding").output.shape) == 2
    assert model.output_names == ["probabilities"]
    probabilities = predict(model, make_images(spec))
    assert probabilities.shape == (3, classes)
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, "uint8"), (3, "uint16"), (1, "uint16"), (1, "float32")]
)
@pytest.mark.parametrize("name", HEAVY_ONES_SLOW)
def test_grey_and_deep_pictures(name, channels, dtype):
    spec = make_spec((50, 64, channels), dtype=dtype)
    assert np.isfinite(predict(make_small(name, spec), make_images(spec))).all()


@pytest.mark.parametrize("name", HEAVY_ONES_SLOW)
def test_a_few_steps_lower_the_loss(name):
    keras.utils.set_random_seed(0)
    spec = make_spec()
    dropouts = [key for key in inspect.signature(MODELS[name]).parameters if "dropout" in key]
    model = make_small(name, spec, **dict.fromkeys(dropouts, 0.0))
    # Eagerly, as tracing ResNet-34 takes longer than its eight steps.
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="sparse_categorical_crossentropy",
        run_eagerly=True,
    )
    images, labels = make_images(spec, batch=8), np.arange(8) % 2
    losses = [float(model.train_on_batch({"image": images}, labels)) for _ in range(8)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", HEAVY_ONES_SLOW)
def test_save_and_load_gives_the_same_answers(name, tmp_path):
    spec = make_spec()
    model, images = make_small(name, spec), make_images(spec)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(predict(loaded, images), predict(model, images), atol=1e-6)
    assert count_trainable(loaded) == count_trainable(model)


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_mixed_precision_ends_in_float32(name, bfloat16):
    spec = make_spec()
    model = make_small(name, spec)
    assert model.get_layer("embedding").compute_dtype == "bfloat16"
    assert model.get_layer("embedding").variable_dtype == "float32"
    probabilities = predict(model, make_images(spec))
    assert probabilities.dtype == np.float32
    assert np.isfinite(probabilities).all()


# What pixels become.


def test_pixels_are_scaled_by_the_statistics_of_the_training_split():
    spec = Spec((2, 2, 2), ("no", "yes"), (10.0, 200.0), (2.0, 50.0), image_dtype="uint16")
    model = keras.Model(*image_input(spec))
    images = make_images(spec)
    expected = (images - np.array([10, 200])) / np.array([2, 50])
    np.testing.assert_allclose(np.asarray(model(images)), expected, rtol=1e-5)


def test_even_exposure_makes_answers_the_same_whatever_the_camera_did():
    spec = dataclasses.replace(make_spec(), even_exposure=True)
    model = make_small("simple-cnn", spec)
    dark = np.random.default_rng(0).integers(20, 60, (4, 50, 64, 3)).astype(np.uint8)
    said, brighter = (model({"image": one}).numpy() for one in (dark, 4 * dark + 10))
    np.testing.assert_allclose(said, brighter, atol=0.01)
    plain = make_small("simple-cnn", make_spec())
    assert model.count_params() == plain.count_params()
    flat = np.full((1, 50, 64, 3), 7, np.uint8)
    assert np.isfinite(model({"image": flat}).numpy()).all()


def test_vgg16_sees_the_pixels_it_was_trained_on():
    spec = make_spec((40, 48, 3))
    model = make_small("vgg16", spec)
    (flip,) = [one for one in model.operations if one.name.startswith("flip")]
    before_body = keras.Model(model.input, flip.output)
    images = make_images(spec)
    resized = np.array(keras.ops.image.resize(images.astype("float32"), (32, 32)))
    expected = keras.applications.vgg16.preprocess_input(resized)
    np.testing.assert_allclose(predict(before_body, images), expected, atol=1e-3)


# What users get wrong.


@pytest.mark.parametrize(("name", "fitting"), [("simple-cnn", 5), ("enhanced-cnn", 4)])
def test_pictures_too_small_for_their_layers(name, fitting):
    spec = make_spec((32, 64, 3))
    make_small(name, spec, conv_layers=fitting)
    with pytest.raises(UserError, match="at least 64 px each way, but pictures are 32 x 64 px"):
        make_small(name, spec, conv_layers=fitting + 1)


def test_vgg16_refuses_what_it_cannot_take():
    with pytest.raises(UserError, match="1 or 3 channels, but these have 4"):
        make_small("vgg16", make_spec((50, 64, 4)))
    with pytest.raises(UserError, match="at least 32 px, but it is 16"):
        make_small("vgg16", make_spec(), image_size=16)


def test_vgg16_says_what_is_wrong_with_a_weights_file(tmp_path, monkeypatch):
    def no_download(*args, **kwargs):
        raise AssertionError("a path must not start a download")

    monkeypatch.setattr("tfpipe.models.transfer._downloaded_vgg16", no_download)
    with pytest.raises(UserError, match="No .h5 file of weights at .*missing.h5"):
        make_small("vgg16", make_spec(), weights=str(tmp_path / "missing.h5"))
    (tmp_path / "text.weights.h5").write_text("not weights")
    with pytest.raises(UserError, match="does not hold the weights of a VGG16"):
        make_small("vgg16", make_spec(), weights=str(tmp_path / "text.weights.h5"))
    make_small("simple-cnn", make_spec()).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UserError, match="does not hold the weights of a VGG16"):
        make_small("vgg16", make_spec(), weights=str(tmp_path / "other.weights.h5"))


def test_vgg16_without_network_says_what_else_to_give(monkeypatch):
    def fail(**kwargs):
        raise Exception("URL fetch failure on https://example.org: None -- no network")

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    with pytest.raises(UserError, match="Give weights=<path> .* or weights=none"):
        make_small("vgg16", make_spec(), weights="imagenet")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_vgg16_takes_its_weights_from_a_file(tmp_path, suffix):
    body = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3))
    path = tmp_path / f"vgg16{suffix}"
    if suffix == ".h5":
        body.save(path)
    else:
        body.save_weights(path)
    model = make_small("vgg16", make_spec(), weights=str(path))
    pairs = zip(model.get_layer("vgg16").get_weights(), body.get_weights(), strict=True)
    assert all(np.array_equal(got, expected) for got, expected in pairs)
