"""Runtimes that can compute a version, and which of them are installed."""

from importlib.util import find_spec

from tfpipe.base.errors import UserError

SAVEDMODEL, AUTO = "savedmodel", "auto"
PACKAGES: dict[str, dict[str, str]] = {  # runtime -> module -> name of its package
    SAVEDMODEL: {},
    "openvino": {"openvino": "openvino"},
    "onnx": {"onnxruntime": "onnxruntime", "tf2onnx": "tf2onnx"},
    "litert": {"ai_edge_litert": "ai-edge-litert"},
}


def check(runtime: str) -> None:
    """Raises a UserError if a runtime does not exist or is not installed."""
    if runtime not in (*PACKAGES, AUTO):
        names = ", ".join([*PACKAGES, AUTO])
        raise UserError(f"There is no runtime {runtime!r}. Choose --runtime from {names}.")
    if packages := missing_packages(runtime):
        raise UserError(
            f"The runtime {runtime} is not installed. Run `pip install {' '.join(packages)}`, or "
            "choose another with --runtime."
        )


def missing_packages(runtime: str) -> list[str]:
    """Returns the packages of a runtime that are not installed."""
    packages = PACKAGES.get(runtime, {})
    return [package for module, package in packages.items() if not find_spec(module)]
