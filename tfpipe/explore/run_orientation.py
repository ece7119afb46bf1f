"""How much of the clusters is direction: as pictures are, and when all lie the same way."""

import numpy as np
import pandas as pd

from tfpipe.explore import embeddings, orientation, umap
from tfpipe.explore.versions import Subject

AS_THEY_ARE, LEVEL = "as they are", "lying the same way"


def told(
    clusters: np.ndarray,
    axes: np.ndarray,
    levelled: Subject | None,
    *,
    train: np.ndarray,
    seed: int,
) -> pd.DataFrame:
    """Returns `orientation.explained` of clusters, and "shown": how the pictures were.

    Args:
      clusters: [n] int.
      axes: [n, 3] float, by `orientation.axes`, of the pictures as they are.
      levelled: the version whose clusters these are, where it was shown level pictures; it is then
        shown them as they are, and told what the clusters would have been. None where it was not.
      train: [n] bool, whose map the others are placed on.
      seed: of maps and tests.
    """
    found = orientation.Axes(*axes.T)
    table = orientation.explained(clusters, found, seed=seed)
    if levelled is None:
        return table.assign(shown=AS_THEY_ARE)
    seen = embeddings.seen(levelled.model, levelled.data)
    mapper = umap.fit(seen.embedding[train], seed=seed)
    before = umap.clusters(umap.placed(mapper, seen.embedding))
    before = orientation.explained(before, found, seed=seed).assign(shown=AS_THEY_ARE)
    return pd.concat([before, table.assign(shown=LEVEL)], ignore_index=True)
