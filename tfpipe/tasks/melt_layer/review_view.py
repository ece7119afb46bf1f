"""A core as a reviewer sees it: its photo, the layers of the table, and those a model found."""

from typing import Any

from tfpipe.tasks.annotations import spans
from tfpipe.tasks.annotations.spans import Span, SpanReview, Strip
from tfpipe.tasks.melt_layer import alignment, review_overrides
from tfpipe.tasks.melt_layer.predict import Seen
from tfpipe.tasks.task import FilePrediction, Source

THIN_M = alignment.THIN_MM / 1000


def strip(source: Source, seen: Seen, said: FilePrediction, row: dict[str, Any] | None) -> Strip:
    """Returns a core with the layers of the table, where alignment puts them, and those found.

    Args:
      source: the photo, of the raw folder.
      seen: what the model saw of it.
      said: the layers it found.
      row: the photo's row of alignment.csv; None where it has not been packed.
    """
    shift_m, says = 0.0, ""
    if row is None:
        says = "This photo is not in the records, so its table is shown unaligned."
    elif row["status"] == "not identifiable":
        says = (
            f"The table's layers cannot be aligned ({row['why']}), so the photo is set aside until "
            "each of them is decided about. They are shown where the table has them."
        )
    else:
        shift_m = row["shift_mm"] / 1000
        says = f"The table's layers are moved by {row['shift_mm']:+.1f} mm, as they were aligned."
    tabled = []
    for one in source.about.features:
        spare = max(0.0, THIN_M - (one.depth_to_m - one.depth_from_m)) / 2
        top_m, bottom_m = one.depth_from_m + shift_m - spare, one.depth_to_m + shift_m + spare
        tabled.append(Span(review_overrides.named(one), top_m, bottom_m, one.kind))
    found = [
        Span(
            spans.span_name("found", layer["depth_from_m"], layer["depth_to_m"]),
            *(layer["depth_from_m"], layer["depth_to_m"], "meltLayer"),
            probability=layer["probability"],
        )
        for layer in said.rows
    ]
    bottom_m = seen.top_m + len(seen.ice) / seen.px_per_m
    return Strip(seen.ice, seen.top_m, bottom_m, tuple(tabled), tuple(found), says)


REVIEW = SpanReview(kinds=("meltLayer", "meltLens"), strip=strip)
