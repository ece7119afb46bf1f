"""Tests of hardware: which precision is taken, and that the global policy stays what it was."""

import keras
import pytest

from tfpipe.base import hardware, resources
from tfpipe.base.errors import UserError


@pytest.mark.parametrize(
    ("flags", "policy"), [("avx2 avx512_bf16", "mixed_bfloat16"), ("avx2", "float32")]
)
def test_bfloat16_is_taken_only_where_the_processor_has_it(monkeypatch, flags, policy):
    monkeypatch.delenv(hardware.PRECISION_VARIABLE, raising=False)
    monkeypatch.setattr(resources, "processors", lambda: f"flags : {flags}")
    assert hardware.compute_policy("auto") == policy
    assert hardware.compute_policy("float32") == "float32"


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_environment_says_what_auto_takes(monkeypatch, precision):
    monkeypatch.setenv(hardware.PRECISION_VARIABLE, precision)
    assert hardware.compute_policy("auto") == precision
    assert hardware.compute_policy("float32") == "float32"  # the option comes first


def test_an_unknown_precision_is_refused_with_the_nearest_name(monkeypatch):
    monkeypatch.setenv(hardware.PRECISION_VARIABLE, "float23")
    with pytest.raises(UserError, match=r"precision called 'float23'. Did you mean 'float32'"):
        hardware.compute_policy("auto")


def test_the_policy_is_put_back_after_an_error_too():
    before = keras.config.dtype_policy().name
    with pytest.raises(KeyError), hardware.dtype_policy("mixed_bfloat16") as name:
        assert keras.config.dtype_policy().name == name == "mixed_bfloat16"
        raise KeyError
    assert keras.config.dtype_policy().name == before
