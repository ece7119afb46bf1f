"""A served version as whole-file prediction calls it: in batches with all other requests."""

import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from tfpipe.models import sliding_window
from tfpipe.registry import load
from tfpipe.registry.load import SavedPredictor
from tfpipe.serving.drift_monitor import DriftMonitor
from tfpipe.serving.errors import RequestError
from tfpipe.serving.model.loaded import Servable
from tfpipe.tasks.task import Classify

PREDICT, EMBED = "predict_tensor", "embed"  # signatures that take pixels as numbers
BOTH = load.BOTH
TRIES, WAIT_S = 20, 0.5  # of a batch while the server has too many


class BatchedPredictor:
    """A served version as `load.SavedPredictor`, which shares its batches with other requests.

    Attributes:
      path: folder of the version.
      card: its card.
      has_embedding: whether `embed` works.
      novelty: statistics of ordinary images in its embedding, or None.
    """

    has_embedding = True

    def __init__(self, servable: Servable, drift_monitor: DriftMonitor):
        self.path, self.card = servable.folder, servable.card
        self.novelty = servable.novelty
        self._servable, self._drift_monitor = servable, drift_monitor
        self._lock = threading.Lock()

    @cached_property
    def _modes(self) -> dict[str, Classify]:
        model = load.read_model(self.path)
        return sliding_window.by_inference_mode(model, classify=self.predict_proba)

    @property
    def inference_modes(self) -> Mapping[str, Classify]:
        """Inference mode -> predictions in it.

        Intervals and rows are computed by the version's Keras model, one image at a time; windows
        share batches.
        """
        with self._lock:
            modes = self._modes
        return {name: _OneAtATime(mode, self._lock) for name, mode in modes.items()}

    def predict_proba(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns probabilities [n, classes] float32, see `SavedPredictor`."""
        features = self._features(images, columns)
        outputs = self._call(features, PREDICT)
        if len(next(iter(features.values()))):
            self._drift_monitor.record(features, outputs)
        return outputs["probabilities"]

    def embed(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns embeddings [n, units] float32, see `SavedPredictor`."""
        return self._call(self._features(images, columns), EMBED)["embedding"]

    def predict_and_embed(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns probabilities and embeddings, see `SavedPredictor`."""
        if BOTH not in self._servable.signatures:
            return self.predict_proba(images, columns), self.embed(images, columns)
        features = self._features(images, columns)
        outputs = self._call(features, BOTH)
        if len(next(iter(features.values()))):
            self._drift_monitor.record(features, outputs)
        return outputs["probabilities"], outputs["embedding"]

    def _features(
        self, images: np.ndarray | None, columns: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        inputs = {"image": images, "columns": columns}
        return {
            name: array
            for name, array in inputs.items()
            if name in self.card.inputs and array is not None
        }

    def _call(self, features: dict[str, np.ndarray], signature: str) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature; waits while the server has too many batches."""
        if not len(next(iter(features.values()))):  # no batch may be empty
            single = {n: np.zeros((1, *a.shape[1:]), a.dtype) for n, a in features.items()}
            return {name: array[:0] for name, array in self._call(single, signature).items()}
        for last in [False] * (TRIES - 1) + [True]:
            try:
                return self._servable.predict(features, signature=signature)
            except RequestError as error:
                if error.status != 503 or last:
                    raise
            time.sleep(WAIT_S)
        raise AssertionError("unreachable")


class ObservedPredictor:
    """A predictor that reports how many images it predicts.

    Attributes:
      path: folder of the version.
      card: its card.
      has_embedding: whether `embed` works.
      novelty: statistics of ordinary images in its embedding, or None.
    """

    def __init__(self, predictor: SavedPredictor, observe: Callable[[int], None]):
        """Wraps a predictor.

        Args:
          predictor: that predicts.
          observe: called with the number of images before they are predicted, flips included;
            what it raises ends the prediction.
        """
        self.path, self.card = predictor.path, predictor.card
        self.has_embedding, self.novelty = predictor.has_embedding, predictor.novelty
        self._predictor, self._observe = predictor, observe

    @property
    def inference_modes(self) -> Mapping[str, Classify]:
        """Inference mode -> predictions in it."""
        modes = self._predictor.inference_modes
        return {name: _Observed(mode, self._observe) for name, mode in modes.items()}

    def predict_proba(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns probabilities [n, classes] float32, see `SavedPredictor`."""
        self._observe(_count(images, columns))
        return self._predictor.predict_proba(images, columns)

    def embed(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns embeddings [n, units] float32, see `SavedPredictor`."""
        self._observe(0)
        return self._predictor.embed(images, columns)

    def predict_and_embed(
        self, images: np.ndarray | None = None, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns probabilities and embeddings, see `SavedPredictor`."""
        self._observe(_count(images, columns))
        return self._predictor.predict_and_embed(images, columns)


class _OneAtATime:
    """Predictions in an inference mode, of one long image at a time."""

    def __init__(self, mode: Classify, lock: threading.Lock):
        self._mode, self._lock = mode, lock

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self._mode(images)

    def at_threshold(self, threshold: float) -> "_OneAtATime":
        """Returns it with the threshold of its decision, see `SlidingWindowModel`."""
        return _OneAtATime(sliding_window.at_threshold(self._mode, threshold), self._lock)

    def along(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        with self._lock:
            return getattr(self._mode, "along")(images, top_px)  # noqa: B009


class _Observed:
    """Predictions in an inference mode whose number of windows is reported."""

    def __init__(self, mode: Classify, observe: Callable[[int], None]):
        self._mode, self._observe = mode, observe

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self._observe(len(images))
        return self._mode(images)

    def at_threshold(self, threshold: float) -> "_Observed":
        """Returns it with the threshold of its decision, see `SlidingWindowModel`."""
        return _Observed(sliding_window.at_threshold(self._mode, threshold), self._observe)

    def along(self, images: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        self._observe(top_px.size)
        return getattr(self._mode, "along")(images, top_px)  # noqa: B009


def _count(images: np.ndarray | None, columns: np.ndarray | None) -> int:
    return len(images if images is not None else columns if columns is not None else ())
