"""Train, tune, retrain and adapt, from raw files to a published version."""
