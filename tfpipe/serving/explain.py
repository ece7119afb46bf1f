"""Explanations of predictions: class name, whether it abstains, novelty, Grad-CAM."""

import base64
from threading import Lock
from typing import Any

import keras
import numpy as np

from tfpipe.base import images as base_images
from tfpipe.base.errors import UserError
from tfpipe.evaluation import metrics, selective
from tfpipe.explore.novelty import low_maximum
from tfpipe.inference import monitoring
from tfpipe.models import grad_cam as models_grad_cam
from tfpipe.registry import load, predictions
from tfpipe.report import grad_cam as report_grad_cam
from tfpipe.serving.errors import RequestError
from tfpipe.serving.model.loaded import Servable

MAX_GRAD_CAM_IMAGES = 16  # of one request


class Explainer:
    """Explains a version's outputs by its card and by its predictions on the test split.

    Attributes:
      classes: names in label order.
    """

    def __init__(self, servable: Servable):
        self._servable, card = servable, servable.card
        self.classes: tuple[str, ...] = tuple(card.classes)
        thresholds = card.abstention.get("thresholds")
        self._thresholds = thresholds and selective.from_card(thresholds, classes=self.classes)
        self._test_scores = _test_scores(servable, self.classes)
        # Grad-CAM records the layers of one model, so one thread uses it at a time.
        self._model: keras.Model | None = None
        self._model_lock = Lock()

    def explain(
        self,
        features: dict[str, np.ndarray],
        outputs: dict[str, np.ndarray],
        *,
        with_grad_cam: bool,
    ) -> list[dict[str, Any]]:
        """Returns the explanation of each image.

        A classifier's has `label`, by the version's decision rule; `probabilities` by class;
        `abstain`, as `tfpipe predict` has it, None if the card has no thresholds; and on request
        `grad_cam`, a PNG. An autoencoder's has `error`. Both have `novelty`: the share of the
        validation images that are less new in the embedding, see `embedding_novelty`; for an
        autoencoder, and a version without statistics of its embedding, the share of the test images
        with a lower error, or a higher maximum probability; None if it has no predictions on them.
        And both have `new`: whether the image looks like none that the version was trained on;
        None if the version has no statistics of them.

        Args:
          features: of the model, [n, ...], with images decoded.
          outputs: of these, [n, ...].
          with_grad_cam: whether Grad-CAM is requested.

        Raises:
          RequestError: Grad-CAM is requested, and the version has none.
        """
        if "probabilities" not in outputs:
            if with_grad_cam:
                raise RequestError(400, "An autoencoder has no classes, so it has no Grad-CAM.")
            errors = outputs["error"]
            are_new, _ = self._find_new(features, len(errors))
            return [
                {"error": float(error), "novelty": self._share_of_test(error), "new": new}
                for error, new in zip(errors, are_new, strict=True)
            ]
        probabilities = outputs["probabilities"]
        labels = metrics.predict_labels(probabilities, thresholds=self._servable.card.thresholds)
        are_new, shares = self._find_new(features, len(labels))
        if shares is None:
            shares = [self._share_of_test(score) for score in low_maximum(probabilities)]
        explanations: list[dict[str, Any]] = [
            {
                "label": self.classes[label],
                "probabilities": dict(zip(self.classes, row.tolist(), strict=True)),
                "abstain": self._abstains(row, label),
                "novelty": share,
                "new": new,
            }
            for row, label, share, new in zip(
                probabilities, labels.tolist(), shares, are_new, strict=True
            )
        ]
        if with_grad_cam:
            overlays = self._grad_cam_overlays(features, labels)
            for explanation, png in zip(explanations, overlays, strict=True):
                explanation["grad_cam"] = {"b64": base64.b64encode(png).decode()}
        return explanations

    def _abstains(self, probabilities: np.ndarray, label: int) -> bool | None:
        if self._thresholds is None:
            return None
        labels = selective.predict_labels(
            probabilities[None], self._thresholds, predicted=np.array([label])
        )
        return bool(labels[0] == selective.ABSTAIN)

    def _share_of_test(self, score: float) -> float | None:
        if not len(self._test_scores):
            return None
        return float(np.searchsorted(self._test_scores, score) / len(self._test_scores))

    def _find_new(
        self, features: dict[str, np.ndarray], count: int
    ) -> tuple[list[bool | None], list[float | None] | None]:
        """Returns whether images are new, and the shares of validation images that are less so."""
        statistics = self._servable.novelty
        if "image" not in features:
            return [None] * count, None
        embedding = None
        if statistics is not None:
            embedding = self._servable.predict(features, signature="embed")["embedding"]
        novelty = monitoring.find_new(
            features["image"], embedding, card=self._servable.card, statistics=statistics
        )
        if novelty is None:
            return [None] * count, None
        shares = None if novelty.share is None else novelty.share.round(3).tolist()
        return novelty.are_new.tolist(), shares

    def _grad_cam_overlays(
        self, features: dict[str, np.ndarray], labels: np.ndarray
    ) -> list[bytes]:
        """Returns PNGs of the images overlaid with the Grad-CAM of their label."""
        if "image" not in features:
            raise RequestError(400, "The model takes no image, so it has no Grad-CAM.")
        if len(labels) > MAX_GRAD_CAM_IMAGES:
            raise RequestError(
                413, f"Request Grad-CAM for at most {MAX_GRAD_CAM_IMAGES} images at once."
            )
        with self._model_lock:
            heatmaps = models_grad_cam.heat(self._read_model(), features, labels)
        if heatmaps is None:
            raise RequestError(400, "The model has no convolution, so it has no Grad-CAM.")
        return [
            base_images.encode_png(report_grad_cam.overlaid(image, heatmap))
            for image, heatmap in zip(features["image"], heatmaps, strict=True)
        ]

    def _read_model(self) -> keras.Model:
        try:
            self._model = self._model or load.read_model(self._servable.folder)
        except UserError as error:
            raise RequestError(
                503, "The folder of the version was removed, and model.keras with it."
            ) from error
        return self._model


def _test_scores(servable: Servable, classes: tuple[str, ...]) -> np.ndarray:
    """Returns the sorted novelty scores of the test split; empty without predictions."""
    try:
        table = predictions.predictions(servable.folder, {}, classes=classes)
    except UserError:
        return np.zeros(0)
    table = table[table["split"] == "test"]
    if "error" in table:
        return np.sort(table["error"].to_numpy(np.float32))
    columns = [f"p_{name}" for name in classes]
    return np.sort(low_maximum(table[columns].to_numpy(np.float32)))
