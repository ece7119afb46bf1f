"""Sheet of packed examples: a row of images for each class, from as many groups as there are."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tfpipe.base import figures, images
from tfpipe.base.choose import choose
from tfpipe.base.figures import StyledFigure
from tfpipe.data import dataset
from tfpipe.data.manifest import RecordManifest
from tfpipe.evaluation.reconstruction import UNLABELLED
from tfpipe.report import gallery

TILE_IN, NAME_IN = 1.1, 1.3  # side of an image, and width of the names of the classes


def draw(
    records: Path, *, manifest: RecordManifest, split: str, per_class: int, seed: int
) -> StyledFigure:
    """Returns a figure of randomly chosen examples of one split.

    Args:
      records: folder of the records.
      manifest: what they hold.
      split: one of the records' splits.
      per_class: images in a row, at most.
      seed: of the choice.

    Raises:
      UserError: the records have no such split.
    """
    choose(split, list(manifest.counts), noun="split")
    labels = dataset.labels_of(records, (split,), manifest=manifest)
    groups = dataset.groups_of(records, (split,), manifest=manifest)
    keys = [key.decode() for key in dataset.keys_of(records, (split,), manifest=manifest)]
    rng = np.random.default_rng(seed)
    numbered = [*enumerate(manifest.classes), (-1, UNLABELLED)]
    chosen = {
        name: _spread(groups, labels == label, count=per_class, rng=rng) for label, name in numbered
    }
    rows = {name: positions for name, positions in chosen.items() if positions}
    shown_keys = {keys[i] for positions in rows.values() for i in positions}
    pixels = gallery.pixels(records, shown_keys, manifest=manifest, split=split)

    def drawn(figure: Figure) -> None:
        title = f"Examples of the {split} split"
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
        grid = figure.subplots(len(rows), per_class, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for line, (name, positions) in zip(grid, rows.items(), strict=True):
            count = manifest.counts[split].get(name, 0)
            line[0].text(
                -0.15, 0.5, f"{name}\n{count:,}", ha="right", va="center",
                transform=line[0].transAxes,
            )  # fmt: skip
            for axes, i in zip(line, positions, strict=False):
                axes.imshow(images.to_rgb(images.to_display(pixels[keys[i]])))

    height, width = manifest.image_shape[:2]
    tall = TILE_IN * min(max(height / width, 0.4), 2.5)
    size = (NAME_IN + per_class * TILE_IN, 0.5 + len(rows) * tall)
    return figures.styled(drawn, size=size)


def _spread(
    groups: np.ndarray, is_chosen: np.ndarray, *, count: int, rng: np.random.Generator
) -> list[int]:
    """Returns positions [up to count] of chosen examples, one of each group before a second."""
    positions = rng.permutation(np.flatnonzero(is_chosen))
    turns: dict[bytes, int] = {}
    order = []
    for position in positions:
        group = groups[position]
        turns[group] = turns.get(group, 0) + 1
        order.append(turns[group])
    return positions[np.argsort(order, kind="stable")][:count].tolist()
