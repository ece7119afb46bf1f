"""Reader of CCD tracks: the tracks of one exposure, or ready-cut clusters, as examples."""

import logging
from typing import NamedTuple

import numpy as np

from tfpipe.tasks.ccd_tracks import (
    cluster_files,
    fits_io,
    label_table,
    segmentation,
    shape_features,
)
from tfpipe.tasks.ccd_tracks.options import CcdTracksOptions, section_of
from tfpipe.tasks.task import Example, Reading, Source

LOG = logging.getLogger(__name__)
# "Meta data" of Preuss et al. (seed document 001), and features that separate its classes better.
COLUMNS = ("height_px", "width_px", "pixels", "energy_adu", *shape_features.NAMES)
METADATA = {
    "file": "str",
    "index": "int64",
    "x": "int64",
    "y": "int64",
    "left": "int64",
    "top": "int64",
    "height": "int64",
    "width": "int64",
    "pixels": "int64",
    "energy": "float64",
    "halvings": "int64",
}


class ExposureLabels(NamedTuple):
    """Labels of an exposure, and the classes in label order: `Source.about`."""

    labels: tuple[label_table.PointLabel, ...] = ()
    classes: tuple[str, ...] = ()


class ClusterBatch(NamedTuple):
    """Ready-cut clusters that are read together, and the classes in order: `Source.about`."""

    clusters: tuple[cluster_files.Cluster, ...]
    classes: tuple[str, ...] = ()


def read(source: Source, options: CcdTracksOptions) -> Reading:
    """Reads a source's tracks.

    The group is the exposure, whose tracks share noise and hot columns. A ready-cut cluster is a
    group of its own, because its exposure is not available.

    Args:
      source: from `survey`.
      options: the user's.

    Returns:
      One example a track, [side, side, 1] float32 in ADU, the threshold outside the track. Its
      metadata has brightest pixel and box in px of the whole exposure, -1 for a cluster's place,
      and how often its image was halved to fit. The row of an exposure counts tracks, labels, and
      labels without a track.

    Raises:
      UserError: a file cannot be read, labels contradict each other, or tracks cover the exposure.
    """
    if isinstance(source.about, ClusterBatch):
        return Reading([_of_cluster(cluster, source, options) for cluster in source.about.clusters])
    image = fits_io.read(source.path, options)
    threshold = options.threshold or segmentation.background_threshold(image, sigmas=options.sigmas)
    tracks = segmentation.find(image, threshold=threshold, min_px=options.min_px)
    segmentation.check_coverage(image, tracks, threshold=threshold, name=source.name)
    if not len(tracks.number):
        LOG.warning(
            "%s has no tracks: %s.",
            source.name,
            segmentation.explain_none(image, threshold=threshold, min_px=options.min_px),
        )
    corner = corner_of(options)
    labels, unmatched = label_table.match(tracks, list(source.about.labels), corner=corner)
    if unmatched:
        LOG.warning(
            "%d labels of %s match no track of %d px or more above %g ADU: %s.",
            len(unmatched),
            source.name,
            options.min_px,
            threshold,
            ", ".join(unmatched[:5]),
        )
    squares = segmentation.squares(image, tracks, side=options.side, threshold=threshold)
    is_long = np.maximum(tracks.height, tracks.width) > options.side
    places = zip(
        (tracks.x + corner[1]).tolist(),
        (tracks.y + corner[0]).tolist(),
        (tracks.left + corner[1]).tolist(),
        (tracks.top + corner[0]).tolist(),
        tracks.height.tolist(),
        tracks.width.tolist(),
        tracks.pixels.tolist(),
        tracks.energy.tolist(),
        strict=True,
    )
    sizes = (tracks.height, tracks.width, tracks.pixels, tracks.energy)
    columns = np.column_stack([*sizes, tracks.shape]).astype(np.float32)
    examples = []
    for i, (label, place) in enumerate(zip(labels, places, strict=True)):
        square, halvings = squares[i, ..., None], 0
        if is_long[i]:
            crop = segmentation.crop(image, tracks, i, threshold=threshold)
            square, halvings = fit_to_square(crop, side=options.side, fill=threshold)
        values = (source.name, i, *place, halvings)
        examples.append(
            Example(
                key=f"{source.name}@{i:05d}",
                group=source.group,
                image=square,
                label=_class_index(label, source),
                columns=columns[i],
                metadata=dict(zip(METADATA, values, strict=True)),
            )
        )
    row = {
        "exposure": source.name,
        "height_px": image.shape[0],
        "width_px": image.shape[1],
        "threshold_adu": threshold,
        "unknown_px": int(np.count_nonzero(np.isnan(image))),
        "tracks": len(examples),
        "labelled": sum(1 for label in labels if label),
        "labels_without_track": len(unmatched),
    }
    return Reading(examples, row)


def fit_to_square(crop: np.ndarray, *, side: int, fill: float) -> tuple[np.ndarray, int]:
    """Returns a track in the middle of a square, and how often it was halved to fit.

    As in the appendix of Preuss et al. (seed document 001).

    Args:
      crop: [height, width] float32, `fill` outside the track.
      side: of the square, px.
      fill: pixel value around the track, the threshold.

    Returns:
      [side, side, 1] float32, and the number n of halvings. The sum of the track above `fill` is
      4 ** n times that of its image.
    """
    halvings = 0
    while max(crop.shape) > side:
        crop, halvings = _halved(crop, fill=fill), halvings + 1
    square = np.full((side, side, 1), fill, np.float32)
    top, left = (side - crop.shape[0]) // 2, (side - crop.shape[1]) // 2
    square[top : top + crop.shape[0], left : left + crop.shape[1], 0] = crop
    return square, halvings


def corner_of(options: CcdTracksOptions) -> tuple[int, int]:
    """Returns (row, column) of the section's first pixel in the whole exposure."""
    rows, columns = section_of(options)
    return rows.start or 0, columns.start or 0


def _of_cluster(
    cluster: cluster_files.Cluster, source: Source, options: CcdTracksOptions
) -> Example:
    """Returns a cluster's example: its energy is spread evenly over its pixels."""
    mask = cluster_files.read_mask(cluster.path)
    pixels = int(mask.sum())
    crop = np.where(mask, np.float32(cluster.energy / pixels), np.float32(options.threshold))
    square, halvings = fit_to_square(crop, side=options.side, fill=options.threshold)
    metadata = {
        "file": cluster.path.name,
        "index": 0,
        "x": -1,
        "y": -1,
        "left": -1,
        "top": -1,
        "height": mask.shape[0],
        "width": mask.shape[1],
        "pixels": pixels,
        "energy": cluster.energy,
    }
    rows, columns = np.nonzero(mask)
    shape = shape_features.measure(rows, columns, np.zeros(1, int))[0]
    return Example(
        key=cluster.name,
        group=source.group if len(source.about.clusters) == 1 else cluster.name,
        image=square,
        label=_class_index(cluster.label, source),
        columns=np.array([*mask.shape, pixels, cluster.energy, *shape], np.float32),
        metadata=metadata | {"halvings": halvings},
    )


def _class_index(label: str, source: Source) -> int:
    classes = source.about.classes
    return classes.index(label) if label in classes else -1


def _halved(crop: np.ndarray, *, fill: float) -> np.ndarray:
    """Returns the averages of 2 x 2 px; an odd side is first extended by `fill`."""
    height, width = ((length + 1) // 2 for length in crop.shape)
    even = np.full((2 * height, 2 * width), fill, np.float32)
    even[: crop.shape[0], : crop.shape[1]] = crop
    even = even.astype(np.float64)  # exact sums
    upper, lower = even[::2], even[1::2]
    return (upper[:, ::2] + upper[:, 1::2] + lower[:, ::2] + lower[:, 1::2]) / 4
