"""Metrics, thresholds, calibration, intervals, drift: arrays in, numbers out."""
