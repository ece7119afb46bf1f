"""Requests that wait are answered together, and each gets its own answer all the same."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import tensorflow as tf

from tfpipe.serving.errors import Refused
from tfpipe.serving.model import batching
from tfpipe.serving.model.batching import Signature

pytestmark = pytest.mark.slow

SLOW = b"20000"  # turns of a loop, in which the next requests gather
TAKES = [tf.TensorSpec((None,), tf.string, name="text")]


class Times(tf.Module):
    """Multiplies numbers that come as text, and takes the longer the larger they are."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=TAKES)
    def answer(self, text):
        numbers = tf.strings.to_number(text)
        turns = tf.cast(tf.reduce_max(numbers), tf.int32)
        (done,) = tf.while_loop(lambda i: i < turns, lambda i: [i + 1], [tf.constant(0)])
        late = tf.cast(tf.minimum(done, 0), tf.float32)  # 0, but not before the loop has ended
        together = tf.fill(tf.shape(text), tf.size(text))
        return {"product": numbers * self.factor + late, "together": together}


@pytest.fixture(scope="module")
def signatures(tmp_path_factory):
    """Two signatures, and what keeps their variables."""
    found, kept = [], []
    for factor in (2.0, 3.0):
        folder = str(tmp_path_factory.mktemp("times"))
        module = Times(factor)
        tf.saved_model.save(module, folder, signatures=module.answer)
        kept.append(tf.saved_model.load(folder))
        found.append(Signature(kept[-1].signatures["serving_default"]))
        assert found[-1]({"text": np.array([b"1"], object)})["product"] == [factor]
    yield found


def test_a_bad_request_fails_alone_and_no_two_versions_share_a_batch(signatures):
    def ask(which: int, text: bytes):
        try:
            return signatures[which]({"text": np.array([text], object)})
        except Refused as refused:
            return refused.status

    with ThreadPoolExecutor(80) as pool:
        slow = [pool.submit(ask, i % 2, SLOW) for i in range(2 * batching.AT_ONCE)]
        time.sleep(0.2)  # only makes batches likelier; what is asserted holds without, too
        asked = [(i % 2, b"junk" if i % 10 == 4 else str(i).encode()) for i in range(60)]
        answers = [pool.submit(ask, *one) for one in asked]
        for (which, text), answer in zip(asked, answers, strict=True):
            told = answer.result()
            if text == b"junk":
                assert told == 400
            else:
                assert told["product"] == [float(text) * (2, 3)[which]]
        for i, one in enumerate(slow):
            assert one.result()["product"] == [float(SLOW) * (2, 3)[i % 2]]


def test_those_that_wait_are_answered_together(signatures):
    def ask(text: bytes) -> int:
        return int(signatures[0]({"text": np.array([text], object)})["together"][0])

    with ThreadPoolExecutor(40) as pool:
        for _ in range(100):  # soon: it would take luck to come one by one each time
            if max(pool.map(ask, [SLOW] * batching.AT_ONCE + [b"1"] * 30)) > 1:
                return
    pytest.fail("no two of 32 requests were ever answered together")


def test_who_is_gone_leaves_its_queue_to_the_next(tmp_path):
    """TensorFlow ends neither a queue nor its threads."""
    module = Times(1.0)
    tf.saved_model.save(module, str(tmp_path), signatures=module.answer)
    counts = []
    for factor in range(4):
        loaded = tf.saved_model.load(str(tmp_path))
        loaded.factor.assign(factor)
        signature = Signature(loaded.signatures["serving_default"])
        assert signature({"text": np.array([b"2"], object)})["product"] == [2 * factor]
        counts.append(psutil.Process().num_threads())
        del loaded, signature
        gc.collect()
    assert counts[-1] == counts[1]


def test_a_large_request_is_cut_and_put_together(signatures):
    texts = np.array([str(i).encode() for i in range(150)], object)
    told = signatures[1]({"text": texts})
    np.testing.assert_array_equal(told["product"], 3.0 * np.arange(150))
    assert told["together"].max() <= batching.MOST
