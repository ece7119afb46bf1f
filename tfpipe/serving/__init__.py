"""Saved versions over HTTP and gRPC: TensorFlow Serving's contract, and answers for people."""
