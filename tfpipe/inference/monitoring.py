"""Comparison of a run's images with those that its version was trained on: drift, novelty."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfpipe.evaluation import drift, image_novelty
from tfpipe.registry.card import VersionCard


class ImageMonitor:
    """Compares the images of one raw file with those that a version was trained on.

    Attributes:
      are_new: of each image in order, whether it looks like none of them, see `image_novelty`; []
        if the version's card has no statistics of them.
    """

    def __init__(self, card: VersionCard):
        self._watch, self._statistics = drift.Watch(card), card.novelty
        self.are_new: list[bool] = []

    def update(
        self,
        images: np.ndarray,
        *,
        columns: np.ndarray | None,
        probabilities: np.ndarray,
        groups: Sequence[str],
    ) -> list[bool]:
        """Adds some images and their predictions, and returns which of these images are new.

        Args:
          images: [n, height, width, channels].
          columns: [n, columns], in the model's order; None for none.
          probabilities: [n, classes].
          groups: photo or run of each, those of one group in a row.
        """
        self._watch.update(images, columns=columns, probabilities=probabilities, groups=groups)
        if self._statistics is None:
            return []
        are_new = image_novelty.is_new(images, self._statistics).tolist()
        self.are_new += are_new
        return are_new

    def state(self) -> dict[str, Any]:
        """Returns what `summarize` takes, for JSON."""
        novelty = {"images": len(self.are_new), "new": sum(self.are_new)}
        return {"drift": self._watch.state(), "novelty": novelty}


def summarize(
    card: VersionCard, states: Iterable[dict[str, Any]], *, noun: str
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Returns sentences about a run's images, and the numbers as JSON has them.

    Args:
      card: the version's.
      states: `ImageMonitor.state` of each file.
      noun: what the images are, in the plural.
    """
    watch, n_images, n_new = drift.Watch(card), 0, 0
    for state in states:
        watch.add(state["drift"])
        n_images += state["novelty"]["images"]
        n_new += state["novelty"]["new"]
    findings = watch.findings()
    sentences = [finding.sentence for finding in findings]
    summary: dict[str, Any] = {}
    if findings:
        summary["drift"] = [
            {name: value for name, value in dataclasses.asdict(one).items() if name != "sentence"}
            for one in findings
        ]
    if n_images:
        summary["novelty"] = {"images": n_images, "new": n_new}
    if n_new:
        sentences.insert(
            0,
            f"{n_new:,} of {n_images:,} {noun} look like none that the version was trained on; of "
            f"ordinary ones {image_novelty.FALSE_ALARMS:.0%} do.",
        )
    return tuple(sentences), summary
