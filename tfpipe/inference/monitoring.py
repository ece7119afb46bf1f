"""Comparison of a run's images with those that its version was trained on: drift, novelty."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfpipe.evaluation import drift, embedding_novelty, image_novelty, sharpness
from tfpipe.evaluation.embedding_novelty import EmbeddingStatistics
from tfpipe.registry.card import VersionCard


class ImageMonitor:
    """Compares the images of one raw file with those that a version was trained on.

    Attributes:
      are_new: of each image in order, whether it looks like none of them, see `find_new`; [] if the
        version has no statistics of them.
      sharpness: of each image in order, see `evaluation.sharpness`; [] if it is not measured.
    """

    def __init__(
        self,
        card: VersionCard,
        statistics: EmbeddingStatistics | None = None,
        *,
        with_sharpness: bool = False,
    ):
        """Begins with no images.

        Args:
          card: the version's.
          statistics: of ordinary images in its embedding, if embeddings will be given.
          with_sharpness: whether it is measured.
        """
        self._with_sharpness = with_sharpness
        self.sharpness: list[float] = []
        self._watch, self._card, self._statistics = drift.Watch(card), card, statistics
        self.are_new: list[bool] = []
        self._false_alarms = 0.0

    def update(
        self,
        images: np.ndarray,
        *,
        columns: np.ndarray | None,
        probabilities: np.ndarray,
        groups: Sequence[str],
        embedding: np.ndarray | None = None,
    ) -> list[bool]:
        """Adds some images and their predictions, and returns which of these images are new.

        Args:
          images: [n, height, width, channels].
          columns: [n, columns], in the model's order; None for none.
          probabilities: [n, classes].
          groups: photo or run of each, those of one group in a row.
          embedding: [n, ...]; None where it is not computed.
        """
        self._watch.update(images, columns=columns, probabilities=probabilities, groups=groups)
        if self._with_sharpness:
            self.sharpness += sharpness.measure(images).round(3).tolist()
        novelty = find_new(images, embedding, card=self._card, statistics=self._statistics)
        if novelty is None:
            return []
        are_new, self._false_alarms = novelty.are_new.tolist(), novelty.false_alarms
        self.are_new += are_new
        return are_new

    def state(self) -> dict[str, Any]:
        """Returns what `summarize` takes, for JSON."""
        novelty = {"images": len(self.are_new), "new": sum(self.are_new)}
        alarms = self._false_alarms if self.are_new else 0
        return {"drift": self._watch.state(), "novelty": novelty, "false_alarms": alarms}


class Novelty(NamedTuple):
    """Novelty of images.

    Attributes:
      are_new: [n] bool, whether an image looks like none that the version was trained on.
      share: [n] float, share of validation images that are less new; None without an embedding.
      false_alarms: share of validation images that are called new.
    """

    are_new: np.ndarray
    share: np.ndarray | None
    false_alarms: float


def find_new(
    images: np.ndarray,
    embedding: np.ndarray | None,
    *,
    card: VersionCard,
    statistics: EmbeddingStatistics | None,
) -> Novelty | None:
    """Returns which images are new: by the embedding, else by their pixels; None without either.

    Args:
      images: [n, height, width, channels].
      embedding: [n, ...] of these; None where it is not computed.
      card: the version's, with statistics of pixels or none.
      statistics: of ordinary images in the embedding; None of older releases.
    """
    if statistics is not None and embedding is not None:
        described = embedding_novelty.describe(
            images, embedding, ignores_exposure=statistics.ignores_exposure
        )
        scores = embedding_novelty.score(described, statistics)
        share = embedding_novelty.share_below(scores, statistics)
        alarms = 1 - embedding_novelty.QUANTILE
        return Novelty(scores > statistics.limit, share, alarms)
    if card.novelty is None:
        return None
    are_new = image_novelty.is_new(images, card.novelty)
    return Novelty(are_new, None, image_novelty.FALSE_ALARMS)


def summarize(
    card: VersionCard, states: Iterable[dict[str, Any]], *, noun: str
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Returns sentences about a run's images, and the numbers as JSON has them.

    Args:
      card: the version's.
      states: `ImageMonitor.state` of each file.
      noun: what the images are, in the plural.
    """
    watch, n_images, n_new, false_alarms = drift.Watch(card), 0, 0, 0.0
    for state in states:
        watch.add(state["drift"])
        n_images += state["novelty"]["images"]
        n_new += state["novelty"]["new"]
        false_alarms = max(false_alarms, state["false_alarms"])
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
            f"ordinary ones {false_alarms:.0%} do.",
        )
    return tuple(sentences), summary
