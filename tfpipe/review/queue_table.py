"""Queue of a review as a table with images, for FiftyOne, cleanlab and spreadsheets."""

import re
from pathlib import Path

from tfpipe.base import files, images, tables
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, counter
from tfpipe.explore import embeddings
from tfpipe.review.background import ScoreImages
from tfpipe.review.image_queue import ImageQueue
from tfpipe.review.photo_queue import PhotoQueue


def write(
    queue: ImageQueue | PhotoQueue, score_all: ScoreImages | None, path: Path, *, report: Reporter
) -> int:
    """Writes the queue, the most helpful image first, and its images to the folder beside it.

    Args:
      queue: the queue.
      score_all: scores all images for its order; None if that is done.
      path: the .csv to write. `filepath` is relative to its folder.
      report: receives the stage "embed" with the images scored.

    Returns:
      The number of images.

    Raises:
      UserError: the queue is of whole photos, or the table or an image cannot be written.
    """
    if isinstance(queue, PhotoQueue):
        raise UserError(
            "This task is reviewed in whole photos, which no table of images holds. Write its "
            "labels by `tfpipe labels TASK --to label-studio` or `--to cvat`."
        )
    if path.suffix != ".csv":
        raise UserError(
            f"{files.shown(path)} does not end in .csv. Name the table such as queue.csv."
        )
    if score_all:
        progress = counter(report, "embed")
        queue.rank(score_all(progress))
    table = queue.table()
    folder = path.with_suffix("")
    names = {
        row: f"{rank:05d}-{re.sub('[^0-9A-Za-z._-]+', '_', key)[-100:]}.png"
        for row, rank, key in zip(table.index, table["rank"], table["key"], strict=True)
    }
    with files.writing_to(folder, option="--queue"):
        folder.mkdir(parents=True, exist_ok=True)
        for row, image in embeddings.images_of(queue.data, table.index.tolist()):
            images.write_png(images.to_display(image), folder / names[row])
    table.insert(0, "filepath", [f"{folder.name}/{names[row]}" for row in table.index])
    tables.write_csv(table, path)
    return len(table)
