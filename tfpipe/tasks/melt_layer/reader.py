"""Reader of core photos: finds the core, aligns its labels, cuts labelled windows or strips."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfpipe.tasks.melt_layer import (
    alignment,
    core_detection,
    figures,
    review_overrides,
    strips,
    windows,
)
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.tables import DUBIOUS, Feature
from tfpipe.tasks.task import Example, LeftOut, Reading, Source

NOT_ALIGNED = "not identifiable"  # status of a photo in alignment.csv
MAX_LISTED = 10  # photos that a sentence names


def read(source: Source, options: MeltLayerOptions) -> Reading:
    """Reads a photo and its part of the tables.

    The group is the photo (or what the column `group` of photos.csv says): its windows overlap, and
    share light and focus, so a split must not separate them.

    Args:
      source: a photo as `survey` lists it.
      options: the user's.

    Returns:
      Its windows, [50, 200, 3] uint8 each, its row of alignment.csv and its alignment figure.
      Windows that belong to neither class are left out. So are all windows of a photo whose shift
      is not identifiable, unless the option `unaligned` is "use". Reviewers' decisions replace the
      table; a photo where they have decided about every feature needs no shift.

    Raises:
      UserError: if the photo cannot be decoded or shows no core.
    """
    return _read(source, options, cut=_windows)


def read_strips(source: Source, options: MeltLayerOptions) -> Reading:
    """Reads a photo and its part of the tables, as `read` does, into strips with labelled rows.

    Returns:
      Its strips, [512, 64, 1] uint8 each, its row of alignment.csv and its alignment figure. A
      strip shows a layer if at least three quarters of one are in it; one without a layer whose
      rows are partly silent, or with less of one, has no label.
    """
    return _read(source, options, cut=_strips)


def _read(
    source: Source, options: MeltLayerOptions, *, cut: Callable[..., list[Example]]
) -> Reading:
    """Returns a photo's reading; `cut` makes its labelled examples."""
    photo, features = source.about.photo, list(source.about.features)
    ice = core_detection.read(
        source.path, top_is=options.top_is, crop_px=photo.crop_px, name=source.name
    )
    px_per_m = len(ice.image) / (photo.bottom_m - photo.top_m)
    place = {"top_m": photo.top_m, "px_per_m": px_per_m}
    aligned = alignment.align(ice.image, features, max_shift_mm=options.max_shift_mm, **place)
    status, why = aligned.status, aligned.why
    if review_overrides.is_fully_reviewed(source):
        status, why = "reviewed", ""
    reviewed = review_overrides.reviewed_features(
        source, shift_m=aligned.shift_px / px_per_m, drift_m=aligned.drift_px / px_per_m
    )
    examples = []
    if status != NOT_ALIGNED or options.unaligned == "use":
        examples = cut(
            source, ice.image, reviewed, shift_px=aligned.shift_px, options=options, **place
        )
    row = {
        "photo": source.name,
        "status": status,
        "why": why,
        "shift_px": round(aligned.shift_px / ice.scale, 1),
        "shift_mm": round(1000 * aligned.shift_px / px_per_m, 2),
        "drift_mm": round(1000 * aligned.drift_px / px_per_m, 2),
        "confidence": round(aligned.confidence, 2),
        "features": len(features),
        "windows": len(examples),
        "layer_windows": sum(example.label == windows.LAYER for example in examples),
        "px_per_m": round(px_per_m / ice.scale, 2),
        "core_top_px": ice.box.top,
        "core_bottom_px": ice.box.bottom,
        "core_left_px": ice.box.left,
        "core_right_px": ice.box.right,
        "tilt_deg": round(ice.box.tilt_deg, 3),
    }
    before = alignment.rows_of(features, **place)
    figure = figures.alignment(ice.image, features, before, aligned, name=source.name, **place)
    return Reading(examples, row, figure)


def _windows(
    source: Source,
    ice: np.ndarray,
    features: list[Feature],
    *,
    shift_px: int,
    options: MeltLayerOptions,
    top_m: float,
    px_per_m: float,
) -> list[Example]:
    """Returns the labelled windows that the photo's own labels cover."""
    rows = alignment.rows_of(features, top_m=top_m, px_per_m=px_per_m, shift_px=shift_px)
    is_uncertain = np.array([f.is_uncertain for f in features], bool)
    is_layer = np.array([f.is_layer for f in features], bool)
    if options.uncertain == "include":
        is_lens = np.array(["lens" in f.kind.lower() for f in features], bool)
        is_dubious = np.array([f.kind == DUBIOUS for f in features], bool)
        is_layer, is_uncertain = is_layer | (is_uncertain & ~is_lens & ~is_dubious), is_dubious
    top_px = windows.tops(len(ice), stride_px=options.stride_px)
    is_covered = (top_px >= shift_px) & (top_px + windows.HEIGHT_PX <= len(ice) + shift_px)
    is_covered |= review_overrides.is_fully_reviewed(source)  # its reviewer saw the whole photo
    labels = windows.labels(
        top_px, layers=rows[is_layer], uncertain=rows[is_uncertain], guard_px=options.guard_px
    )
    is_used = is_covered & (labels != windows.NEITHER)
    images = windows.windows(ice, top_px[is_used])
    shared = windows.overlaps(top_px[is_used], rows)
    depth_m = top_m + np.stack([top_px[is_used], top_px[is_used] + windows.HEIGHT_PX]) / px_per_m
    layer_px = windows.layer_in_window(top_px[is_used], rows[is_layer])
    columns = np.zeros(0, np.float32)
    return [
        Example(
            key=f"{source.name}@{row:06d}",
            group=source.group,
            image=image,
            label=int(label),
            columns=columns,
            metadata={
                "photo": source.name,
                "depth_top_m": float(depth_m[0, i]),
                "depth_bottom_m": float(depth_m[1, i]),
                "type_of_feature": features[np.argmax(shared[i])].kind if shared[i].any() else "",
                "shift_mm": 1000 * shift_px / px_per_m,
                "layer_top_px": int(layer_px[i, 0]) if label == windows.LAYER else -1,
                "layer_bottom_px": int(layer_px[i, 1]) if label == windows.LAYER else -1,
            },
        )
        for i, (row, label, image) in enumerate(
            zip(top_px[is_used], labels[is_used], images, strict=True)
        )
    ]


def _strips(
    source: Source,
    ice: np.ndarray,
    features: list[Feature],
    *,
    shift_px: int,
    options: MeltLayerOptions,
    top_m: float,
    px_per_m: float,
) -> list[Example]:
    """Returns the strips of a photo whose rows its own labels cover."""
    core = strips.resampled(ice, px_per_m=px_per_m)
    rows_per_m = px_per_m * len(core) / len(ice)
    shift_rows = round(shift_px / px_per_m * rows_per_m)
    rows = alignment.rows_of(features, top_m=top_m, px_per_m=rows_per_m, shift_px=shift_rows)
    covered = (shift_rows, len(core) + shift_rows)
    if review_overrides.is_fully_reviewed(source):  # its reviewer saw the whole photo
        covered = (0, len(core))
    labels = strips.row_labels(
        len(core),
        features,
        rows,
        covered=covered,
        guard_px=round(options.guard_px / px_per_m * rows_per_m),
        includes_uncertain=options.uncertain == "include",
    )
    lacking = max(strips.HEIGHT_PX - len(core), 0)
    labels = np.pad(labels, (0, lacking), constant_values=strips.SILENT)
    core = strips.padded(core)
    examples = []
    for top in strips.tops(len(core), stride_px=strips.STRIDE_PX).tolist():
        bottom = top + strips.HEIGHT_PX
        shown = labels[top:bottom]
        examples.append(
            Example(
                key=f"{source.name}@{top:06d}",
                group=source.group,
                image=core[top:bottom],
                label=strips.label(labels, top),
                columns=np.zeros(0, np.float32),
                metadata={
                    "photo": source.name,
                    "depth_top_m": float(top_m + top / rows_per_m),
                    "depth_bottom_m": float(top_m + bottom / rows_per_m),
                    "shift_mm": 1000 * shift_px / px_per_m,
                    "layer_rows": int((shown == strips.LAYER).sum()),
                    "silent_rows": int((shown == strips.SILENT).sum()),
                },
                row_labels=shown,
            )
        )
    return examples


def omissions(rows: list[dict[str, Any]]) -> list[LeftOut]:
    """Returns a sentence about the photos without examples, as their labels cannot be aligned.

    Args:
      rows: of alignment.csv.
    """
    aside = sorted(
        row["photo"]
        for row in rows
        if row["status"] == NOT_ALIGNED and not row.get("windows", True)
    )
    if not aside:
        return []
    listed = ", ".join(aside[:MAX_LISTED])
    more = f" and {len(aside) - MAX_LISTED} others" if len(aside) > MAX_LISTED else ""
    return [
        LeftOut(
            f"{len(aside)} of {len(rows)} photos are set aside, as their labels fit the photo at "
            f"no or at several depths: {listed}{more}. alignment.csv in the folder of the records "
            "says why. `tfpipe review melt-layer` lets you place the layers."
        )
    ]
