"""Waiting requests are answered in one batch, and each gets its own answer."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from tfpipe.serving.errors import RequestError
from tfpipe.serving.model import batching
from tfpipe.serving.model.batching import BatchedFunction, BatchedSignature

TEXT = tf.TensorSpec((None,), tf.string, name="text")


class Product:
    """A signature that multiplies numbers sent as text, and computes only while its gate is open.

    Attributes:
      sizes: of the batches that it has begun to compute.
    """

    def __init__(self, factor: float):
        self.factor = factor
        self.sizes: list[int] = []
        self.gate, self.begun = threading.Event(), threading.Semaphore(0)
        self.gate.set()

        def wait(size):
            self.sizes.append(int(size))
            self.begun.release()
            assert self.gate.wait(60)
            return np.float32(0)

        def answer(*, text):
            zero = tf.ensure_shape(tf.numpy_function(wait, [tf.size(text)], tf.float32), ())
            return {"product": tf.strings.to_number(text) * factor + zero}

        self.signature = BatchedSignature(tf.function(answer).get_concrete_function(text=TEXT))

    def ask(self, *texts: str) -> np.ndarray | int:
        """Returns the products, or the HTTP status of a refusal."""
        try:
            features = {"text": np.array([text.encode() for text in texts], object)}
            return self.signature(features)["product"]
        except RequestError as error:
            return error.status

    def close_gate(self, executor: ThreadPoolExecutor) -> Future:
        """Returns the answer to 1 to come, of a request that is being computed from now on."""
        self.gate.clear()
        first = executor.submit(self.ask, "1")
        assert self.begun.acquire(timeout=60)
        return first


@pytest.fixture
def products() -> Iterator[list[Product]]:
    """Two signatures, whose gates are open at the end whatever happened."""
    found = [Product(2.0), Product(3.0)]
    yield found
    for product in found:
        product.gate.set()


def test_waiting_requests_are_answered_in_one_batch(products):
    product = products[0]
    with ThreadPoolExecutor(40) as executor:
        try:
            first = product.close_gate(executor)
            answers = [executor.submit(product.ask, str(i)) for i in range(30)]
            time.sleep(1)  # 30 threads queue their requests meanwhile; two are enough
        finally:
            product.gate.set()
        assert first.result() == [2.0]
        assert [answer.result()[0] for answer in answers] == [2.0 * i for i in range(30)]
    assert sum(product.sizes) == 31
    assert max(product.sizes) > 1 and len(product.sizes) < 31


@pytest.mark.parametrize("waiting", [0, 1])
def test_a_bad_request_fails_alone_and_two_versions_share_no_batch(products, waiting):
    requests = [(i % 2, "junk" if i % 10 == 4 + waiting else str(i)) for i in range(60)]
    with ThreadPoolExecutor(80) as executor:
        try:  # one gate: TensorFlow may have one thread for both
            first = products[waiting].close_gate(executor)
            answers = [executor.submit(products[which].ask, text) for which, text in requests]
            time.sleep(1)
        finally:
            products[waiting].gate.set()
        assert first.result() == [products[waiting].factor]
        for (which, text), answer in zip(requests, answers, strict=True):
            if text == "junk":
                assert answer.result() == 400
            else:
                assert answer.result() == [float(text) * products[which].factor]
    assert max(products[waiting].sizes) > 1


def test_a_large_request_is_computed_in_parts(products):
    np.testing.assert_array_equal(products[1].ask(*map(str, range(150))), 3.0 * np.arange(150))
    assert products[1].sizes == [batching.MAX_BATCH, batching.MAX_BATCH, 150 % batching.MAX_BATCH]


def together(function, values: list[int]) -> list:
    """Returns the answers to values that share a batch, but for the first, or their errors."""
    free, begun = threading.Event(), threading.Event()

    def gated(features):
        begun.set()
        assert free.wait(60)
        return function(features)

    batched = BatchedFunction(gated, threads=1)
    with ThreadPoolExecutor(len(values)) as executor:
        answers = [executor.submit(batched, {"x": np.array(values[:1])})]
        assert begun.wait(60)
        answers += [executor.submit(batched, {"x": np.array([value])}) for value in values[1:]]
        while batched.n_waiting < len(values) - 1:
            time.sleep(0.01)
        free.set()
        return [answer.exception(60) or answer.result()["y"] for answer in answers]


def test_outputs_without_rows_are_computed_for_each_alone():
    assert together(lambda features: {"y": features["x"].sum()}, [1, 2, 3]) == [1, 2, 3]


def test_nobody_waits_for_a_thread_that_ends():
    def function(features):
        if len(features["x"]) > 1:
            raise SystemExit
        return {"y": features["x"][0]}

    first, *others = together(function, [1, 2, 3])
    assert first == 1
    kinds = sorted(type(error).__name__ for error in others)
    assert kinds == ["RuntimeError", "SystemExit"]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_holds_the_arrays_of_a_request_that_has_ended(fails):
    def function(features):
        if fails:
            raise ValueError("no")
        return {"y": features["x"] + 1}

    batched = BatchedFunction(function, threads=1)
    gc.collect()
    gc.disable()
    try:
        features = {"x": np.zeros(3)}
        arrays = [weakref.ref(features["x"])]
        try:
            outputs = batched(features)
            arrays.append(weakref.ref(outputs["y"]))
            del outputs
        except ValueError:
            pass
        del features
        assert [array() for array in arrays] == [None] * (1 if fails else 2)
    finally:
        gc.enable()
