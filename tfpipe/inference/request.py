"""What a prediction run is asked for, and what it did."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.inference import sources
from tfpipe.inference.sources import SourceRunner
from tfpipe.registry import load
from tfpipe.registry.load import SavedPredictor
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Source, Survey, Task


@dataclass(frozen=True)
class PredictionRequest:
    """New raw files of a task, to be predicted into one table.

    Attributes:
      task: what to predict.
      version: folder of a saved version.
      paths: raw files, or folders of them.
      out: the table of predictions; images go to the folder beside it with the same stem.
      table: metadata of the files, such as photos.csv.
      settings: task options as name=value, over those that the version was trained with.
      predictor: the version where it is loaded already; None to load it.
      run: predicts the files, by default in this process; see `beam_predict`.
      report: receives the stage "predict" with the files done, and within a long image with the
        share of it.
    """

    task: Task
    version: Path
    paths: list[Path]
    out: Path
    table: Path | None = None
    settings: tuple[str, ...] = ()
    predictor: SavedPredictor | None = None
    run: SourceRunner = sources.predict_here
    report: Reporter = silent

    def open_predictor(self, kinds: tuple[str, ...]) -> SavedPredictor:
        """Returns the version, ready to predict.

        Raises:
          UserError: it is not of one of these kinds, or cannot be loaded.
        """
        load.check_kind(self.version, kinds=kinds)
        return self.predictor or load.open_version(self.version)

    def survey(self, trained: dict[str, Any]) -> tuple[Any, Survey]:
        """Returns the options that the files are read with, and the survey of the files.

        Args:
          trained: options that the version was trained with.

        Raises:
          UserError: a setting, a path or the table is wrong, two files have the same name, or
            images would be written among the files.
        """
        before = [f"{name}={value}" for name, value in trained.items()]
        options = parse_options(self.task, [*before, *self.settings])
        survey = self.task.survey_new(self.paths, self.table, options)
        # Results, rows and overlays of files are told apart by these names.
        first: dict[str, Source] = {}
        beside = self.out.with_suffix("")
        for source in survey.sources:
            if beside.resolve() in source.path.resolve().parents:
                raise UserError(
                    f"Images would be written into {files.shown(beside)}, where the files to "
                    f"predict are, and be predicted by the next run. Give the table another name "
                    f"by --out, such as {files.shown(beside.name)}-predicted{self.out.suffix}."
                )
            other = first.setdefault(source.name, source)
            if other is not source:
                raise UserError(
                    f"Two files are called {source.name} ({files.shown(other.path)} and "
                    f"{files.shown(source.path)}). Rename one, or predict them one run after the "
                    "other."
                )
        return options, survey


class PredictionResult(NamedTuple):
    """What a prediction run did.

    Attributes:
      rows: rows written to the table.
      files: raw files predicted.
      bad: raw file -> why it could not be predicted.
      notes: sentences about the run.
      overlays: image files written.
      summary: further numbers of the run, as JSON has them.
    """

    rows: int
    files: int
    bad: dict[str, str]
    notes: tuple[str, ...]
    overlays: list[Path]
    summary: dict[str, Any]
