"""Backends: a TensorFlow network computed by another runtime, in float32, on processors.

Each takes a concrete function, [n, ...] to [n, ...], and returns a function that computes the same
on arrays. Two threads must not call that function at the same time. A runtime raises errors of its
own.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from tfpipe.base.resources import cores

Arrays = dict[str, np.ndarray]
Network = Callable[[Arrays], Arrays]


def numeric_function(signature: Any) -> Any:
    """Returns a loaded signature as a concrete function that has its float outputs only.

    The names of classes are text, which no other runtime computes with.
    """
    specs = signature.structured_input_signature[1]
    numeric = [
        name for name, spec in signature.structured_outputs.items() if spec.dtype.is_floating
    ]

    def call(**tensors):
        outputs = signature(**tensors)
        return {name: outputs[name] for name in numeric}

    return tf.function(call).get_concrete_function(**specs)


def openvino(function: Any) -> Network:
    """Returns a function computed by OpenVINO."""
    import openvino

    core, frozen = openvino.Core(), _freeze(function)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pb"
        path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
        # Not openvino.convert_model, which reports every use to its makers.
        model = core.read_model(path)
    # By default OpenVINO computes in bfloat16 where the processor has it, which gives other
    # results, and ties its threads to cores, where they wait for other processes.
    options = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    compiled = core.compile_model(model, "CPU", options)
    inputs, outputs = _tensor_names(function, frozen)

    def compute(features: Arrays) -> Arrays:
        result = compiled({tensor: features[name] for name, tensor in inputs.items()})
        return {name: result[compiled.output(tensor)] for name, tensor in outputs.items()}

    return compute


def onnx(function: Any) -> Network:
    """Returns a function computed by ONNX Runtime."""
    import onnxruntime
    import tf2onnx

    frozen = _freeze(function)
    inputs, outputs = _tensor_names(function, frozen)
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=list(inputs.values()),
        output_names=list(outputs.values()),
    )
    options = onnxruntime.SessionOptions()
    # A thread that waits must not keep a core busy: TensorFlow decodes images on it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def compute(features: Arrays) -> Arrays:
        feed = {tensor: features[name] for name, tensor in inputs.items()}
        return dict(zip(outputs, session.run(list(outputs.values()), feed), strict=True))

    return compute


def litert(function: Any) -> Network:
    """Returns a function computed by LiteRT, the former TensorFlow Lite."""
    from ai_edge_litert.interpreter import Interpreter

    frozen = _freeze(function)
    inputs, outputs = _tensor_names(function, frozen)
    model = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module()).convert()
    run = Interpreter(model_content=model, num_threads=cores()).get_signature_runner()

    def compute(features: Arrays) -> Arrays:
        feed = {tensor.partition(":")[0]: features[name] for name, tensor in inputs.items()}
        result = run(**feed)
        return {name: result[f"output_{i}"] for i, name in enumerate(outputs)}

    return compute


BACKENDS: dict[str, Callable[[Any], Network]] = {
    "openvino": openvino,
    "onnx": onnx,
    "litert": litert,
}


def _freeze(function: Any) -> Any:
    """Returns a concrete function whose weights are constants of its graph."""
    return convert_to_constants.convert_variables_to_constants_v2(function)


def _tensor_names(function: Any, frozen: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Returns input -> tensor and output -> tensor of a frozen function, which sorts both."""
    inputs = sorted(function.structured_input_signature[1])
    outputs = sorted(function.structured_outputs)
    return (
        {name: tensor.name for name, tensor in zip(inputs, frozen.inputs, strict=True)},
        {name: tensor.name for name, tensor in zip(outputs, frozen.outputs, strict=True)},
    )
