"""Results of a project's work: records, comparisons, explorations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from tfpipe.data.manifest import RecordManifest


@dataclass(frozen=True)
class Records:
    """A task's packed records.

    Attributes:
      path: their folder; it opens with `tfds.builder_from_directory`, too.
      manifest: what they hold: classes, counts, splits, notes, fingerprint.
    """

    path: Path
    manifest: RecordManifest

    @property
    def fingerprint(self) -> str:
        """Hash of the raw files, options and split that the records were made from."""
        return self.manifest.fingerprint

    def _repr_html_(self) -> str:
        import pandas as pd

        return pd.DataFrame(self.manifest.counts).to_html()


@dataclass(frozen=True)
class Comparison:
    """Models side by side.

    Attributes:
      table: a row for each model: mean metrics, their deviations, seconds, megabytes.
      folds: a row for each model and fold, or split.
      path: folder of comparison.csv and comparison.png.
      metrics: names of the metrics in the table.
    """

    table: pd.DataFrame
    folds: pd.DataFrame
    path: Path
    metrics: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        return self.table.to_html()


@dataclass(frozen=True)
class Exploration:
    """What an exploration wrote.

    Attributes:
      path: the page, explore.html; of new images by their embeddings map.csv.
      summary: numbers of images, clusters and queued images, the score that ranks the queue, notes.
    """

    path: Path
    summary: Mapping[str, Any]

    @property
    def map(self) -> pd.DataFrame:
        """A row for each image: place on the map, cluster, novelty scores."""
        import pandas as pd

        return pd.read_csv(self.path.with_name("map.csv"))

    @property
    def queue(self) -> pd.DataFrame:
        """The images to look at first."""
        import pandas as pd

        return pd.read_csv(self.path.with_name("queue.csv"))
