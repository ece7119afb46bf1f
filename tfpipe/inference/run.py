"""Prediction of new raw files of any task, whether it predicts whole files or single images."""

from pathlib import Path

from tfpipe.base.progress import Reporter, silent
from tfpipe.inference import files as whole_files
from tfpipe.inference import images
from tfpipe.inference.confidence import PredictionOptions
from tfpipe.inference.files import PredictionResult
from tfpipe.registry.load import SavedPredictor
from tfpipe.tasks.task import Task


def predict(
    task: Task,
    version: Path,
    paths: list[Path],
    *,
    out: Path,
    table: Path | None = None,
    windows: Path | None = None,
    inference_mode: str | None = None,
    prediction_options: PredictionOptions = images.DEFAULT_OPTIONS,
    settings: tuple[str, ...] = (),
    predictor: SavedPredictor | None = None,
    report: Reporter = silent,
) -> PredictionResult:
    """Predicts new raw files as `files.predict` or `images.predict` does, whichever the task needs.

    Args:
      task: what to predict.
      version: folder of a saved version.
      paths: raw files, or folders of them.
      out: the table of predictions.
      table: metadata of the files.
      windows: a second table, of every window; for tasks that predict whole files.
      inference_mode: for tasks that slide a window; None for the card's.
      prediction_options: for tasks that predict single images.
      settings: task options as name=value, over those that the version was trained with.
      predictor: the version where it is loaded already; None to load it.
      report: receives the stage "predict" with the files done.

    Raises:
      UserError: as those two functions.
    """
    if task.whole_file:
        return whole_files.predict(
            task,
            version,
            paths,
            out=out,
            table=table,
            windows=windows,
            inference_mode=inference_mode,
            settings=settings,
            predictor=predictor,
            report=report,
        )
    return images.predict(
        task,
        version,
        paths,
        out=out,
        table=table,
        prediction_options=prediction_options,
        settings=settings,
        predictor=predictor,
        report=report,
    )
