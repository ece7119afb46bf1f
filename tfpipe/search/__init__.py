"""Hyperparameter search with KerasTuner: oracles, chief, workers, results, report.

The spaces are in the package `tuning`; the training of a trial is in `training`.
"""
