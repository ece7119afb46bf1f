"""Metadata of packed examples as a table."""

import numpy as np
import pandas as pd
import tensorflow as tf

from tfpipe.data.dataset import Dataset


def read_metadata(data: Dataset, split: str, labels: np.ndarray) -> pd.DataFrame:
    """Returns split, key, group, metadata and label of a split's examples, in order."""
    kinds = data.manifest.metadata
    text = {name for name, kind in kinds.items() if kind != "int64"} | {"key", "group"}
    features = {
        name: tf.io.FixedLenFeature((), tf.string if name in text else tf.int64)
        for name in ("key", "group", *kinds)
    }
    paths = [str(data.folder / s.name) for s in data.manifest.shards if s.split == split]
    columns: dict[str, list] = {name: [] for name in features}
    for records in tf.data.TFRecordDataset(paths).batch(1024):
        fields = tf.io.parse_example(records, features)
        for name, values in fields.items():
            if kinds.get(name) == "float64":
                values = tf.io.decode_raw(values, tf.float64)[:, 0]
            columns[name].append(values.numpy())
    frame = pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
    for name in text & set(frame):
        if kinds.get(name) != "float64":
            frame[name] = [value.decode() for value in frame[name]]
    frame.insert(0, "split", split)
    frame["label"] = labels
    return frame
