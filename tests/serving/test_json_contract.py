"""The REST contract of TensorFlow Serving, row by row after the list of its own JSON tests.

The names are those of json_tensor_test.cc; what differs here on purpose is in DIFFERENT.
"""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import payloads

INT = {"x": tf.TensorSpec((None, 2), tf.int32)}
SCALAR = {"x": tf.TensorSpec((None,), tf.int32)}
FLOAT = {"x": tf.TensorSpec((None,), tf.float32)}
DOUBLE = {"x": tf.TensorSpec((None,), tf.float64)}
BYTES = {"x": tf.TensorSpec((None,), tf.string)}
SEVERAL = {
    "int": tf.TensorSpec((None, 3, 2), tf.int32),
    "bytes": tf.TensorSpec((None,), tf.string),
    "float": tf.TensorSpec((None, 2), tf.float32),
}
GRID, HELLO = [[1, 2], [3, 4], [5, 6]], {"b64": "aGVsbG8="}
ROW = {"int": GRID, "bytes": HELLO, "float": [1, 2.5]}

ACCEPTED = {
    "SingleUnnamedTensor": ({"instances": GRID}, INT, {"x": GRID}),
    "SingleUnnamedTensor, named": ({"instances": [{"x": [1, 2]}]}, INT, {"x": [[1, 2]]}),
    "MixedInputForFloatTensor": (
        {"instances": [1, 2.0, 5.003, 0.007, 0]},
        FLOAT,
        {"x": [1, 2, 5.003, 0.007, 0]},
    ),
    "MixedInputForDoubleTensor": ({"instances": [1.0, 2, 0.662]}, DOUBLE, {"x": [1, 2, 0.662]}),
    "SingleUnnamedTensorWithSignature": (
        {"signature_name": "predict_images", "instances": [[1, 2]]},
        INT,
        {"x": [[1, 2]]},
    ),
    "SingleUnnamedTensorBase64Scalars": (
        {"instances": [HELLO, {"b64": "d29ybGQ="}]},
        BYTES,
        {"x": [b"hello", b"world"]},
    ),
    "SingleNamedTensorBase64": ({"instances": [{"x": HELLO}]}, BYTES, {"x": [b"hello"]}),
    "MultipleNamedTensor": (
        {"instances": [ROW, ROW]},
        SEVERAL,
        {"int": [GRID] * 2, "bytes": [b"hello"] * 2, "float": [[1, 2.5]] * 2},
    ),
    "SingleUnnamedTensorColumnarFormat": ({"inputs": {"x": GRID}}, INT, {"x": GRID}),
    "SingleUnnamedTensorColumnarFormat, unnamed": ({"inputs": GRID}, INT, {"x": GRID}),
    "MultipleNamedTensorColumnarFormat": (
        {"inputs": {"int": [GRID], "bytes": [HELLO], "float": [[1, 2.5]]}},
        SEVERAL,
        {"int": [GRID], "bytes": [b"hello"], "float": [[1, 2.5]]},
    ),
    "largest whole number of a float": ({"instances": [16777216]}, FLOAT, {"x": [16777216]}),
}
REFUSED = {
    "both forms": ({"instances": GRID, "inputs": GRID}, INT, "got both"),
    "neither form": ({"rows": GRID}, INT, "got 'rows'"),
    "tensor size": ({"instances": [[1, 2], [3]]}, INT, "ragged"),
    "shape": ({"instances": [[1, 2], [[3, 4]]]}, INT, "ragged"),
    "list after a number": ({"instances": [1, [1]]}, SCALAR, "ragged"),
    "text among numbers": ({"instances": [[1, 2], ["a", "b"]]}, INT, "another type"),
    "true among numbers": ({"instances": [[1, 2], [3, True]]}, INT, "true or false"),
    "true for a number": ({"instances": [False]}, FLOAT, "true or false"),
    "fraction for a whole number": ({"instances": [[1, 2.5]]}, INT, "another type"),
    "overflow of an integer": ({"instances": [[1, 2**31]]}, INT, "out of range"),
    "loss of precision, largest double": ({"instances": [1.7976931348623157e308]}, FLOAT, "large"),
    "loss of precision, float": ({"instances": [16777217]}, FLOAT, "too many digits"),
    "loss of precision, double": ({"instances": [2**53 + 1]}, DOUBLE, "too many digits"),
    "MultipleNamedTensorErrors, shapes": (
        {"instances": [ROW, ROW | {"int": [GRID]}]},
        SEVERAL,
        "ragged",
    ),
    "MultipleNamedTensorErrors, sizes": (
        {"instances": [ROW, ROW | {"int": GRID[1:]}]},
        SEVERAL,
        "ragged",
    ),
    "MultipleNamedTensorErrors, list after object": (
        {"instances": [ROW, [1, 20]]},
        SEVERAL,
        "others are objects",
    ),
    "MultipleNamedTensorErrors, object after list": (
        {"instances": [[1, 2], {"x": [1, 2]}]},
        INT,
        "others are objects",
    ),
    "missing name": ({"instances": [{"int": GRID}]}, SEVERAL, "must have"),
    "wrong name": ({"instances": [{"y": [1, 2]}]}, INT, "must have x"),
    "several inputs without names": ({"instances": [1]}, SEVERAL, "has several inputs"),
    "different lengths of columns": (
        {"inputs": {"int": [GRID], "bytes": [HELLO] * 2, "float": [[1, 2]]}},
        SEVERAL,
        "different lengths",
    ),
    "zero batch": ({"instances": []}, INT, "no instance"),
    "bad base64": ({"instances": [{"b64": "&"}]}, BYTES, "not valid base64"),
}
DIFFERENT = {  # TensorFlow Serving takes these, which no model here can mean
    "MultipleNamedTensor, NaN": ({"instances": [float("nan")]}, FLOAT, "NaN"),
    "MultipleNamedTensor, Infinity": ({"instances": [float("inf")]}, FLOAT, "an infinity"),
    "text for bytes": ({"instances": ["hello"]}, BYTES, "b64"),
    "SingleUnnamedTensorBase64Lists": ({"instances": [[HELLO]]}, BYTES, "b64"),
}


def parse(content: dict, specs: dict) -> tuple:
    parsed = payloads.parse_json(json.dumps(content).encode())
    return payloads.parse_features(parsed, specs, max_instances=512)


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_it_accepts_is_taken_for_the_same(name):
    content, specs, expected = ACCEPTED[name]
    features, by_row = parse(content, specs)
    assert by_row == ("instances" in content) and features.keys() == expected.keys()
    for key, array in features.items():
        assert array.dtype == (object if specs[key].dtype == tf.string else specs[key].dtype)
        np.testing.assert_array_equal(array, np.array(expected[key], array.dtype))


@pytest.mark.parametrize("name", REFUSED | DIFFERENT)
def test_what_it_refuses_is_refused(name):
    content, specs, sentence = (REFUSED | DIFFERENT)[name]
    with pytest.raises(RequestError, match=sentence) as refused:
        parse(content, specs)
    assert refused.value.status == 400


@pytest.mark.parametrize("text", [b"", b"   ", b"{", b'{"instances": [1]}X', b"[1]", b"\xff"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(RequestError, match="not valid JSON|Expected a JSON object"):
        payloads.parse_json(text)


FIVE = np.arange(1, 6, dtype=np.int32)
PAIRS = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.int32)
WORDS = np.array([[b"hello", b"world"], [b"tf", b"serving"]], object)


@pytest.mark.parametrize(
    ("outputs", "rows", "columns"),
    [
        ({"int": PAIRS}, PAIRS.tolist(), PAIRS.tolist()),  # FromJsonSingleTensor
        ({"int": FIVE}, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),  # FromJsonSingleScalarTensor
        (  # FromJsonSingleBytesTensor
            {"str_bytes": WORDS[:1]},
            [[{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]],
            [[{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]],
        ),
        (  # FromJsonMultipleNamedTensors
            {"double": np.array([8.0, 9.0]), "int": PAIRS, "str": WORDS},
            [
                {"double": 8.0, "int": [[1, 2], [3, 4]], "str": ["hello", "world"]},
                {"double": 9.0, "int": [[5, 6], [7, 8]], "str": ["tf", "serving"]},
            ],
            {"double": [8.0, 9.0], "int": PAIRS.tolist(), "str": WORDS.astype(str).tolist()},
        ),
        (  # FromJsonSingleFloatTensorSixDigitPrecision
            {"float": np.array([9e6, 999999, 0.5, 555557.5], np.float32)},
            [9e6, 999999, 0.5, 555557.5],
            [9e6, 999999, 0.5, 555557.5],
        ),
    ],
)
def test_answers_have_its_form(outputs, rows, columns):
    for by_row, expected in ((True, {"predictions": rows}), (False, {"outputs": columns})):
        assert json.loads(payloads.encode_outputs(outputs, by_row=by_row)) == expected


def test_numbers_that_are_not_finite_are_written_as_it_writes_them():
    outputs = {"float": np.array([np.nan, np.inf, -np.inf, 3], np.float32)}
    text = payloads.encode_outputs(outputs, by_row=True)
    assert bytes(text) == b'{"predictions":[NaN,Infinity,-Infinity,3.0]}'
