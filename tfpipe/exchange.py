"""Tables that another program imports, with the pictures it wants to find beside them."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe import pictures

Write = Callable[[pd.DataFrame, np.ndarray], None]


@contextlib.contextmanager
def writing(path: Path, write_table: Callable[[pd.DataFrame, Path], None]) -> Iterator[Write]:
    """Gives a function that takes rows and their pictures; the table is written at the end.

    Args:
      path: of the table; pictures go to the folder pictures/ in the one beside it with the same
        stem.
      write_table: (all rows, path) -> None, of `Task.writers`; each row has its `picture`, as a
        path from the table's folder, and an unsure one an empty label.
    """
    gathered, folder = [], path.with_suffix("") / "pictures"

    def write(frame: pd.DataFrame, images: np.ndarray) -> None:
        names = [re.sub(r"[^0-9A-Za-z._-]+", "_", key) + ".png" for key in frame["key"]]
        for name, image in zip(names, images, strict=True):
            pictures.write_png(image, folder / name)
        places = [f"{folder.parent.name}/{folder.name}/{name}" for name in names]
        labels = frame["label"].mask(frame["unsure"], "")
        gathered.append(frame.assign(label=labels, picture=places).drop(columns="unsure"))

    yield write
    write_table(pd.concat(gathered, ignore_index=True), path)
