"""Sliding window: a window network along long images, with all views only where they matter.

A long image is predicted in several views, such as its four flips. Where the threshold of the
decision is known, windows that are far below it in the first view are not computed in the others:
such a window hardly ever reaches it by all views. Thresholds and scores are chosen and computed in
this way, too.
"""

import copy
from typing import NamedTuple, Self

import keras
import numpy as np

from tfpipe.models import calls
from tfpipe.models.fused import inference
from tfpipe.models.interval_head import locates
from tfpipe.models.outputs import with_all_outputs
from tfpipe.models.row_head import labels_rows
from tfpipe.tasks.task import Classify

# Windows below this share of the threshold in the first view are not computed in the others. Of 566
# windows above a threshold of .05 in the mean of four flips, and of 169 above .5, none was below a
# quarter of it in the first (drawn photos, simple-cnn). All 153 layers at eight thresholds were the
# same.
FAR_BELOW = 0.25
# Windows computed in one call of `along`'s network. A caller that splits a long image at multiples
# of it, to report progress, gets the same batches and so the same outputs.
WINDOWS_AT_ONCE = 256


class InferenceMode(NamedTuple):
    """How a model is applied to the windows of a long image.

    Attributes:
      intervals: whether start and stop within each window are predicted, too.
      rows: whether the class of each row of a window is predicted, too.
    """

    intervals: bool
    rows: bool = False


INFERENCE_MODES = {
    "windows": InferenceMode(intervals=False),
    "intervals": InferenceMode(intervals=True),
    "rows": InferenceMode(intervals=False, rows=True),
}
DEFAULT_MODE = "windows"


def by_inference_mode(model: keras.Model, classify: Classify | None = None) -> dict[str, Classify]:
    """Returns inference mode -> the model in that mode, for all modes that the model supports.

    Args:
      model: the window network.
      classify: computes the model's probabilities of windows that are cut out, such as in one batch
        with those of others; None for the model itself. Intervals and rows are the model's always.
    """
    windows = _WindowModel(model)
    probabilities_only = _ProbabilitiesOnly(classify, windows.height_px) if classify else windows
    return {
        name: SlidingWindowModel(
            windows if mode.intervals or mode.rows else probabilities_only, mode
        )
        for name, mode in INFERENCE_MODES.items()
        if (locates(model) or not mode.intervals) and labels_rows(model) == mode.rows
    }


def of_classifier(classify: Classify, *, height_px: int) -> "SlidingWindowModel":
    """Returns the default inference mode of what classifies windows of a height."""
    mode = INFERENCE_MODES[DEFAULT_MODE]
    return SlidingWindowModel(_ProbabilitiesOnly(classify, height_px), mode)


def at_threshold(classify: Classify, threshold: float) -> Classify:
    """Returns a model in an inference mode with the threshold of its decision, if it takes one."""
    give = getattr(classify, "at_threshold", None)
    return give(threshold) if give else classify


class SlidingWindowModel:
    """A window network in one inference mode; see `WholeFile.sliding_window`.

    Attributes:
      mode: the inference mode.
    """

    def __init__(self, windows: "_WindowModel | _ProbabilitiesOnly", mode: InferenceMode):
        self.mode = mode
        self._windows, self._threshold = windows, 0.0

    def at_threshold(self, threshold: float) -> Self:
        """Returns the model for decisions by a threshold, or by higher ones.

        Windows that are far below it have the outputs of the first view in all views. Classes of
        rows are computed in all views always.
        """
        if self.mode.rows:
            return self
        model = copy.copy(self)
        model._threshold = threshold
        return model

    def __call__(self, images: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        return self._windows(images)["probabilities"]

    def along(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        """Returns "probabilities", perhaps "interval" and "rows", [images, windows, ...] each.

        Args:
          images: [images, height, width, channels], views of one image.
          top_px: [images, windows] int, first row of each window.
        """
        parts = [
            self._predict(images, top_px[:, begin : begin + WINDOWS_AT_ONCE])
            for begin in range(0, max(top_px.shape[1], 1), WINDOWS_AT_ONCE)
        ]
        return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}

    def _predict(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        if not self._threshold:
            return self._outputs(self._predict_separately(images, top_px))
        first = self._predict_separately(images[:1], top_px[:1])
        outputs = {name: np.repeat(array, len(images), axis=0) for name, array in first.items()}
        highest = first["probabilities"][0, :, 1:].max(axis=-1)
        is_near = highest >= FAR_BELOW * self._threshold
        if is_near.any():
            others = self._predict_separately(images[1:], top_px[1:, is_near])
            for name, array in others.items():
                outputs[name][1:, is_near] = array
        return self._outputs(outputs)

    def _predict_separately(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the outputs for windows that are cut out, [images, windows, ...]."""
        rows = np.arange(self._windows.height_px)
        outputs = [
            self._windows(image[tops[:, None] + rows])
            for image, tops in zip(images, top_px, strict=True)
        ]
        return {name: np.stack([output[name] for output in outputs]) for name in outputs[0]}

    def _outputs(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = ["probabilities", *(["interval"] if self.mode.intervals else [])]
        return {name: outputs[name] for name in [*names, *(["rows"] if self.mode.rows else [])]}


class _ProbabilitiesOnly:
    """What classifies any number of windows."""

    def __init__(self, classify: Classify, height_px: int):
        self._classify, self.height_px = classify, height_px

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {"probabilities": self._classify(images)}


class _WindowModel:
    """A Keras model called with any number of windows."""

    def __init__(self, model: keras.Model):
        self._call = inference(with_all_outputs(model))
        self.height_px = model.input["image"].shape[1]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return calls.batched(self._call, {"image": images}, names=["image"])
