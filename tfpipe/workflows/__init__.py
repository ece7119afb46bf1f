"""Train, tune and retrain, from raw files to a published version."""
