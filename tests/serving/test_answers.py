"""Answers: their JSON, and that a small request cannot ask for a huge one."""

import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import stub_server
import tensorflow as tf

from tfpipe.serving.http import handlers, payloads
from tfpipe.serving.limits import Admission, Limits

SHAPE = (50, 200, 3)
TEXT = np.array([[b"a", "\N{LATIN SMALL LETTER E WITH ACUTE}".encode()], [b"\xff", b'"']], object)
OUTPUTS = {
    "probabilities": np.array([[0.25, 0.75], [1.0, 1e-7]], np.float32),
    "label": np.array([1, 0], np.int64),
    "classes": TEXT,
    "thumbnail_bytes": np.array([b"\0\1", b""], object),
}
LISTS = {
    "probabilities": OUTPUTS["probabilities"].tolist(),
    "label": [1, 0],
    "classes": [["a", "\N{LATIN SMALL LETTER E WITH ACUTE}"], ["\N{REPLACEMENT CHARACTER}", '"']],
    "thumbnail_bytes": [{"b64": "AAE="}, {"b64": ""}],
}


class Autoencoder(stub_server.StubStore):
    """A model whose answer is large, and which counts how often it computes."""

    def __init__(self):
        super().__init__()
        self.n_computed = 0
        signature = SimpleNamespace(
            inputs={"image_bytes": tf.TensorSpec((None,), tf.string)},
            outputs={
                "reconstruction": tf.TensorSpec((None, *SHAPE), tf.float32),
                "error": tf.TensorSpec((None,), tf.float32),
            },
        )
        self.servable = SimpleNamespace(
            version=1, signature=lambda name: signature, limits=Limits()
        )

    def predict(self, features, *, signature, check):
        self.n_computed += 1
        n_rows = len(features["image_bytes"])
        rng = np.random.default_rng(0)
        return {
            "reconstruction": rng.random((n_rows, *SHAPE), np.float32),
            "error": np.zeros(n_rows, np.float32),
        }


@pytest.mark.parametrize("names", [["label"], ["classes"], list(OUTPUTS)])
def test_the_text_of_outputs_is_that_of_their_lists(names):
    outputs, lists = {n: OUTPUTS[n] for n in names}, {n: LISTS[n] for n in names}
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    is_one = len(names) == 1
    for by_row, expected in (
        (True, {"predictions": lists[names[0]] if is_one else rows}),
        (False, {"outputs": lists[names[0]] if is_one else lists}),
    ):
        assert json.loads(payloads.encode_outputs(outputs, by_row=by_row)) == expected


def test_the_text_takes_little_more_memory_than_itself():
    outputs = {"reconstruction": np.random.default_rng(0).random((200, 10, 20, 3), np.float32)}
    tracemalloc.start()
    text = payloads.encode_outputs(outputs, by_row=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 2_000_000 < len(text) < 24 * outputs["reconstruction"].size
    assert peak < 1.6 * len(text)  # as lists of numbers it took 5 times as much


def test_a_small_request_gets_no_huge_answer():
    limits, models = Limits(), Autoencoder()
    admission = Admission(limits)
    where = stub_server.WHERE
    with stub_server.running(models, admission, limits, handler=handlers.predict) as client:
        many = {"instances": [{"b64": "AA=="}] * 512}
        status, answer, _ = client.ask(where, many)
        assert status == 413 and "The answer would have 369 MB" in answer["error"]
        assert "/v2 or gRPC" in answer["error"] and models.n_computed == 0
        status, answer, _ = client.ask(where, {"instances": [{"b64": "AA=="}] * 20})
        assert status == 200 and np.shape(answer["predictions"][0]["reconstruction"]) == SHAPE
        stub_server.wait_for(lambda: admission.buffered_bytes == 0)
