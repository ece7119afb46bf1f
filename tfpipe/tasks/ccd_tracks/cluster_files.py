"""Ready-cut clusters as seed 001 kept them: a matrix of 0 and 1 each, and what is known of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks.options import Options

FOLDER, TABLE = "clusters", "labels.csv"
MOST_BYTES = 64 * 2**20  # of a matrix; one of 4000 x 4000 px has 32 MB


class Cluster(NamedTuple):
    """One ready-cut cluster.

    Attributes:
      path: of its matrix.
      name: its id.
      label: its class as written; "" where nobody has labelled it.
      energy: summed pixels of the exposure in ADU; NaN where it is not known.
    """

    path: Path
    name: str
    label: str = ""
    energy: float = np.nan


def listed(folder: Path) -> tuple[list[Cluster], list[str]]:
    """Returns the clusters of a folder by name, with what its table says of them, and notes.

    Args:
      folder: holds clusters/<id>.csv and perhaps labels.csv (id, label, energy_adu).

    Raises:
      UserError: naming file and line, where the table contradicts itself or names no file.
    """
    inside = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    paths = {
        path.stem: path
        for path in sorted(inside.glob("*.csv"))
        if path.name != TABLE and not path.name.startswith(".")
    }
    if not paths:
        raise UserError(
            f"{files.shown(inside)} holds no cluster, expected matrices called <id>.csv."
        )
    if not (folder / TABLE).is_file():
        return [Cluster(path, name) for name, path in paths.items()], []
    table = tables.read(folder / TABLE)
    names, labels = table.frame[table.need("id")], table.frame[table.need("label")]
    energy = table.column("energy adu", "energy")
    energies = table.numbers(energy, missing_ok=True) if energy else np.full(len(names), np.nan)
    known = {}
    for row, name in enumerate(names):
        if name not in paths:
            raise UserError(
                f"{table.where(row)}: there is no {FOLDER}/{files.shown(name)}.csv. Put the matrix "
                "there, or remove the row."
            )
        if name in known:
            raise UserError(f"{table.where(row)}: cluster {name} stands twice. Remove one row.")
        known[name] = Cluster(paths[name], name, labels.iloc[row], energies[row])
    notes = [] if energy else [f"{TABLE} has no column energy_adu, so no energy is known."]
    loose = [name for name in paths if name not in known]
    if loose:
        notes.append(f"{len(loose)} clusters are not in {TABLE}, so they are unlabelled.")
    return [known.get(name) or Cluster(path, name) for name, path in paths.items()], notes


def matrix(path: Path) -> np.ndarray:
    """Returns which pixels of a cluster's box are its own, [height, width] bool.

    Raises:
      UserError: it is no matrix of 0 and 1, or has no 1.
    """
    name, expected = files.shown(path.name), "a matrix of 0 and 1 with commas"
    data = files.contents(path, expected=expected)
    if len(data) > MOST_BYTES:
        raise UserError(f"{name} has {len(data):,} bytes, too many for a cluster. Remove it.")
    rows = [line.split(",") for line in data.decode("ascii", "replace").split()]
    for number, row in enumerate(rows, start=1):
        wrong = [cell for cell in row if cell not in ("0", "1", "0.0", "1.0")]
        if wrong or len(row) != len(rows[0]):
            came = f"the cell {wrong[0][:20]!r}" if wrong else f"{len(row)} cells"
            more = "" if wrong else f" of {len(rows[0])} cells a row"
            raise UserError(
                f"{name} line {number}: there is {came}, expected {expected}{more}. Cut the "
                "cluster again, or remove it."
            )
    whole = np.array(rows, np.float32) > 0 if rows else np.zeros((0, 0), bool)
    own = [np.flatnonzero(whole.any(axis=axis)) for axis in (1, 0)]
    if not len(own[0]):
        raise UserError(f"{name} has no pixel that is 1, expected a cluster. Remove it.")
    return whole[own[0][0] : own[0][-1] + 1, own[1][0] : own[1][-1] + 1]


def with_energies(clusters: list[Cluster], options: Options) -> tuple[list[Cluster], list[str]]:
    """Returns clusters that all have an energy, and a note on those that had none.

    A cluster of pixels above the threshold has at least the threshold times their number; less is a
    mistake of the table. What is not known is the folder's median per pixel, so that it tells
    nothing, times the pixels.
    """
    pixels = np.array([matrix(cluster.path).sum() for cluster in clusters])
    energy = np.array([cluster.energy for cluster in clusters])
    with np.errstate(invalid="ignore"):
        is_known = (energy > 0) & (energy >= options.threshold * pixels)
    each = np.median(energy[is_known] / pixels[is_known]) if is_known.any() else np.nan
    each = each if np.isfinite(each) else max(options.threshold, 1.0)
    filled = np.where(is_known, energy, each * pixels)
    notes = []
    if not is_known.all():
        names = [c.name for c, one in zip(clusters, is_known, strict=True) if not one]
        notes.append(
            f"{len(names)} clusters have no energy, or less than the threshold in each pixel, and "
            f"get {each:.0f} ADU a pixel, what is usual here: {', '.join(names[:12])}"
            f"{f' and {len(names) - 12} more' if len(names) > 12 else ''}."
        )
    given = zip(clusters, filled, strict=True)
    return [cluster._replace(energy=float(one)) for cluster, one in given], notes
