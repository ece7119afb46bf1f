"""Where a model was wrong: by what its pictures show, and the pictures themselves."""

from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from tfpipe.base import html
from tfpipe.base import images as base_images
from tfpipe.base.html import Html
from tfpipe.data.manifest import RecordManifest
from tfpipe.report.report_data import Judged, ReportData

MOST_KINDS = 40
WRONG, RIGHT = 12, 6  # pictures of a list
OF_ONE_PHOTO = 3  # neighbours overlap, and would fill a list

NOTHING = "nothing in the table"


def by_kind(known: ReportData) -> Html | None:
    """Returns a table of a two-class model's mistakes by what the table says is there."""
    judged = known.test
    if len(judged.classes) != 2 or "type_of_feature" not in judged.frame:
        return None
    kinds = judged.frame["type_of_feature"].replace("", NOTHING)
    negative, positive = judged.classes
    rows = []
    for kind in kinds.unique():
        is_kind = (kinds == kind).to_numpy()
        without = is_kind & (judged.labels == 0)
        holding = is_kind & (judged.labels == 1)
        false, missed = (
            int((without & (judged.said == 1)).sum()),
            int((holding & (judged.said == 0)).sum()),
        )
        share = false / without.sum() if without.any() else 0.0
        said = f"{false:,} of {without.sum():,}" if without.any() else "\N{EM DASH}"
        lost = f"{missed:,} of {holding.sum():,}" if holding.any() else "\N{EM DASH}"
        told = html.joined(html.bar(share), f" {100 * share:.1f} %") if without.any() else ""
        rows.append((false, (kind, said, told, lost)))
    rows.sort(key=lambda row: -row[0])
    headings = (
        "What the depth table says is there",
        f"{negative}, called {positive}",
        "share of them",
        f"{positive}, missed",
    )
    return html.table(headings, [row for _, row in rows[:MOST_KINDS]])


def gallery(known: ReportData) -> Html:
    """Returns the most wrong pictures of the test split, and the surest right ones beside them."""
    judged, lists = known.test, _lists(known.test)
    keys = {judged.frame["key"].iloc[i] for _, _, rows in lists for i in rows}
    images = pixels(known.records, keys, manifest=known.manifest)
    found = {
        key: base_images.encode_png(base_images.to_display(image)) for key, image in images.items()
    }
    return html.joined(
        *(
            titled(title, [_figure(judged, i, of=of, found=found) for i in rows])
            for title, of, rows in lists
        )
    )


def titled(title: str, figures: list[Html]) -> Html:
    """Returns figures in rows under a title."""
    none = html.tag("p", "There is none.", class_="soft")
    shown = html.tag("div", *figures, class_="gallery") if figures else none
    return html.joined(html.tag("h3", title), shown)


def chosen(frame: pd.DataFrame, order: np.ndarray, *, most: int) -> list[int]:
    """Returns row numbers by rising `order` [rows] float, at most three of one photo.

    Rows whose order is inf are left out.
    """
    photos = frame["photo" if "photo" in frame else "group"].to_numpy()
    taken: dict[str, int] = {}
    rows = []
    for i in np.argsort(order, kind="stable"):
        if np.isfinite(order[i]) and taken.get(photos[i], 0) < OF_ONE_PHOTO and len(rows) < most:
            taken[photos[i]] = taken.get(photos[i], 0) + 1
            rows.append(int(i))
    return rows


def figure(row: pd.Series, told: list[str], *, png: bytes | None) -> Html:
    """Returns a picture of an example with what is told of it.

    Args:
      row: of predictions.csv.
      told: lines beside the picture's name and depth.
      png: the picture; None where it is not in the records.
    """
    lines = [str(row["photo"] if "photo" in row else row["key"])]
    if "depth_top_m" in row and "depth_bottom_m" in row:
        lines.append(f"{row['depth_top_m']:.3f} to {row['depth_bottom_m']:.3f} m")
    lines += told
    if "type_of_feature" in row:
        lines.append(row["type_of_feature"] or NOTHING)
    caption = html.tag("figcaption", *(html.joined(line, Html("<br>")) for line in lines))
    if png is None:
        return html.tag("figure", html.tag("p", "not in the records", class_="soft"), caption)
    uri = html.data_uri(png, kind="image/png")
    return html.tag("figure", html.tag("img", src=uri, alt=", ".join(lines)), caption)


def _lists(judged: Judged) -> list[tuple[str, int, list[int]]]:
    """Returns (title, class whose probability is told or -1, row numbers) of each list."""

    def first(where: np.ndarray, order: np.ndarray, *, most: int) -> list[int]:
        return chosen(judged.frame, np.where(where, order, np.inf), most=most)

    rows = np.arange(len(judged.labels))
    wrong = judged.said != judged.labels
    if len(judged.classes) > 2:
        sure = -judged.probabilities[rows, judged.said]
        return [
            ("Surest mistakes", -1, first(wrong, sure, most=WRONG)),
            ("Surest right ones", -1, first(~wrong, sure, most=RIGHT)),
            ("Least sure", -1, first(rows >= 0, -sure, most=RIGHT)),
        ]
    positive, name = judged.probabilities[:, 1], judged.classes[1]
    is_positive = judged.labels == 1
    return [
        (
            f"False positives: called {name} with the highest probability",
            1,
            first(wrong & ~is_positive, -positive, most=WRONG),
        ),
        (
            f"False negatives: {name} with the lowest probability",
            1,
            first(wrong & is_positive, positive, most=WRONG),
        ),
        (
            f"For comparison: {name}, rightly and most surely found",
            1,
            first(~wrong & is_positive, -positive, most=RIGHT),
        ),
    ]


def _figure(judged: Judged, i: int, *, of: int, found: dict[str, bytes]) -> Html:
    row = judged.frame.iloc[i]
    of = judged.said[i] if of < 0 else of
    told = [f"p({judged.classes[of]}) = {judged.probabilities[i, of]:.3f}"]
    if len(judged.classes) > 2:
        told.append(f"is {judged.classes[judged.labels[i]]}")
    return figure(row, told, png=found.get(row["key"]))


def pixels(folder: Path, keys: set[str], *, manifest: RecordManifest) -> dict[str, np.ndarray]:
    """Returns key -> [height, width, channels] of the test split's pictures of those keys."""
    paths = [str(folder / s.name) for s in manifest.shards if s.split == "test"]
    names = {name: tf.io.FixedLenFeature((), tf.string) for name in ("key", "image")}
    found = {}
    for record in tf.data.TFRecordDataset(paths).as_numpy_iterator():
        key = (
            tf.train.Example.FromString(record).features.feature["key"].bytes_list.value[0].decode()
        )
        if key in keys:
            image = tf.io.parse_single_example(record, names)["image"].numpy()
            found[key] = _pixels(image, manifest=manifest)
    return found


def _pixels(encoded: bytes, *, manifest: RecordManifest) -> np.ndarray:
    """Returns a record's image [height, width, channels] in the task's dtype."""
    shape, dtype = manifest.image_shape, np.dtype(manifest.image_dtype)
    if manifest.image_encoding == "bytes":
        return np.frombuffer(encoded, dtype).reshape(shape)
    return tf.io.decode_png(encoded, channels=shape[-1], dtype=tf.as_dtype(dtype)).numpy()
