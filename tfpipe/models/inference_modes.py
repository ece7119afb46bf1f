"""Ways to look along long pictures with one model: window by window, or together."""

from typing import NamedTuple

import keras
import numpy as np

from tfpipe.models import calls, sliding_window
from tfpipe.models.interval_head import locates, with_interval
from tfpipe.tasks.task import Classify

POSSIBLE = 0.001  # windows whose probability in a scan is at least that are seen one by one, too


class Way(NamedTuple):
    """How windows are looked at.

    Attributes:
      scans: whether they share the work that they have in common.
      intervals: whether it is told where in a window the thing begins and ends.
    """

    scans: bool
    intervals: bool


# Of equally good ones the first is taken.
WAYS = {
    "scan": Way(scans=True, intervals=False),
    "scan-intervals": Way(scans=True, intervals=True),
    "windows": Way(scans=False, intervals=False),
    "intervals": Way(scans=False, intervals=True),
}
PLAIN = "windows"


class Looking:
    """A model of windows, asked in one of the ways; see `WholeFile.sliding_window`."""

    def __init__(self, answer: "_Answer", network: sliding_window.Network | None, way: Way):
        self._answer, self._network, self._way = answer, network, way

    def __call__(self, images: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        return self._answer(images)["probabilities"]

    def along(self, pictures: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        """Returns "probabilities" and perhaps "interval" of windows, [pictures, windows, ...].

        In a scan, a window that may show something in any of the pictures, which are flips of one,
        is seen by itself in all of them. What is far from every threshold stays as the scan has it.

        Args:
          pictures: [pictures, height, width, channels].
          top_px: [pictures, windows] int, first row of each window.
        """
        if not self._way.scans:
            return self._kept(self._one_by_one(pictures, top_px))
        said = sliding_window.scan(self._network, pictures, top_px)
        possible = (said["probabilities"][..., 1:].max(axis=-1) >= POSSIBLE).any(axis=0)
        for name, exact in self._one_by_one(pictures, top_px[:, possible]).items():
            said[name][:, possible] = exact
        return self._kept(said)

    def _one_by_one(self, pictures: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the answers to windows that are cut out, [pictures, windows, ...]."""
        rows = np.arange(self._answer.height_px)
        each = [
            self._answer(picture[tops[:, None] + rows])
            for picture, tops in zip(pictures, top_px, strict=True)
        ]
        return {name: np.stack([one[name] for one in each]) for name in each[0]}

    def _kept(self, said: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        wanted = ("probabilities", "interval") if self._way.intervals else ("probabilities",)
        return {name: said[name] for name in wanted}


class _Answer:
    """What a Keras model answers to windows, any number of them."""

    def __init__(self, model: keras.Model):
        self._model = with_interval(model)
        self.height_px = model.input["image"].shape[1]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        ask = self._model.predict_on_batch
        return calls.batched(ask, {"image": images}, names=["image"])


def of(model: keras.Model) -> dict[str, Classify]:
    """Returns name -> model, asked in every way that it can be, the ones to be preferred first."""
    answer = _Answer(model)
    network = sliding_window.taken_apart(model, with_interval(model).output)
    return {
        name: Looking(answer, network, way)
        for name, way in WAYS.items()
        if (network or not way.scans) and (locates(model) or not way.intervals)
    }
