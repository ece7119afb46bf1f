"""How much of the clusters is direction: as pictures are, and when all lie the same way."""

import numpy as np
import pandas as pd

from tfpipe import directions, maps, observations
from tfpipe.subjects import Subject

AS_THEY_ARE, LEVEL = "as they are", "lying the same way"


def told(
    clusters: np.ndarray,
    axes: np.ndarray,
    levelled: Subject | None,
    *,
    train: np.ndarray,
    seed: int,
) -> pd.DataFrame:
    """Returns `directions.explained` of clusters, and "shown": how the pictures were.

    Args:
      clusters: [n] int.
      axes: [n, 3] float, by `directions.axes`, of the pictures as they are.
      levelled: the version whose clusters these are, where it was shown level pictures; it is then
        shown them as they are, and told what the clusters would have been. None where it was not.
      train: [n] bool, whose map the others are placed on.
      seed: of maps and tests.
    """
    found = directions.Axes(*axes.T)
    table = directions.explained(clusters, found, seed=seed)
    if levelled is None:
        return table.assign(shown=AS_THEY_ARE)
    seen = observations.seen(levelled.model, levelled.data)
    mapper = maps.fit(seen.embedding[train], seed=seed)
    before = maps.clusters(maps.placed(mapper, seen.embedding))
    before = directions.explained(before, found, seed=seed).assign(shown=AS_THEY_ARE)
    return pd.concat([before, table.assign(shown=LEVEL)], ignore_index=True)
