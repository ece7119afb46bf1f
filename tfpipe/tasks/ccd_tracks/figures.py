"""Overlay of predictions on an exposure: boxes by class, and a legend with counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from tfpipe.tasks.ccd_tracks import fits_io
from tfpipe.tasks.ccd_tracks.options import CcdTracksOptions
from tfpipe.tasks.ccd_tracks.reader import ClusterBatch, corner_of
from tfpipe.tasks.task import Source

if TYPE_CHECKING:
    import pandas as pd

# Okabe & Ito (2008), safe for colour-blind readers, lightened for a dark background; RGB.
COLOURS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 198, 145),
    (240, 228, 66),
    (255, 120, 40),
    (224, 141, 187),
    (110, 140, 255),
    (255, 255, 255),
)
ABSTAINED, BACKGROUND, TEXT = (150, 150, 150), 24, (230, 230, 230)
LINE, MIN_LEGEND = 28, 220  # px
FAINT, BRIGHT = 50.0, 99.9  # percentiles that become black and white


def overlay(
    source: Source, predictions: pd.DataFrame, options: CcdTracksOptions
) -> np.ndarray | None:
    """Returns an exposure with its tracks boxed, [height, width + legend, 3] uint8 RGB.

    Args:
      source: the exposure; ready-cut clusters have no image to draw on.
      predictions: its rows of the prediction table: left, top, height, width, label, abstain.
      options: the user's.
    """
    if isinstance(source.about, ClusterBatch):
        return None
    canvas = _log_scaled(fits_io.read(source.path, options))
    corner = corner_of(options)
    names = sorted(predictions["label"].unique()) if len(predictions) else []
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    for row in predictions.itertuples():
        begin = (row.left - corner[1] - 3, row.top - corner[0] - 3)
        end = (begin[0] + row.width + 5, begin[1] + row.height + 5)
        cv2.rectangle(canvas, begin, end, ABSTAINED if row.abstain else colours[row.label], 1)
    legend = [(f"{name}: {sum(predictions['label'] == name)}", colours[name]) for name in names]
    legend.append(
        (f"abstained: {int(predictions['abstain'].sum()) if len(predictions) else 0}", ABSTAINED)
    )
    missing = max(0, 8 + LINE * len(legend) - len(canvas))
    canvas = np.pad(canvas, ((0, missing), (0, 0), (0, 0)), constant_values=BACKGROUND)
    return np.concatenate([canvas, _legend(legend, height=len(canvas))], axis=1)


def _log_scaled(image: np.ndarray) -> np.ndarray:
    """Returns pixels [height, width] in ADU as RGB, on a logarithmic scale above the background."""
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite[:: max(1, finite.size // 1_000_000)], (FAINT, BRIGHT))
    grey = np.log1p(np.clip(np.nan_to_num(image, nan=low) - low, 0, None))
    grey *= 255 / np.log1p(max(high - low, 1.0))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _legend(entries: list[tuple[str, tuple[int, int, int]]], *, height: int) -> np.ndarray:
    texts = [name.encode("ascii", "replace").decode() for name, _ in entries]
    longest = max(cv2.getTextSize(t, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)[0][0] for t in texts)
    legend = np.full((height, max(MIN_LEGEND, longest + 50), 3), BACKGROUND, np.uint8)
    for i, (text, (_, colour)) in enumerate(zip(texts, entries, strict=True)):
        row = 8 + i * LINE
        cv2.rectangle(legend, (10, row), (28, row + 16), colour, -1)
        place = (38, row + 15)
        cv2.putText(legend, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, TEXT, lineType=cv2.LINE_AA)
    return legend
