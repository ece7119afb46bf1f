"""Reads the particles of one collage, or of one batch of pictures."""

import numpy as np

from tfpipe.base import files
from tfpipe.base import images as base_images
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import letterbox
from tfpipe.tasks.insolubles.options import Options
from tfpipe.tasks.task import Example, Reading, Source

METADATA = {
    **{"run": "str", "file": "str", "particle": "str", "um_per_px": "float64"},
    **{"image_x": "int64", "image_y": "int64", "image_w": "int64", "image_h": "int64"},
    "status": "str",
}


def read(source: Source, options: Options) -> Reading:
    """Reads a source's pictures.

    The group is the run: its particles share light, focus, dilution and operator, so a split must
    not part them. Where there is one run only, `survey` gives the collage instead and says so.

    Args:
      source: as `survey` found it.
      options: the user's.

    Returns:
      One example a particle, [side, side, 3] uint8. Its metadata has the box in px of the file and
      the µm per px of the example's own picture, which is more than the file's if it was shrunk.

    Raises:
      UserError: a file cannot be decoded, or a particle lies outside its collage.
    """
    batch = source.about
    rows = list(batch.rows.itertuples(index=False))
    if rows[0].width:
        collage = base_images.to_uint8(base_images.read(source.path))
        images = (_cut(collage, row, source, table=batch.table) for row in rows)
    else:
        images = map(base_images.read, (source.path, *source.also))
    examples = []
    for i, (row, image) in enumerate(zip(rows, images, strict=True)):
        height, width = image.shape[:2]
        image, scale = letterbox.framed(image, side=options.side)
        metadata = {
            "run": row.run,
            "file": row.file,
            "particle": row.particle,
            "um_per_px": float(row.um_per_px) / scale,
            **{"image_x": int(row.x), "image_y": int(row.y)},
            **{"image_w": width, "image_h": height},
            "status": row.status,
        }
        examples.append(
            Example(row.key, source.group, image, int(batch.labels[i]), batch.columns[i], metadata)
        )
    return Reading(examples)


def _cut(collage: np.ndarray, row, source: Source, *, table: str) -> np.ndarray:
    height, width = collage.shape[:2]
    if row.x + row.width > width or row.y + row.height > height:
        raise UserError(
            f"{table} line {row.line}: particle {row.particle} reaches to x {row.x + row.width}, "
            f"y {row.y + row.height}, outside its collage {files.shown(source.path.name)} of "
            f"{width} x {height} px. Copy list and collages again: they belong to different runs, "
            "or one was cut."
        )
    return collage[row.y : row.y + row.height, row.x : row.x + row.width]
