"""Backends: a TensorFlow network computed by another runtime, in float32, on processors.

Each takes a concrete function, [n, ...] to [n, ...], and returns a function that computes the same
on arrays: first as a model of the runtime, which `model_files` writes, too. Two threads must not
call a network at the same time. A runtime raises errors of its own.
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


def openvino_model(function: Any) -> Any:
    """Returns a function as a model of OpenVINO, with its names of inputs and outputs."""
    import openvino

    frozen = _freeze(function)
    inputs, outputs = _tensor_names(function, frozen)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pb"
        path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
        # Not openvino.convert_model, which reports every use to its makers.
        model = openvino.Core().read_model(path)
    for name, tensor in inputs.items():
        model.input(tensor).get_tensor().set_names({name})
    for name, tensor in outputs.items():
        model.output(tensor).get_tensor().set_names({name})
    return model


def openvino_network(model: Any) -> Network:
    """Returns a model of OpenVINO, or the path of one, computed by it."""
    import openvino

    # By default OpenVINO computes in bfloat16 where the processor has it, which gives other
    # results, and ties its threads to cores, where they wait for other processes.
    options = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    names = [output.get_any_name() for output in compiled.outputs]

    def compute(features: Arrays) -> Arrays:
        result = compiled(features)
        return {name: result[compiled.output(name)] for name in names}

    return compute


def onnx_model(function: Any) -> bytes:
    """Returns a function as an ONNX file, with its names of inputs and outputs."""
    import tf2onnx

    frozen = _freeze(function)
    inputs, outputs = _tensor_names(function, frozen)
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=list(inputs.values()),
        output_names=list(outputs.values()),
        tensors_to_rename={tensor: name for name, tensor in (inputs | outputs).items()},
    )
    return model.SerializeToString()


def onnx_network(model: bytes) -> Network:
    """Returns an ONNX file computed by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # A thread that waits must not keep a core busy: TensorFlow decodes images on it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def compute(features: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, features), strict=True))

    return compute


def litert_model(function: Any) -> bytes:
    """Returns a function as a LiteRT file, whose signature has its names of inputs and outputs."""
    frozen = _freeze(function)
    inputs, outputs = _tensor_names(function, frozen)

    def call(**tensors):
        results = frozen(*[tensors[name] for name in inputs])
        results = results if isinstance(results, list | tuple) else [results]
        return dict(zip(outputs, results, strict=True))

    specs = function.structured_input_signature[1]
    named = tf.function(call).get_concrete_function(**specs)
    return tf.lite.TFLiteConverter.from_concrete_functions([named], tf.Module()).convert()


def litert_network(model: bytes) -> Network:
    """Returns a LiteRT file, formerly of TensorFlow Lite, computed by LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_content=model, num_threads=cores()).get_signature_runner()
    return lambda features: dict(run(**features))


BACKENDS: dict[str, Callable[[Any], Network]] = {
    "openvino": lambda function: openvino_network(openvino_model(function)),
    "onnx": lambda function: onnx_network(onnx_model(function)),
    "litert": lambda function: litert_network(litert_model(function)),
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
