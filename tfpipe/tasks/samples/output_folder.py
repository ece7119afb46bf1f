"""A sample's folder, which is there whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfpipe.base.errors import UserError


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Yields a folder to fill, which takes the place of `folder` when that went well.

    Raises:
      UserError: `folder` holds something already.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} already holds something; give a new folder, or empty this one.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        draft = Path(beside) / folder.name
        draft.mkdir()
        yield draft
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
