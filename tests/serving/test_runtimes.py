"""Other runtimes than TensorFlow compute a version only where they say what its SavedModel says."""

import gc
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
from tfpipe.serving.errors import Refused
from tfpipe.serving.limits import Limits
from tfpipe.serving.model.batching import MOST, Signature
from tfpipe.serving.model.loaded import Servable
from tfpipe.serving.model.store import Place, Shelf
from tfpipe.serving.runtimes import available, backends, parity, select
from tfpipe.serving.runtimes.batching import Gathered

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


def or_skipped(runtime: str):
    missing = " ".join(available.missing(runtime))
    mark = pytest.mark.skipif(bool(missing), reason=f"pip install {missing}")
    return pytest.param(runtime, marks=mark)


RUNTIMES = [or_skipped(name) for name in backends.NETWORKS]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The folder of two versions."""
    folder = tmp_path_factory.mktemp("models") / "tiny" / "simple-cnn"
    for seed in (1, 2):
        server_process.published(folder, seed=seed)
    return folder


@pytest.fixture
def stubs(monkeypatch):
    """Puts networks in place of the runtimes', by name."""

    def put(**found):
        monkeypatch.setattr(backends, "NETWORKS", found)
        monkeypatch.setattr(available, "MODULES", {"savedmodel": {}} | dict.fromkeys(found, {}))

    return put


def right(function, *, by: float = 0.0):
    """Returns a network that computes as TensorFlow does, or is off by something."""

    def compute(features):
        said = function(**{name: tf.constant(array) for name, array in features.items()})
        return {name: tensor.numpy() + np.float32(by) for name, tensor in said.items()}

    return compute


def fails(function):
    raise RuntimeError("\n\nNo conversion rule for Igamma\nat ...")


def served(version, runtime: str) -> Servable:
    return Servable(version, limits=Limits(), runtime=runtime)


def test_who_waits_is_answered_together_and_each_gets_its_own():
    begun, free, counts = threading.Event(), threading.Event(), []

    def network(features):
        counts.append(len(features["x"]))
        begun.set()
        assert free.wait(60)
        return {"double": 2 * features["x"]}

    gathered = Gathered(network)
    with ThreadPoolExecutor(40) as pool:
        asked = [np.arange(i, i + 3) for i in range(40)]
        answers = [pool.submit(gathered, {"x": asked[0]})]
        assert begun.wait(60)
        answers += [pool.submit(gathered, {"x": array}) for array in asked[1:]]
        until = time.monotonic() + 60
        while len(gathered._waiting) < 39 and time.monotonic() < until:
            time.sleep(0.01)
        free.set()
        for array, answer in zip(asked, answers, strict=True):
            np.testing.assert_array_equal(answer.result(60)["double"], 2 * array)
    assert counts == [3, 63, 54] and max(counts) <= MOST


def test_who_waited_with_what_fails_is_told_and_the_next_are_answered():
    def network(features):
        if (features["x"] < 0).any():
            raise ValueError("below 0")
        return features

    gathered = Gathered(network)
    with pytest.raises(ValueError, match="below 0"):
        gathered({"x": np.array([-1])})
    assert gathered({"x": np.array([1])})["x"] == [1]
    (thread,) = gathered._turns._threads
    del gathered
    gc.collect()
    thread.join(60)  # a version that is served no more leaves no thread behind
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("runtime", "sentence"),
    [
        ("tpu", "There is no runtime 'tpu'. Give --runtime one of savedmodel, openvino, "),
        ("there-not", "is not installed. Run `pip install one two`"),
    ],
)
def test_a_runtime_that_is_not_there_is_said_before_anything_starts(monkeypatch, runtime, sentence):
    modules = {"there-not": {"numpy": "numpy", "no_such_one": "one", "no_such_two": "two"}}
    monkeypatch.setattr(available, "MODULES", available.MODULES | modules)
    done = CliRunner().invoke(app, ["serve", "--runtime", runtime])
    assert isinstance(done.exception, UserError) and sentence in str(done.exception)


def test_all_are_timed_in_turns_and_the_fastest_is_taken(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(select, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def takes(name: str, *, one_s: float, each_s: float):
        def call(features):
            order.append((name, len(features["x"])))
            begins = 5.0 if order.count(order[-1]) == 1 else 0.0  # the first time it is slow
            now[0] += begins + one_s + each_s * len(features["x"])

        return call

    calls = {"slow": takes("slow", one_s=0.1, each_s=0.1)}
    calls["at once"] = takes("at once", one_s=0.01, each_s=0.02)
    calls["alone"] = takes("alone", one_s=0.0, each_s=0.04)
    measured = select.timed(calls, {"x": np.zeros(32)}, most_s=40.0)
    assert measured["slow"] == {1: 200, 32: 3300} and measured["alone"] == {1: 40, 32: 1280}
    assert order[:6] == [(name, count) for count in (1, 32) for name in calls]
    assert 40 <= now[0] < 50
    assert select.fastest(measured) == "at once"  # 30 * 650 is less than 40 * 1280


def test_what_passes_is_as_near_as_the_tolerance_and_no_nearer():
    expected, said = np.array([[0.5, 0.5]], np.float32), {}

    def worst():
        return parity.worst(
            {"embed": lambda _: {"p": expected}}, {"embed": lambda _: said}, [("embed", {})]
        )

    for by, is_near in ((4e-5, True), (-4e-5, True), (6e-5, False), (-6e-5, False)):
        said["p"] = expected + np.float32(by)
        assert (worst()[0] <= parity.TOLERANCE) == is_near
        assert worst()[1] == "p by embed"
    for wrong in (expected * np.nan, expected[:, :1], expected.astype(np.float64)):
        said["p"] = wrong
        assert worst()[0] == np.inf


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_version_answers_the_same_by_every_runtime(store, runtime):
    own, other = served(store / "1", "savedmodel"), served(store / "1", runtime)
    assert other.computed.runtime == runtime
    tensors = {"image": pixels(150, seed=3)}  # more than are computed at once
    for signature, given in (
        ("serving_default", BYTES),
        ("predict_tensor", tensors),
        ("embed", tensors),
    ):
        expected, said = (one.ask(given, signature=signature) for one in (own, other))
        assert [*said] == [*expected]
        for name, array in expected.items():
            assert said[name].dtype == array.dtype
            if array.dtype.kind == "f":
                np.testing.assert_allclose(said[name], array, rtol=0, atol=1e-5)
            else:
                np.testing.assert_array_equal(said[name], array)
    cut = {"image_bytes": np.array([png(IMAGES[0])[:-30]], object)}
    with pytest.raises(Refused, match="cannot take this"):
        other.ask(cut, signature="serving_default")


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
    own = {key: Signature(one) for key, one in model.signatures.items()}
    found = select.chosen(model, own, spec, version=tmp_path / "1", runtime=runtime)
    for asked in parity.requests(tmp_path / "1", spec, own):
        assert parity.worst(own, found.signatures, [asked])[0] < 1e-5


def test_a_runtime_whose_answers_are_off_never_serves(store, stubs, monkeypatch, caplog):
    stubs(off=lambda function: right(function, by=0.01), good=right, broken=fails)
    with pytest.raises(UserError, match="simple-cnn/1 computed by off differs by 0.01 from its"):
        served(store / "1", "off")
    with pytest.raises(UserError, match="cannot be computed by broken: RuntimeError, No conv"):
        served(store / "1", "broken")
    times = {"savedmodel": {1: 4.0, 32: 40.0}, "good": {1: 2.0, 32: 60.0}}
    monkeypatch.setattr(select, "timed", lambda calls, examples: {n: times[n] for n in calls})
    computed = served(store / "1", "auto").computed
    assert computed.runtime == "good" and computed.measured_ms == times
    assert {*computed.left_out} == {"off", "broken"}
    told = [one.getMessage() for one in caplog.records if one.name == "tfpipe"]
    assert told == [*computed.left_out.values()]
    times["good"][32] = 90.0
    assert served(store / "1", "auto").computed.runtime == "savedmodel"


def test_a_new_version_that_the_runtime_cannot_do_is_refused_and_the_old_goes_on(
    store, stubs, tmp_path
):
    stubs(some=right)
    folder = tmp_path / "tiny" / "simple-cnn"
    folder.mkdir(parents=True)
    (store / "1").rename(folder / "1")
    try:
        shelf = Shelf(tmp_path, [Place("tiny")], limits=Limits(), runtime="some")
        shelf.look()
        stubs(some=fails)
        (store / "2").rename(folder / "2")
        shelf.look()
        assert shelf.get("tiny").servable.version == 1
        told = {one.version: one.error for one in shelf.statuses("tiny")}
        assert told[1] == "" and "cannot be computed by some" in told[2]
    finally:
        for path in folder.iterdir():
            path.rename(store / path.name)


def test_an_operation_that_a_runtime_does_not_know_leaves_it_out(tmp_path):
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
    own = {key: Signature(one) for key, one in model.signatures.items()}
    found = select.chosen(model, own, spec, version=version, runtime="auto")
    assert found.runtime == "savedmodel" and found.signatures == own
    assert {*found.left_out} == {*backends.NETWORKS}
    for name, why in found.left_out.items():
        assert ("not installed" if available.missing(name) else "cannot be computed") in why


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_server_answers_by_another_runtime(store, runtime):
    right = load.Loaded(store / "2").classify(IMAGES)
    with server_process.running(store.parents[1], "--runtime", runtime) as server:
        assert server.told["runtimes"] == {"tiny": runtime}
        told = server.ask("/v1/models")[1]["runtimes"]
        assert told == {"tiny": {"runtime": runtime, "measured_ms": {}, "left_out": {}}}

        def ask(i: int) -> tuple:
            one = b64(png(IMAGES[i % 12])) if i % 5 else b64(b"GIF89a")
            return server.ask("/v1/models/tiny:predict", {"instances": [one]})[:2]

        with ThreadPoolExecutor(16) as pool:
            for i, (status, answer) in enumerate(pool.map(ask, range(60))):
                assert status == (200 if i % 5 else 400)
                if status == 200:
                    (said,) = answer["predictions"]
                    np.testing.assert_allclose(said["probabilities"], right[i % 12], atol=1e-5)
                    assert said["classes"] == ["dull", "bright"]
                    assert said["label"] == right[i % 12].argmax()
        numbers = {"signature_name": "predict_tensor", "instances": IMAGES.tolist()}
        said = server.ask("/v1/models/tiny:predict", numbers)[1]["predictions"]
        np.testing.assert_allclose([one["probabilities"] for one in said], right, atol=1e-5)
        asked = {"instances": [b64(png(IMAGES[0]))], "grad_cam": True}
        (said,) = server.ask("/v1/models/tiny:explain", asked)[1]["explanations"]
        assert said["label"] == ("dull", "bright")[right[0].argmax()] and said["grad_cam"]
