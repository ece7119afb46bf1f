"""The runtimes that a version can be computed by, and which of them this Python has."""

from importlib.util import find_spec

from tfpipe.base.errors import UserError

SAVEDMODEL, AUTO = "savedmodel", "auto"
# Runtime -> module -> what pip calls it.
MODULES = {
    SAVEDMODEL: {},
    "openvino": {"openvino": "openvino"},
    "onnx": {"onnxruntime": "onnxruntime", "tf2onnx": "tf2onnx"},
    "litert": {"ai_edge_litert": "ai-edge-litert"},
}


def check(runtime: str) -> None:
    """Raises a UserError if there is no such runtime, or if it is not installed."""
    if runtime not in (*MODULES, AUTO):
        there = ", ".join([*MODULES, AUTO])
        raise UserError(f"There is no runtime {runtime!r}. Give --runtime one of {there}.")
    if there_not := missing(runtime):
        raise UserError(
            f"The runtime {runtime} is not installed. Run `pip install {' '.join(there_not)}`, or "
            "give another by --runtime."
        )


def missing(runtime: str) -> list[str]:
    """Returns what pip would have to install for a runtime."""
    return [name for module, name in MODULES.get(runtime, {}).items() if not find_spec(module)]
