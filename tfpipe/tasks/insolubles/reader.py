"""Reader of insolubles: the particles of one collage, or of one batch of images, as examples."""

from collections.abc import Iterator

import cv2
import numpy as np

from tfpipe.base import files
from tfpipe.base import images as base_images
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles.options import InsolublesOptions
from tfpipe.tasks.task import Example, Reading, Source

METADATA = {
    "run": "str",
    "file": "str",
    "particle": "str",
    "um_per_px": "float64",
    "image_x": "int64",
    "image_y": "int64",
    "image_w": "int64",
    "image_h": "int64",
    "status": "str",
}


def read(source: Source, options: InsolublesOptions) -> Reading:
    """Reads a source's particles.

    The group is the run, because its particles share light, focus, dilution and operator. With one
    run only, `survey` uses the collage instead, and says so in a note.

    Args:
      source: from `survey`.
      options: the user's.

    Returns:
      One example a particle, [side, side, 3] uint8. Its metadata has the box in px of the file, and
      the µm per px of the example's image, which is larger than the file's if the image was shrunk.

    Raises:
      UserError: a file cannot be decoded, or a particle is outside its collage.
    """
    batch = source.about
    examples = []
    for i, (row, image) in enumerate(_images(source, options)):
        height, width = image.shape[:2]
        square, scale = letterbox(image, side=options.side, bits=options.bits)
        metadata = {
            "run": row.run,
            "file": row.file,
            "particle": row.particle,
            "um_per_px": float(row.um_per_px) / scale,
            "image_x": int(row.x),
            "image_y": int(row.y),
            "image_w": width,
            "image_h": height,
            "status": row.status,
        }
        examples.append(
            Example(
                key=row.key,
                group=source.group,
                image=square,
                label=int(batch.labels[i]),
                columns=batch.columns[i],
                metadata=metadata,
            )
        )
    return Reading(examples)


def letterbox(image: np.ndarray, *, side: int, bits: int = 0) -> tuple[np.ndarray, float]:
    """Returns an image in the middle of a square of its own background, and its scale.

    It is not stretched, because size is information.

    Args:
      image: [height, width] or [height, width, 3], uint8 or uint16, at least 1 x 1.
      side: of the square, px.
      bits: of the camera, see `images.to_uint8`.

    Returns:
      [side, side, 3] uint8 RGB, grey images with three equal channels; and the scale: 1 if the
      image fits, else less, the same for height and width (each at least 1 px).
    """
    image = base_images.to_rgb(base_images.to_uint8(image, bits=bits))
    # Taken before shrinking, which mixes the border with what is inside.
    border = np.sort(np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]), axis=0)
    half = len(border) // 2  # of an even number; `np.median` takes three times as long
    background = np.rint(border[half - 1 : half + 1].mean(axis=0)).astype(np.uint8)
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    if scale < 1:
        height, width = (max(1, round(length * scale)) for length in (height, width))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    square = np.empty((side, side, 3), np.uint8)
    square[0] = background
    square[1:] = square[0]  # row by row: pixel by pixel takes five times as long
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square, scale


def _images(source: Source, options: InsolublesOptions) -> Iterator[tuple]:
    """Yields (row of the table, image) of each particle."""
    rows = list(source.about.rows.itertuples(index=False))
    if rows[0].width:
        collage = base_images.to_uint8(base_images.read(source.path), bits=options.bits)
        for row in rows:
            yield row, _cut(collage, row, source)
    else:
        for row, path in zip(rows, (source.path, *source.also), strict=True):
            yield row, base_images.read(path)


def _cut(collage: np.ndarray, row, source: Source) -> np.ndarray:
    """Returns the box of a particle in its collage."""
    height, width = collage.shape[:2]
    if row.x + row.width > width or row.y + row.height > height:
        raise UserError(
            f"{source.about.table} line {row.line}: particle {row.particle} reaches to x "
            f"{row.x + row.width}, y {row.y + row.height}, outside its collage "
            f"{files.shown(source.path.name)} of {width} x {height} px. Copy list and collages "
            "again: they belong to different runs, or one was cut."
        )
    return collage[row.y : row.y + row.height, row.x : row.x + row.width]
