"""Review view: a core's photo with the layers of the table and those of a model."""

from typing import Any

from tfpipe.tasks.annotations import spans
from tfpipe.tasks.annotations.spans import Span, SpanReview, Strip
from tfpipe.tasks.melt_layer import alignment, review_overrides
from tfpipe.tasks.melt_layer.predict import CoreOutputs
from tfpipe.tasks.melt_layer.strip_prediction import StripOutputs
from tfpipe.tasks.task import FilePrediction, Source

THIN_M = alignment.THIN_MM / 1000


def strip(
    source: Source,
    outputs: CoreOutputs | StripOutputs,
    prediction: FilePrediction,
    row: dict[str, Any] | None,
) -> Strip:
    """Returns a core with the layers of the table, where alignment puts them, and the model's.

    Args:
      source: the photo, of the raw folder.
      outputs: the model's, of its windows or rows.
      prediction: the model's layers.
      row: the photo's row of alignment.csv; None where it is not packed.
    """
    shift_m = 0.0
    if row is None:
        note = "This photo is not in the records, so its table is shown unaligned."
    elif row["status"] == "not identifiable":
        note = (
            f"The table's layers cannot be aligned ({row['why']}), so the photo is set aside until "
            "each of them is decided about. They are shown where the table has them."
        )
    else:
        shift_m = row["shift_mm"] / 1000
        note = f"The table's layers are moved by {row['shift_mm']:+.1f} mm, as they were aligned."
    tabled = []
    for feature in source.about.features:
        spare_m = max(0.0, THIN_M - (feature.depth_to_m - feature.depth_from_m)) / 2
        top_m = feature.depth_from_m + shift_m - spare_m
        bottom_m = feature.depth_to_m + shift_m + spare_m
        tabled.append(Span(review_overrides.feature_name(feature), top_m, bottom_m, feature.kind))
    predicted = [
        Span(
            spans.span_name("found", layer["depth_from_m"], layer["depth_to_m"]),
            layer["depth_from_m"],
            layer["depth_to_m"],
            "meltLens" if layer.get("kind") == "lens" else "meltLayer",
            probability=layer["probability"],
        )
        for layer in prediction.rows
    ]
    bottom_m = outputs.top_m + len(outputs.ice) / outputs.px_per_m
    return Strip(outputs.ice, outputs.top_m, bottom_m, tuple(tabled), tuple(predicted), note)


REVIEW = SpanReview(kinds=("meltLayer", "meltLens"), strip=strip)
