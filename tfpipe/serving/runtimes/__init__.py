"""What computes a version's network: TensorFlow by its SavedModel, or another runtime."""
