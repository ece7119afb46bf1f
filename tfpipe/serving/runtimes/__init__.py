"""Other engines that may compute a version: OpenVINO, ONNX Runtime, LiteRT."""
