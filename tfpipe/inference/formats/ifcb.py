"""Class scores as the tools of the Imaging FlowCytobot keep them: HDF5, version 3, one file a bin.

The IFCB Dashboard and pyifcb read `output_scores`, `class_labels` and `roi_numbers`; the group
`metadata` has the attributes that the Woods Hole classifier writes.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.annotations import decisions

_PID = re.compile(r"(D\d{8}T\d{6}_IFCB\d+|IFCB\d+_\d{4}_\d{3}_\d{6})_(\d{5})")
MAX_ROI = 99_999  # five digits, as in the name of an image
_LAST_NUMBER = re.compile(r"(\d+)(\.[A-Za-z]+)?$")


def write(predictions: pd.DataFrame, out: Path) -> tuple[int, tuple[str, ...]]:
    """Writes BIN_class.h5 for each bin, into a new folder.

    Bin and region of interest are those of the name that an IFCB gives an image, such as
    D20180101T120000_IFCB102_00012. Without one, the bin is the group, and the region the last
    number of the key.

    Args:
      predictions: a row an image: key, group and p_<class>.
      out: the folder, which must not exist or be empty.

    Returns:
      The number of images, and notes.

    Raises:
      UserError: a key has no number or too large a one, two images have the same one, or there are
        no scores.
    """
    columns = [name for name in predictions if str(name).startswith("p_")]
    if not columns:
        raise UserError(
            "The table has no scores, expected a column p_CLASS for each class. Predict again."
        )
    places = [
        _place(key, group)
        for key, group in zip(predictions["key"], predictions["group"], strict=True)
    ]
    frame = predictions[columns].assign(
        bin=[name for name, _ in places], roi=[number for _, number in places]
    )
    repeated = frame[frame.duplicated(["bin", "roi"])]
    if len(repeated):
        row = repeated.iloc[0]
        raise UserError(
            f"Two images are region {row['roi']} of the bin {row['bin']}. Name the images as an "
            "IFCB does, such as D20180101T120000_IFCB102_00012.png."
        )
    classes = [name.removeprefix("p_") for name in columns]
    timestamp = decisions.now()
    with files.new_folder(out, option="--out") as draft:
        for name, rows in frame.sort_values(["bin", "roi"]).groupby("bin"):
            path = draft / f"{name}_class.h5"
            _write(path, str(name), rows, columns, classes=classes, timestamp=timestamp)
    return len(frame), ()


def _place(key: str, group: str) -> tuple[str, int]:
    """Returns the bin of an image and the number of its region."""
    if match := _PID.search(key):
        return match[1], int(match[2])
    number = _LAST_NUMBER.search(key)
    if not number:
        raise UserError(
            f"The key {key!r} does not end in a number, expected that of a region of interest. "
            "Name the images as an IFCB does, such as D20180101T120000_IFCB102_00012.png."
        )
    digits = number[1].lstrip("0") or "0"
    if len(digits) > len(str(MAX_ROI)):
        raise UserError(
            f"The key {key[:80]!r} ends in {digits[:40]}, expected the number of a region of "
            f"interest, {MAX_ROI:,} at most. Name the images as an IFCB does, such as "
            "D20180101T120000_IFCB102_00012.png."
        )
    return re.sub(r"[^0-9A-Za-z._-]+", "_", group), int(digits)


def _write(
    path: Path,
    name: str,
    rows: pd.DataFrame,
    columns: list[str],
    *,
    classes: list[str],
    timestamp: str,
) -> None:
    import h5py  # slow to import

    scores = rows[columns].to_numpy(np.float32)
    with h5py.File(path, "w") as file:
        metadata = file.create_dataset("metadata", data=h5py.Empty("f"))
        attributes = {"version": "v3", "model_id": "tfpipe", "timestamp": timestamp, "bin_id": name}
        for attribute, value in attributes.items():
            metadata.attrs[attribute] = value
        file.create_dataset("output_scores", data=scores, compression="gzip")
        file.create_dataset("output_classes", data=scores.argmax(axis=1).astype(np.uint32))
        file.create_dataset("class_labels", data=classes, dtype=h5py.string_dtype())
        file.create_dataset("roi_numbers", data=rows["roi"].to_numpy(np.uint32))
