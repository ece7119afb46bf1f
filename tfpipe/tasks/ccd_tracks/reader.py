"""Reads the tracks of one exposure, or ready-cut clusters."""

import logging
from typing import Any, NamedTuple

import numpy as np

from tfpipe.tasks.ccd_tracks import (
    cluster_files,
    fits_io,
    label_table,
    resize,
    segmentation,
    shape_features,
)
from tfpipe.tasks.ccd_tracks.options import Options, section_of
from tfpipe.tasks.task import Example, Reading, Source

LOG = logging.getLogger("tfpipe")
# Seed 001, "Meta data", and what tells its classes better.
COLUMNS = ("height_px", "width_px", "pixels", "energy_adu", *shape_features.NAMES)
METADATA = {
    **{"file": "str", "index": "int64", "x": "int64", "y": "int64"},
    **{"left": "int64", "top": "int64", "height": "int64", "width": "int64", "pixels": "int64"},
    **{"energy": "float64", "halvings": "int64"},
}


class Marked(NamedTuple):
    """What the table says of an exposure, and the classes in label order: `Source.about`."""

    marks: tuple[label_table.Mark, ...] = ()
    classes: tuple[str, ...] = ()


class Clusters(NamedTuple):
    """Ready-cut clusters that are read at once, and the classes in label order: `Source.about`."""

    clusters: tuple[cluster_files.Cluster, ...]
    classes: tuple[str, ...] = ()


def read(source: Source, options: Options) -> Reading:
    """Reads a source's tracks.

    The group is the exposure, whose tracks share noise and hot columns; for ready-cut clusters,
    whose exposures nobody has kept, it is the cluster.

    Args:
      source: as `survey` found it.
      options: the user's.

    Returns:
      One example a track, [side, side, 1] float32 in ADU, the threshold where the track is not. Its
      metadata has brightest pixel and box in px of the whole exposure, -1 for a cluster's place,
      and how often its picture was halved to fit. An exposure's row of the table says how many
      tracks and labels it has, and how many labels are said of no track.

    Raises:
      UserError: a file cannot be read, labels contradict each other, or tracks cover the exposure.
    """
    if isinstance(source.about, Clusters):
        return Reading([_of_cluster(one, source, options) for one in source.about.clusters])
    image = fits_io.read(source.path, options)
    threshold, found = _tracks(image, source, options)
    corner = corner_of(options)
    written, missed = label_table.of_tracks(found, list(source.about.marks), corner=corner)
    if missed:
        LOG.warning(
            "%d labels of %s are said of no track of %d px or more above %g ADU: %s.",
            *(len(missed), source.name, options.min_px, threshold, ", ".join(missed[:5])),
        )
    examples = []
    for i, label in enumerate(written):
        metadata = {
            **{"file": source.name, "index": i},
            **{"x": int(found.x[i]) + corner[1], "y": int(found.y[i]) + corner[0]},
            **{"left": int(found.left[i]) + corner[1], "top": int(found.top[i]) + corner[0]},
            **{"height": int(found.height[i]), "width": int(found.width[i])},
            **{"pixels": int(found.pixels[i]), "energy": float(found.energy[i])},
        }
        said = {"key": f"{source.name}@{i:05d}", "group": source.group}
        said |= {"label": _number(label, source), "shape": found.shape[i]}
        crop = segmentation.crop(image, found, i, threshold=threshold)
        examples.append(_example(crop, metadata, side=options.side, threshold=threshold, said=said))
    row = {
        "exposure": source.name,
        **{"height_px": image.shape[0], "width_px": image.shape[1]},
        **{"threshold_adu": threshold, "unknown_px": int(np.isnan(image).sum())},
        **{"tracks": len(examples), "labelled": len([label for label in written if label])},
        "labels_of_no_track": len(missed),
    }
    return Reading(examples, row)


def corner_of(options: Options) -> tuple[int, int]:
    """Returns (row, column) of the section's first pixel in the whole exposure."""
    rows, columns = section_of(options)
    return rows.start or 0, columns.start or 0


def _tracks(
    image: np.ndarray, source: Source, options: Options
) -> tuple[float, segmentation.Tracks]:
    threshold = options.threshold or segmentation.threshold_of(image, sigmas=options.sigmas)
    found = segmentation.find(image, threshold=threshold, min_px=options.min_px)
    segmentation.refuse_flooded(image, found, threshold=threshold, name=source.name)
    return threshold, found


def _of_cluster(one: cluster_files.Cluster, source: Source, options: Options) -> Example:
    """Returns a cluster's example: its energy is spread evenly over its pixels."""
    is_track = cluster_files.matrix(one.path)
    pixels = int(is_track.sum())
    crop = np.where(is_track, np.float32(one.energy / pixels), np.float32(options.threshold))
    metadata = {
        **{"file": one.path.name, "index": 0, "x": -1, "y": -1, "left": -1, "top": -1},
        **{"height": is_track.shape[0], "width": is_track.shape[1]},
        **{"pixels": pixels, "energy": one.energy},
    }
    form = shape_features.measured(*np.nonzero(is_track), np.zeros(1, int))[0]
    said = {"key": one.name, "group": one.name, "label": _number(one.label, source), "shape": form}
    return _example(crop, metadata, side=options.side, threshold=options.threshold, said=said)


def _number(label: str, source: Source) -> int:
    classes = source.about.classes
    return classes.index(label) if label in classes else -1


def _example(
    crop: np.ndarray,
    metadata: dict[str, Any],
    *,
    side: int,
    threshold: float,
    said: dict[str, Any],
) -> Example:
    """Returns the example of a crop [height, width]; `said` are key, group, label and shape."""
    image, halvings = resize.framed(crop, side=side, fill=threshold)
    columns = [metadata[name] for name in ("height", "width", "pixels", "energy")]
    columns += said.pop("shape").tolist()
    metadata = metadata | {"halvings": halvings}
    return Example(image=image, columns=np.array(columns, np.float32), metadata=metadata, **said)
