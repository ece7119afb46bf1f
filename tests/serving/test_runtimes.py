"""Other runtimes than TensorFlow compute a version only if they have parity with its SavedModel."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import four_class_task
import keras
import numpy as np
import pytest
import server_process
import tensorflow as tf
from server_process import b64, pixels, png
from typer.testing import CliRunner

from tfpipe.base.errors import UserError
from tfpipe.cli import app
from tfpipe.models.spec import Spec
from tfpipe.registry import export, load
from tfpipe.registry.checked_files import checked_copy
from tfpipe.serving.errors import RequestError
from tfpipe.serving.limits import Limits
from tfpipe.serving.model import preflight
from tfpipe.serving.model.batching import MAX_BATCH, BatchedFunction, BatchedSignature
from tfpipe.serving.model.loaded import Servable
from tfpipe.serving.model.store import ModelSelector, ModelStore
from tfpipe.serving.runtimes import available, backends, parity, select

pytestmark = pytest.mark.slow

IMAGES = pixels(12)
BYTES = {"image_bytes": np.array([png(image) for image in IMAGES], object)}
COLUMNS = {"columns": ("level", "other"), "column_mean": (1.0, 0.0), "column_std": (0.5, 1.0)}
KINDS = {
    "columns": (four_class_task.of_columns, "uint8"),
    "both": (four_class_task.of_both, "uint8"),
    "autoencoder of float32": (four_class_task.autoencoder, "float32"),
    "autoencoder of uint16": (four_class_task.autoencoder, "uint16"),
}


def runtime_param(runtime: str):
    """Returns a parameter that is skipped where the runtime is not installed."""
    missing = " ".join(available.missing_packages(runtime))
    mark = pytest.mark.skipif(bool(missing), reason=f"pip install {missing}")
    return pytest.param(runtime, marks=mark)


RUNTIMES = [runtime_param(name) for name in backends.BACKENDS]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The folder of a model that has two versions."""
    folder = tmp_path_factory.mktemp("models") / "tiny" / "simple-cnn"
    for seed in (1, 2):
        server_process.published(folder, seed=seed)
    return folder


@pytest.fixture
def stubs(monkeypatch):
    """Returns a function that replaces all runtimes by stubs, by name."""

    def replace(**networks):
        monkeypatch.setattr(backends, "BACKENDS", networks)
        packages: dict[str, dict[str, str]] = dict.fromkeys(["savedmodel", *networks], {})
        monkeypatch.setattr(available, "PACKAGES", packages)

    return replace


def exact(function, *, error: float = 0.0):
    """Returns a network that computes as TensorFlow does, plus an error."""

    def compute(features):
        outputs = function(**{name: tf.constant(array) for name, array in features.items()})
        return {name: tensor.numpy() + np.float32(error) for name, tensor in outputs.items()}

    return compute


def broken(function):
    raise RuntimeError("\n\nNo conversion rule for Igamma\nat ...")


def loaded(version, runtime: str) -> Servable:
    with checked_copy(version) as copy:
        return Servable(copy, folder=version, limits=Limits(), runtime=runtime)


def test_waiting_requests_are_answered_in_batches_and_each_gets_its_own_answer():
    begun, free, sizes = threading.Event(), threading.Event(), []

    def network(features):
        sizes.append(len(features["x"]))
        begun.set()
        assert free.wait(60)
        return {"double": 2 * features["x"]}

    batched = BatchedFunction(network, threads=1)
    with ThreadPoolExecutor(40) as executor:
        arrays = [np.arange(i, i + 3) for i in range(40)]
        answers = [executor.submit(batched, {"x": arrays[0]})]
        assert begun.wait(60)
        answers += [executor.submit(batched, {"x": array}) for array in arrays[1:]]
        end = time.monotonic() + 60
        while batched.n_waiting < 39 and time.monotonic() < end:
            time.sleep(0.01)
        free.set()
        for array, answer in zip(arrays, answers, strict=True):
            np.testing.assert_array_equal(answer.result(60)["double"], 2 * array)
    assert sizes == [3, 63, 54] and max(sizes) <= MAX_BATCH


def test_a_batch_that_fails_raises_its_error_and_the_next_is_answered():
    def network(features):
        if (features["x"] < 0).any():
            raise ValueError("below 0")
        return features

    before = set(threading.enumerate())
    batched = BatchedFunction(network, threads=1)
    with pytest.raises(ValueError, match="below 0"):
        batched({"x": np.array([-1])})
    assert batched({"x": np.array([1])})["x"] == [1]
    assert set(threading.enumerate()) == before  # a version that is served no more leaves none


@pytest.mark.parametrize(
    ("runtime", "sentence"),
    [
        ("tpu", "There is no runtime 'tpu'. Choose --runtime from savedmodel, openvino, "),
        ("not-there", "is not installed. Run `pip install one two`"),
    ],
)
def test_a_runtime_that_is_not_installed_is_refused_at_once(monkeypatch, runtime, sentence):
    packages = {"not-there": {"numpy": "numpy", "no_such_one": "one", "no_such_two": "two"}}
    monkeypatch.setattr(available, "PACKAGES", available.PACKAGES | packages)
    result = CliRunner().invoke(app, ["serve", "--runtime", runtime])
    assert isinstance(result.exception, UserError) and sentence in str(result.exception)


def test_runtimes_are_measured_in_turns_and_the_fastest_is_chosen(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(select, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def takes(name: str, *, one_s: float, each_s: float):
        def call(features):
            order.append((name, len(features["x"])))
            first_s = 5.0 if order.count(order[-1]) == 1 else 0.0  # the first call is slow
            now[0] += first_s + one_s + each_s * len(features["x"])

        return call

    calls = {"slow": takes("slow", one_s=0.1, each_s=0.1)}
    calls["at once"] = takes("at once", one_s=0.01, each_s=0.02)
    calls["alone"] = takes("alone", one_s=0.0, each_s=0.04)
    measured = select.measure_ms(calls, {"x": np.zeros(32)}, budget_s=40.0)
    assert measured["slow"] == {1: 200, 32: 3300} and measured["alone"] == {1: 40, 32: 1280}
    assert order[:6] == [(name, count) for count in (1, 32) for name in calls]
    assert 40 <= now[0] < 50
    assert select.fastest(measured) == "at once"  # 30 * 650 is less than 40 * 1280


def test_parity_is_a_difference_up_to_the_tolerance():
    expected = np.array([[0.5, 0.5]], np.float32)
    outputs: dict[str, np.ndarray] = {}

    def max_difference():
        return parity.max_difference(
            {"embed": lambda _: {"p": expected}}, {"embed": lambda _: outputs}, [("embed", {})]
        )

    for error, has_parity in ((4e-5, True), (-4e-5, True), (6e-5, False), (-6e-5, False)):
        outputs["p"] = expected + np.float32(error)
        assert (max_difference()[0] <= parity.TOLERANCE) == has_parity
        assert max_difference()[1] == "p of embed"
    for wrong in (expected * np.nan, expected[:, :1], expected.astype(np.float64)):
        outputs["p"] = wrong
        assert max_difference()[0] == np.inf


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_version_answers_the_same_with_every_runtime(store, runtime):
    reference, other = loaded(store / "1", "savedmodel"), loaded(store / "1", runtime)
    assert other.choice.runtime == runtime
    tensors = {"image": pixels(150, seed=3)}  # more than one batch
    for signature, features in (
        ("serving_default", BYTES),
        ("predict_tensor", tensors),
        ("embed", tensors),
    ):
        expected = reference.predict(features, signature=signature)
        outputs = other.predict(features, signature=signature)
        assert list(outputs) == list(expected)
        for name, array in expected.items():
            assert outputs[name].dtype == array.dtype
            if array.dtype.kind == "f":
                np.testing.assert_allclose(outputs[name], array, rtol=0, atol=1e-5)
            else:
                np.testing.assert_array_equal(outputs[name], array)
    cut = {"image_bytes": np.array([png(IMAGES[0])[:-30]], object)}
    with pytest.raises(RequestError, match="Image 0 is cut short or damaged"):
        other.predict(cut, signature="serving_default")


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_agrees(tmp_path, kind, runtime):
    build, dtype = KINDS[kind]
    middle = {"uint8": 100.0, "uint16": 9000.0, "float32": 0.5}[dtype]
    spec = Spec(
        (6, 8, 1), four_class_task.CLASSES, (middle,), (middle / 3,), image_dtype=dtype, **COLUMNS
    )
    keras.utils.set_random_seed(1)
    export.write(build(spec), spec, tmp_path / "1")
    model = tf.saved_model.load(str(tmp_path / "1"))
    signatures = {name: BatchedSignature(one) for name, one in model.signatures.items()}
    choice = select.choose_runtime(
        model, signatures, spec, version=tmp_path / "1", runtime=runtime, thresholds={}
    )
    for request in parity.probe_requests(tmp_path / "1", spec, signatures):
        assert parity.max_difference(signatures, choice.signatures, [request])[0] < 1e-5


def test_a_runtime_without_parity_never_serves(store, stubs, monkeypatch, caplog):
    stubs(off=lambda function: exact(function, error=0.01), good=exact, broken=broken)
    with pytest.raises(UserError, match="simple-cnn/1 computed by off differs by 0.01 from its"):
        loaded(store / "1", "off")
    with pytest.raises(UserError, match="cannot be computed by broken: RuntimeError, No conv"):
        loaded(store / "1", "broken")
    times = {"savedmodel": {1: 4.0, 32: 40.0}, "good": {1: 2.0, 32: 60.0}}
    monkeypatch.setattr(
        select, "measure_ms", lambda calls, examples, budget_s: {n: times[n] for n in calls}
    )
    choice = loaded(store / "1", "auto").choice
    assert choice.runtime == "good" and choice.measured_ms == times
    assert set(choice.excluded) == {"off", "broken"}
    messages = [one.getMessage() for one in caplog.records if one.name == select.__name__]
    assert messages == list(choice.excluded.values())
    times["good"][32] = 90.0
    assert loaded(store / "1", "auto").choice.runtime == "savedmodel"


def test_a_new_version_that_the_runtime_cannot_compute_is_refused_and_the_old_one_serves(
    store, stubs, tmp_path, monkeypatch
):
    stubs(some=exact)
    monkeypatch.setattr(preflight, "check", lambda *_, **__: None)  # has no stubs
    folder = tmp_path / "tiny" / "simple-cnn"
    folder.mkdir(parents=True)
    (store / "1").rename(folder / "1")
    try:
        selectors = [ModelSelector("tiny")]
        models = ModelStore(tmp_path, selectors, limits=Limits(), runtime="some")
        models.refresh()
        stubs(some=broken)
        (store / "2").rename(folder / "2")
        models.refresh()
        assert models.get("tiny").servable.version == 1
        errors = {status.version: status.error for status in models.statuses("tiny")}
        assert errors[1] == "" and "cannot be computed by some" in errors[2]
    finally:
        for path in folder.iterdir():
            path.rename(store / path.name)


def test_a_runtime_that_lacks_an_operation_is_excluded(tmp_path):
    spec = Spec((4, 4, 1), ("dull", "bright"), (100.0,), (50.0,))

    class Odd(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 1), tf.uint8, name="image")])
        def answer(self, image):
            level = tf.reduce_mean(tf.cast(image, tf.float32), axis=[1, 2, 3]) / 100
            return {"probabilities": tf.stack([tf.math.igamma(level, 1.0)] * 2, axis=-1)}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
        def from_bytes(self, image_bytes):
            return self.answer(export.decoded(image_bytes, spec))

    odd, version = Odd(), tmp_path / "1"
    signatures = {"serving_default": odd.from_bytes, "predict_tensor": odd.answer}
    tf.saved_model.save(odd, str(version), signatures=signatures)
    model = tf.saved_model.load(str(version))
    own = {name: BatchedSignature(one) for name, one in model.signatures.items()}
    choice = select.choose_runtime(model, own, spec, version=version, runtime="auto", thresholds={})
    assert choice.runtime == "savedmodel" and choice.signatures == own
    assert set(choice.excluded) == set(backends.BACKENDS)
    for name, reason in choice.excluded.items():
        is_missing = available.missing_packages(name)
        assert ("not installed" if is_missing else "cannot be computed") in reason


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_server_answers_with_another_runtime(store, runtime):
    expected = load.open_version(store / "2").predict_proba(IMAGES)
    with server_process.running(store.parents[1], "--runtime", runtime) as server:
        assert server.info["runtimes"] == {"tiny": runtime}
        runtimes = server.ask("/v1/models")[1]["runtimes"]
        assert runtimes == {"tiny": {"runtime": runtime, "measured_ms": {}, "excluded": {}}}

        def ask(i: int) -> tuple:
            instance = b64(png(IMAGES[i % 12])) if i % 5 else b64(b"GIF89a")
            return server.ask("/v1/models/tiny:predict", {"instances": [instance]})[:2]

        with ThreadPoolExecutor(16) as executor:
            for i, (status, answer) in enumerate(executor.map(ask, range(60))):
                assert status == (200 if i % 5 else 400)
                if status == 200:
                    (row,) = answer["predictions"]
                    np.testing.assert_allclose(row["probabilities"], expected[i % 12], atol=1e-5)
                    assert row["classes"] == ["dull", "bright"]
                    assert row["label"] == expected[i % 12].argmax()
        numbers = {"signature_name": "predict_tensor", "instances": IMAGES.tolist()}
        rows = server.ask("/v1/models/tiny:predict", numbers)[1]["predictions"]
        np.testing.assert_allclose([row["probabilities"] for row in rows], expected, atol=1e-5)
        request = {"instances": [b64(png(IMAGES[0]))], "grad_cam": True}
        (row,) = server.ask("/v1/models/tiny:explain", request)[1]["explanations"]
        assert row["label"] == ("dull", "bright")[expected[0].argmax()] and row["grad_cam"]
