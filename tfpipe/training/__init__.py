"""Fits one model: configuration, loop, checkpoints, cross-validation, random-split baseline."""
