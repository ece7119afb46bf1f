"""Prediction of new raw files of any task, whether it predicts whole files or single images."""

from pathlib import Path

import pandas as pd

from tfpipe.base import tables
from tfpipe.base.errors import UserError
from tfpipe.inference import files as whole_files
from tfpipe.inference import images
from tfpipe.inference.confidence import PredictionOptions
from tfpipe.inference.request import PredictionRequest, PredictionResult

SKIPPED = "skipped.csv"  # table of the files that could not be predicted, with the reason of each


def predict(
    request: PredictionRequest,
    *,
    windows: Path | None = None,
    inference_mode: str | None = None,
    prediction_options: PredictionOptions = images.DEFAULT_OPTIONS,
) -> PredictionResult:
    """Predicts new raw files as `files.predict` or `images.predict` does, whichever the task needs.

    Files that cannot be predicted are also in skipped.csv, in the folder beside the table.

    Args:
      request: the files, the version, the table to write.
      windows: a second table, of every window; for tasks that predict whole files.
      inference_mode: for tasks that slide a window; None for the card's.
      prediction_options: for tasks that predict single images.

    Raises:
      UserError: as those two functions.
    """
    if request.task.whole_file:
        if prediction_options.min_sharpness:
            raise UserError(
                f"{request.task.name} predicts whole files, which have no one sharpness. Leave out "
                "--min-sharpness; the table of --windows has that of each window."
            )
        result = whole_files.predict(request, windows=windows, inference_mode=inference_mode)
    else:
        result = images.predict(request, prediction_options=prediction_options)
    skipped = request.out.with_suffix("") / SKIPPED
    if result.bad:
        frame = pd.DataFrame({"file": list(result.bad), "reason": list(result.bad.values())})
        tables.write_csv(frame, skipped)
    else:
        skipped.unlink(missing_ok=True)  # of an earlier run
    return result
