"""Packed examples by the features of their pictures, and by their columns."""

from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.baselines import texture
from tfpipe.baselines.feature_tables import Features, Part
from tfpipe.data import dataset
from tfpipe.data.dataset import Subset
from tfpipe.data.manifest import RecordManifest
from tfpipe.tasks.task import SPLITS

KINDS = ("columns", *texture.KINDS)


def features(records: Path, kinds: tuple[str, ...], *, manifest: RecordManifest) -> Features:
    """Returns the labelled examples of packed records by their features.

    Args:
      records: the folder.
      kinds: some of `KINDS`; () for texture, and the columns where there are some.
      manifest: the records'.

    Raises:
      UserError: no such kind, the pictures are of floats, or there are no columns.
    """
    columns = tuple(manifest.columns)
    kinds = kinds or (*(("columns",) if columns else ()), "texture")
    for kind in kinds:
        choose(kind, KINDS, noun="kind of features")
    if "columns" in kinds and not columns:
        raise UserError(f"The records of {manifest.task} have no columns. Leave them out.")
    drawn = tuple(kind for kind in kinds if kind != "columns")
    if drawn and manifest.image_dtype == "float32":
        raise UserError(
            f"The pictures of {manifest.task} are floats, of which no textures are counted. "
            "Give --features columns."
        )
    parts, names = {}, ()
    for split in SPLITS:
        tables, labels = [], []
        asked = Subset((split,))
        for given, label in dataset.batches(records, asked, manifest=manifest, batch_size=256):
            known = label.numpy() >= 0
            table = texture.table(given["image"].numpy()[known], kinds=drawn)
            if "columns" in kinds:
                table[list(columns)] = given["columns"].numpy()[known]
            tables.append(table)
            labels.append(label.numpy()[known])
        if not sum(map(len, labels)):
            raise UserError(
                f"No {split} example has a label, so nothing can be judged. Label some."
            )
        labelled = dataset.labels_of(records, (split,), manifest=manifest) >= 0
        groups = dataset.groups_of(records, (split,), manifest=manifest)[labelled]
        frame = pd.concat([one for one in tables if len(one)], ignore_index=True)
        names = tuple(frame.columns)
        parts[split] = Part(frame.to_numpy(np.float64), np.concatenate(labels), groups)
    return Features(names, tuple(manifest.classes), parts, ())
