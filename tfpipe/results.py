"""Results of a project's work: records, comparisons, explorations, inspections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from tfpipe.data.manifest import RecordManifest
    from tfpipe.review.inspection_report import InspectionResult
    from tfpipe.version import Version


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


@dataclass(frozen=True)
class Inspection:
    """New images that were drawn by predicted class, for people to judge without the predictions.

    Attributes:
      path: folder of the drawn images, the predictions, the answers and the report.
      version: the version that predicted them.
    """

    path: Path
    version: Version

    @property
    def sample(self) -> pd.DataFrame:
        """A row for each drawn image, in the order of the page: image, key, group."""
        return self._folder.sample

    def serve(
        self,
        *,
        judge: str | None = None,
        port: int = 8502,
        started: Callable[[dict[str, Any]], None] = lambda page: None,
    ) -> None:
        """Serves the page to one judge until it is interrupted.

        Args:
          judge: name of the judge, whose answers have a file of their own; None for the user's.
          port: port to listen on; 0 for any free one.
          started: called with the page's address once it can be opened.
        """
        from tfpipe.review import run

        run.inspect(self._folder, judge=judge, port=port, started=started)

    def report(self) -> InspectionReport:
        """Writes the report of all answers so far.

        Raises:
          UserError: nobody has answered yet.
        """
        from tfpipe.review import inspection_report

        folder = self._folder
        result = inspection_report.evaluate(folder, self.version.path, self.version.card)
        return InspectionReport(inspection_report.write(folder, result), result)

    @property
    def _folder(self) -> Any:
        from tfpipe.review import inspection_sample

        return inspection_sample.open_folder(self.path)


@dataclass(frozen=True)
class InspectionReport:
    """What people's answers say of a version's predictions of new images.

    Attributes:
      path: the page, inspection.html; its tables are beside it as CSV.
      result: agreement, precision of each class, corrected counts, and kappa of judges, as tables
        with intervals; the sentences and notes of the page.
    """

    path: Path
    result: InspectionResult
