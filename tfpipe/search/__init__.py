"""Hyperparameter search by KerasTuner: oracles, chief, workers, results, report."""
