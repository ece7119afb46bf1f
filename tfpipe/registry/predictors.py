"""What answers pictures one by one: a network's version, or one of trees on their columns."""

from pathlib import Path

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.registry import load, store, trees
from tfpipe.registry.card import BOOSTED_TREES, VersionCard


def opened(version: Path, *, embeds: bool):
    """Returns a version of a network or of trees, with `card` and `classify`.

    Raises:
      UserError: it is of trees, and embeddings are asked for.
    """
    if store.read_card(version).kind != BOOSTED_TREES:
        return load.Loaded(version)
    if embeds:
        raise UserError(f"{version} is of trees, which have no embedding. Leave out --embedding.")
    return Trees(version)


def columns_of(card: VersionCard) -> tuple[str, ...]:
    """Returns the names of the columns that a version reads."""
    return card.columns


def order(columns: tuple[str, ...], found: tuple[str, ...], *, needed: bool) -> list[int]:
    """Returns where the model's columns stand among those that were found."""
    lacking = [name for name in columns if name not in found]
    if lacking and needed:
        raise UserError(
            f"The model reads the columns {', '.join(lacking)}, which the new files do not have. "
            "Export them again with these, or predict with a model of pictures only."
        )
    return [found.index(name) for name in columns if name in found]


class Trees:
    """Boosted trees, asked as a network is."""

    def __init__(self, version: Path):
        self._trees = trees.Loaded(version)
        self.card = self._trees.card

    def classify(self, images: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Returns probabilities [n, classes] of columns [n, columns]; pictures are left aside."""
        return self._trees.classify(columns)
