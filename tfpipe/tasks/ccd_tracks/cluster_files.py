"""Files of ready-cut clusters: a matrix of 0 and 1 for each, and a table of labels and energies.

The format is that of Preuss et al. (seed document 001).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpipe.base import files, problems, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks.options import CcdTracksOptions

FOLDER, TABLE = "clusters", "labels.csv"
CLUSTER_COLUMNS = (("id",), ("label",))
MAX_BYTES = 64 * 2**20  # of a matrix; 4000 x 4000 px take 32 MB


class Cluster(NamedTuple):
    """One ready-cut cluster.

    Attributes:
      path: the file of its matrix.
      name: its id.
      label: its class as written; "" if it is unlabelled.
      energy: summed pixels of the exposure in ADU; NaN if it is missing.
    """

    path: Path
    name: str
    label: str = ""
    energy: float = np.nan


def find_table(folder: Path, columns: tuple[tuple[str, ...], ...]) -> Path | None:
    """Returns labels.csv of a folder, else the table of any name that has the columns, or None.

    Raises:
      UserError: there are several, and none is labels.csv.
    """
    if (folder / TABLE).is_file():
        return folder / TABLE
    return tables.find(folder, *columns, noun="table of labels", but=("truth", "decisions"))


def list_clusters(folder: Path) -> tuple[list[Cluster], list[str]]:
    """Returns the clusters of a folder by name, with label and energy from its table; and notes.

    Args:
      folder: holds clusters/<id>.csv and perhaps labels.csv (id, label, energy_adu).

    Raises:
      UserError: naming file and line, where the table contradicts itself or a file is missing.
    """
    matrices = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    paths = {
        path.stem: path
        for path in sorted(matrices.glob("*.csv"))
        if path.name != TABLE and not path.name.startswith(".")
    }
    if not paths:
        raise UserError(
            f"{files.shown(matrices)} holds no cluster, expected matrices called <id>.csv. "
            "Give the folder that has them."
        )
    label_path = folder / TABLE
    if matrices != folder:
        label_path = find_table(folder, CLUSTER_COLUMNS) or label_path
    if not label_path.is_file():
        return [Cluster(path, name) for name, path in paths.items()], []
    table = tables.read(label_path, *CLUSTER_COLUMNS)
    names, labels = table.frame[table.need("id")], table.frame[table.need("label")]
    energy = table.column("energy adu", "energy")
    energies = table.numbers(energy, missing_ok=True) if energy else np.full(len(names), np.nan)
    clusters: dict[str, Cluster] = {}
    for row, name in enumerate(names):
        if name not in paths:
            problems.add(
                f"{table.where(row)}: there is no {FOLDER}/{files.shown(name)}.csv. Put the matrix "
                "there, or remove the row."
            )
            continue
        if name in clusters:
            problems.add(
                f"{table.where(row)}: cluster {name} is already in the table, expected each once. "
                "Remove one of the rows."
            )
        clusters[name] = Cluster(paths[name], name, labels.iloc[row], energies[row])
    notes = [] if label_path.name == TABLE else [f"Labels are from {table.source}."]
    if not energy:
        notes.append(f"{table.name} has no column energy_adu, so energies are missing.")
    unlisted = [name for name in paths if name not in clusters]
    if unlisted:
        notes.append(f"{len(unlisted)} clusters are not in {table.name}, so they are unlabelled.")
    return [clusters.get(name) or Cluster(path, name) for name, path in paths.items()], notes


def read_mask(path: Path) -> np.ndarray:
    """Returns the mask of a cluster in its box, [height, width] bool.

    Raises:
      UserError: the file is no matrix of 0 and 1, or has no 1.
    """
    name, expected = files.shown(path.name), "a matrix of 0 and 1 with commas"
    data = files.contents(path, expected=expected)
    if len(data) > MAX_BYTES:
        raise UserError(
            f"{name} has {len(data):,} bytes, expected at most {MAX_BYTES:,} for a "
            "cluster. Remove it."
        )
    rows = [line.split(",") for line in data.decode("ascii", "replace").split()]
    for number, row in enumerate(rows, start=1):
        wrong = [cell for cell in row if cell not in ("0", "1", "0.0", "1.0")]
        if wrong or len(row) != len(rows[0]):
            problem = f"the cell {wrong[0][:20]!r}" if wrong else f"{len(row)} cells"
            width = "" if wrong else f" of {len(rows[0])} cells a row"
            raise UserError(
                f"{name} line {number}: there is {problem}, expected {expected}{width}. Cut the "
                "cluster again, or remove it."
            )
    mask = np.array(rows, np.float32) > 0 if rows else np.zeros((0, 0), bool)
    inside = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    if not len(inside[0]):
        raise UserError(f"{name} has no pixel that is 1, expected a cluster. Remove it.")
    return mask[inside[0][0] : inside[0][-1] + 1, inside[1][0] : inside[1][-1] + 1]


def fill_energies(
    clusters: list[Cluster], options: CcdTracksOptions
) -> tuple[list[Cluster], float, list[str]]:
    """Returns clusters that all have an energy, the energy per pixel of those that had none; notes.

    A cluster has at least the threshold in each pixel; a smaller energy is a mistake in the table.
    A missing energy becomes that energy per pixel times the pixels, which carries no information
    about the class: `options.adu_per_px`, or the median of these clusters where that is 0.
    """
    pixels = np.array([read_mask(cluster.path).sum() for cluster in clusters])
    energy = np.array([cluster.energy for cluster in clusters])
    with np.errstate(invalid="ignore"):
        is_valid = (energy > 0) & (energy >= options.threshold * pixels)
    adu_per_px = options.adu_per_px or max(options.threshold, 1.0)
    source = "option adu_per_px" if options.adu_per_px else "the threshold, as no cluster has one"
    if is_valid.any() and not options.adu_per_px:
        adu_per_px = float(np.median(energy[is_valid] / pixels[is_valid]))
        source = "the median of the others"
    filled = np.where(is_valid, energy, adu_per_px * pixels)
    notes = []
    if not is_valid.all():
        names = [
            cluster.name for cluster, valid in zip(clusters, is_valid, strict=True) if not valid
        ]
        notes.append(
            f"{len(names)} clusters have no energy, or less than the threshold in each pixel, and "
            f"get {adu_per_px:.0f} ADU a pixel, {source}: {', '.join(names[:12])}"
            f"{f' and {len(names) - 12} more' if len(names) > 12 else ''}."
        )
    pairs = zip(clusters, filled, strict=True)
    return [cluster._replace(energy=float(value)) for cluster, value in pairs], adu_per_px, notes
