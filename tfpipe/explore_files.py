"""What an exploration leaves on the disk: tables, a figure, the page, and the parametric map."""

from pathlib import Path

import keras
import pandas as pd

from tfpipe import explore_page, files, map_plots, observations, parametric_map, tables
from tfpipe.findings import Findings
from tfpipe.subjects import Subject


def write(
    out: Path, known: Findings, *, mapped: keras.Model | None, found: list[Subject], seed: int
) -> list[Path]:
    """Writes all files of an exploration.

    Args:
      out: the folder.
      known: what was found.
      mapped: the parametric map, or None.
      found: the versions looked through.
      seed: of the choice of points that the page draws.

    Returns:
      map.csv (a row for each picture), queue.csv, explained.csv, trustworthiness.csv,
      leave_out.csv where a class was left out, map.png, map.keras and explore.html.

    Raises:
      UserError: if the folder cannot be written.
    """
    tested = pd.concat([known.of_clusters, known.of_scores, known.of_direction], ignore_index=True)
    named = {"map.csv": known.frame, "queue.csv": known.queue_table(), "explained.csv": tested}
    named["trustworthiness.csv"] = known.trust
    if len(known.benchmark):
        named["leave_out.csv"] = known.benchmark
    for name, table in named.items():
        tables.write_csv(table, out / name)
    files.replace(out / "map.png", map_plots.png(known))
    if mapped is not None:
        parametric_map.save(mapped, out / "map.keras")
    rows, queued = explore_page.shown_rows(known, seed=seed)
    remade = {}
    for one in found:
        if one.kind == "autoencoder":
            remade = observations.reconstructions(one.model, one.data, queued)
    pictures = observations.thumbnails(found[0].data, rows)
    explore_page.write(out / "explore.html", known, pictures=pictures, remade=remade)
    kept = ["map.keras"] if mapped is not None else []
    return [out / name for name in (*named, "map.png", *kept, "explore.html")]
