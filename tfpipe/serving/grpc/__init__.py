"""gRPC: TensorFlow Serving's services, the Open Inference Protocol, health and reflection."""
