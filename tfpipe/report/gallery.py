"""Mistakes of a classifier: the worst images, and two-class mistakes by the type of feature."""

from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from markupsafe import Markup

from tfpipe.base import html, images
from tfpipe.data.manifest import RecordManifest
from tfpipe.report.report_data import ReportData, TestPredictions

MAX_TYPES = 40
MAX_WRONG, MAX_RIGHT = 12, 6  # images of a list
MAX_PER_GROUP = 3  # neighbours overlap, and would fill a list
NO_FEATURE = "nothing in the table"
NONE = "\N{EM DASH}"


def mistakes_by_feature(data: ReportData) -> Markup | None:
    """Returns a table of a two-class model's mistakes by the type of feature in the depth table."""
    test = data.test
    if len(test.classes) != 2 or "type_of_feature" not in test.frame:
        return None
    types = test.frame["type_of_feature"].replace("", NO_FEATURE).to_numpy(str)
    rows = [_mistakes(test, name, types == name) for name in dict.fromkeys(types.tolist())]
    rows.sort(key=lambda row: -row[0])
    negative, positive = test.classes
    headings = (
        "Type of feature in the depth table",
        f"{negative}, predicted {positive}",
        "share of them",
        f"{positive}, missed",
    )
    return html.table(headings, [cells for _, cells in rows[:MAX_TYPES]])


def _mistakes(test: TestPredictions, name: str, inside: np.ndarray) -> tuple[int, tuple]:
    """Returns the number of false positives of a type of feature, and its row of the table."""
    is_negative, is_positive = inside & (test.labels == 0), inside & (test.labels == 1)
    false_positives = int((is_negative & (test.predicted == 1)).sum())
    missed = int((is_positive & (test.predicted == 0)).sum())
    negatives, positives = int(is_negative.sum()), int(is_positive.sum())
    share = false_positives / max(negatives, 1)
    cells = (
        name,
        f"{false_positives:,} of {negatives:,}" if negatives else NONE,
        html.joined(html.bar(share), f" {100 * share:.1f} %") if negatives else "",
        f"{missed:,} of {positives:,}" if positives else NONE,
    )
    return false_positives, cells


def gallery(data: ReportData) -> Markup:
    """Returns the worst images of the test split, and the most confident right ones."""
    test, lists = data.test, _lists(data.test)
    keys = {test.frame["key"].iloc[row] for _, _, rows in lists for row in rows}
    arrays = pixels(data.records, keys, manifest=data.manifest)
    pngs = {key: images.encode_png(images.to_display(array)) for key, array in arrays.items()}
    galleries = [
        html.gallery(title, [_image(test, row, label=label, pngs=pngs) for row in rows])
        for title, label, rows in lists
    ]
    return html.joined(*galleries)


def select(frame: pd.DataFrame, order: np.ndarray, *, limit: int) -> list[int]:
    """Returns row numbers by rising `order` [rows] float, at most three of one photo or group.

    Rows whose order is inf are left out.
    """
    groups = frame["photo" if "photo" in frame else "group"].to_numpy()
    counts: dict[str, int] = {}
    rows: list[int] = []
    for row in np.argsort(order, kind="stable").tolist():
        count = counts.get(groups[row], 0)
        if np.isfinite(order[row]) and count < MAX_PER_GROUP and len(rows) < limit:
            counts[groups[row]] = count + 1
            rows.append(row)
    return rows


def image(row: pd.Series, about: list[str], *, png: bytes | None) -> Markup:
    """Returns an example's image with its caption.

    Args:
      row: of predictions.csv.
      about: lines of the caption, beside the example's name, depth and feature.
      png: the image; None if it is not in the records.
    """
    lines = [str(row["photo"] if "photo" in row else row["key"])]
    if "depth_top_m" in row and "depth_bottom_m" in row:
        lines.append(f"{row['depth_top_m']:.3f} to {row['depth_bottom_m']:.3f} m")
    lines += about
    if "type_of_feature" in row:
        lines.append(row["type_of_feature"] or NO_FEATURE)
    return html.image(None if png is None else html.data_uri(png, kind="image/png"), lines=lines)


def pixels(
    folder: Path, keys: set[str], *, manifest: RecordManifest, split: str = "test"
) -> dict[str, np.ndarray]:
    """Returns key -> image [height, width, channels] of a split's examples of those keys."""
    paths = [str(folder / shard.name) for shard in manifest.shards if shard.split == split]
    features = {name: tf.io.FixedLenFeature((), tf.string) for name in ("key", "image")}
    arrays = {}
    for record in tf.data.TFRecordDataset(paths).as_numpy_iterator():
        example = tf.train.Example.FromString(record)
        key = example.features.feature["key"].bytes_list.value[0].decode()
        if key in keys:
            encoded = tf.io.parse_single_example(record, features)["image"].numpy()
            arrays[key] = _decode(encoded, manifest=manifest)
    return arrays


def _decode(encoded: bytes, *, manifest: RecordManifest) -> np.ndarray:
    """Returns a record's image [height, width, channels] in the task's dtype."""
    shape, dtype = manifest.image_shape, np.dtype(manifest.image_dtype)
    if manifest.image_encoding == "bytes":
        return np.frombuffer(encoded, dtype).reshape(shape)
    return tf.io.decode_png(encoded, channels=shape[-1], dtype=tf.as_dtype(dtype)).numpy()


def _lists(test: TestPredictions) -> list[tuple[str, int, list[int]]]:
    """Returns (title, class whose probability is shown or -1 for the predicted, rows)."""

    def first(inside: np.ndarray, order: np.ndarray, *, limit: int) -> list[int]:
        return select(test.frame, np.where(inside, order, np.inf), limit=limit)

    if len(test.classes) > 2:
        confidence, every = test.confidence, np.ones(len(test.labels), bool)
        return [
            ("Most confident mistakes", -1, first(~test.is_right, -confidence, limit=MAX_WRONG)),
            ("Most confident right ones", -1, first(test.is_right, -confidence, limit=MAX_RIGHT)),
            ("Least confident", -1, first(every, confidence, limit=MAX_RIGHT)),
        ]
    probability, name = test.probabilities[:, 1], test.classes[1]
    false_positive = ~test.is_right & (test.labels != 1)
    false_negative = ~test.is_right & (test.labels == 1)
    true_positive = test.is_right & (test.labels == 1)
    return [
        (
            f"False positives: predicted {name} with the highest probability",
            1,
            first(false_positive, -probability, limit=MAX_WRONG),
        ),
        (
            f"False negatives: {name} with the lowest probability",
            1,
            first(false_negative, probability, limit=MAX_WRONG),
        ),
        (
            f"For comparison: true positives, {name} with the highest probability",
            1,
            first(true_positive, -probability, limit=MAX_RIGHT),
        ),
    ]


def _image(test: TestPredictions, row: int, *, label: int, pngs: dict[str, bytes]) -> Markup:
    example = test.frame.iloc[row]
    shown = int(test.predicted[row]) if label < 0 else label
    about = [f"p({test.classes[shown]}) = {test.probabilities[row, shown]:.3f}"]
    if len(test.classes) > 2:
        about.append(f"is {test.classes[test.labels[row]]}")
    return image(example, about, png=pngs.get(example["key"]))
