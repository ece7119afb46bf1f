"""Runtimes that may compute a version in place of TensorFlow: OpenVINO, ONNX Runtime, LiteRT."""
