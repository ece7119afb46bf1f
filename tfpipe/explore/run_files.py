"""What an exploration leaves on the disk: tables, a figure, the page, and the parametric map."""

from pathlib import Path

import keras
import pandas as pd

from tfpipe.base import files, tables
from tfpipe.explore import embeddings, page, parametric_umap
from tfpipe.explore.result import Findings
from tfpipe.explore.versions import Subject


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
    files.replace(out / "map.png", page.map_png(known))
    if mapped is not None:
        parametric_umap.save(mapped, out / "map.keras")
    rows, queued = page.shown_rows(known, seed=seed)
    remade = {}
    for one in found:
        if one.kind == "autoencoder":
            remade = embeddings.reconstructions(one.model, one.data, queued)
    thumbnails = embeddings.thumbnails(found[0].data, rows)
    page.write(out / "explore.html", known, thumbnails=thumbnails, reconstructions=remade)
    kept = ["map.keras"] if mapped is not None else []
    return [out / name for name in (*named, "map.png", *kept, "explore.html")]
