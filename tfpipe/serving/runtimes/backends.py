"""A network of TensorFlow computed by other runtimes, in float32, on processors.

Each takes a concrete function, [n, ...] to [n, ...], and returns what computes the same on arrays;
it is not to be asked by two threads at once. What a runtime raises is its own.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

Arrays = dict[str, np.ndarray]
Network = Callable[[Arrays], Arrays]


def of_numbers(signature: Any) -> Any:
    """Returns a loaded signature as a concrete function to its float32 outputs alone.

    The names of classes are text, which no other runtime computes with.
    """
    specs = signature.structured_input_signature[1]
    wanted = [name for name, spec in signature.structured_outputs.items() if spec.dtype.is_floating]

    def answer(**tensors):
        said = signature(**tensors)
        return {name: said[name] for name in wanted}

    return tf.function(answer).get_concrete_function(**specs)


def openvino(function: Any) -> Network:
    """Returns a function computed by OpenVINO."""
    import openvino

    core, frozen = openvino.Core(), _frozen(function)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pb"
        path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
        # Not openvino.convert_model, which tells the makers of every use.
        read = core.read_model(path)
    # Else it takes bfloat16 where the processor has it, which answers otherwise, and ties its
    # threads to cores, where they wait for whatever else runs there.
    wanted = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    compiled = core.compile_model(read, "CPU", wanted)
    taken, given = _names(function, frozen)

    def compute(features: Arrays) -> Arrays:
        said = compiled({tensor: features[name] for name, tensor in taken.items()})
        return {name: said[compiled.output(tensor)] for name, tensor in given.items()}

    return compute


def onnx(function: Any) -> Network:
    """Returns a function computed by ONNX Runtime."""
    import onnxruntime
    import tf2onnx

    frozen = _frozen(function)
    taken, given = _names(function, frozen)
    proto, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(), input_names=[*taken.values()], output_names=[*given.values()]
    )
    options = onnxruntime.SessionOptions()
    # Threads that wait must not keep a core busy: TensorFlow decodes on it meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def compute(features: Arrays) -> Arrays:
        fed = {tensor: features[name] for name, tensor in taken.items()}
        return dict(zip(given, session.run([*given.values()], fed), strict=True))

    return compute


def litert(function: Any) -> Network:
    """Returns a function computed by LiteRT, once called TensorFlow Lite."""
    from ai_edge_litert.interpreter import Interpreter

    frozen = _frozen(function)
    taken, given = _names(function, frozen)
    converted = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module()).convert()
    threads = len(os.sched_getaffinity(0))
    run = Interpreter(model_content=converted, num_threads=threads).get_signature_runner()

    def compute(features: Arrays) -> Arrays:
        said = run(**{tensor.partition(":")[0]: features[name] for name, tensor in taken.items()})
        return {name: said[f"output_{i}"] for i, name in enumerate(given)}

    return compute


NETWORKS = {"openvino": openvino, "onnx": onnx, "litert": litert}


def _frozen(function: Any) -> Any:
    """Returns a concrete function whose weights are constants of its graph."""
    return convert_to_constants.convert_variables_to_constants_v2(function)


def _names(function: Any, frozen: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Returns input -> tensor and output -> tensor of a frozen function; flat, they are sorted."""
    taken = sorted(function.structured_input_signature[1])
    given = sorted(function.structured_outputs)
    return (
        {name: tensor.name for name, tensor in zip(taken, frozen.inputs, strict=True)},
        {name: tensor.name for name, tensor in zip(given, frozen.outputs, strict=True)},
    )
