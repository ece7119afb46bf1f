"""Raw files to TFRecords, and records to batches.

Schema, pack, manifest, near-duplicates, augmentation, sampling. Knows no model.
"""
