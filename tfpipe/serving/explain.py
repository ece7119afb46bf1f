"""An answer for people: the class by its name, how sure, how new, and where it was seen."""

import base64
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from tfpipe.base import images as base_images
from tfpipe.base.errors import UserError
from tfpipe.evaluation import selective
from tfpipe.explore.novelty import low_maximum
from tfpipe.models import grad_cam as models_grad_cam
from tfpipe.registry import export, load, predictions
from tfpipe.report import grad_cam as report_grad_cam
from tfpipe.serving.errors import Refused
from tfpipe.serving.model.loaded import ENCODED, Servable

MOST_SEEN = 16  # pictures of one request that Grad-CAM is told of


class Explainer:
    """What a version's answers mean, by its card and by its own predictions."""

    def __init__(self, servable: Servable):
        self._servable, card = servable, servable.card
        self.classes = tuple(card["classes"])
        kept = card.get("abstention", {}).get("thresholds")
        self._thresholds = kept and selective.of_card(kept, classes=self.classes)
        self._known = _known(servable, self.classes)
        self._model, self._looking = None, Lock()  # Grad-CAM watches the layers of the one model

    def explain(
        self,
        features: dict[str, np.ndarray],
        outputs: dict[str, np.ndarray],
        *,
        with_heat: bool,
    ) -> list[dict[str, Any]]:
        """Returns what is to be said of each picture.

        Of a classifier: `label`, the likeliest class; `probabilities` by class; `unsure`, as
        `tfpipe predict` has it, None where the card keeps no thresholds; on demand `grad_cam`, the
        PNG of where it saw the class. Of an autoencoder: `error`. Of both: `novelty`, the share of
        the test split's pictures that the version was surer of, or gave back better; None where it
        keeps no predictions of them.

        Args:
          features: of the signature serving_default, [n, ...].
          outputs: what it answered, [n, ...].
          with_heat: whether Grad-CAM is wanted.

        Raises:
          Refused: it is, and cannot be had.
        """
        if "probabilities" not in outputs:
            if with_heat:
                raise Refused(400, "An autoencoder names no class, so it has no Grad-CAM.")
            told = [{"error": float(error)} for error in outputs["error"]]
            return self._with_novelty(told, outputs["error"])
        likely = outputs["probabilities"]
        told = [
            {
                "label": self.classes[row.argmax()],
                "probabilities": dict(zip(self.classes, row.tolist(), strict=True)),
                "unsure": self._is_unsure(row),
            }
            for row in likely
        ]
        self._with_novelty(told, low_maximum(likely))
        if with_heat:
            for one, png in zip(told, self._heats(features, likely), strict=True):
                one["grad_cam"] = {"b64": base64.b64encode(png).decode()}
        return told

    def _is_unsure(self, likely: np.ndarray) -> bool | None:
        if self._thresholds is None:
            return None
        return bool(selective.said(likely[None], self._thresholds)[0] == selective.UNSURE)

    def _with_novelty(self, told: list[dict], scores: np.ndarray) -> list[dict]:
        for one, score in zip(told, scores, strict=True):
            one["novelty"] = None
            if len(self._known):
                one["novelty"] = float(np.searchsorted(self._known, score) / len(self._known))
        return told

    def _heats(self, features: dict[str, np.ndarray], likely: np.ndarray) -> list[bytes]:
        """Returns PNGs of the pictures under their heat."""
        if ENCODED not in features:
            raise Refused(400, "The model takes no picture, so it has no Grad-CAM.")
        if len(likely) > MOST_SEEN:
            raise Refused(413, f"Ask for Grad-CAM of at most {MOST_SEEN} pictures at once.")
        images = export.decoded(tf.constant(features[ENCODED], tf.string), self._servable.spec)
        shown = {n: array for n, array in features.items() if n != ENCODED}
        shown["image"] = images.numpy()
        with self._looking:
            heats = models_grad_cam.heat(self._read(), shown, likely.argmax(axis=1))
        if heats is None:
            raise Refused(400, "The model has no convolution, so it has no Grad-CAM.")
        pairs = zip(shown["image"], heats, strict=True)
        return [base_images.encode_png(report_grad_cam.overlaid(*pair)) for pair in pairs]

    def _read(self):
        try:
            self._model = self._model or load.read_model(self._servable.folder)
        except UserError as error:
            raise Refused(503, "The version's folder is gone, and model.keras with it.") from error
        return self._model


def _known(servable: Servable, classes: tuple[str, ...]) -> np.ndarray:
    """Returns the scores of the test split, rising; none where the version keeps none."""
    try:
        frame = predictions.predictions(servable.folder, {})
    except UserError:
        return np.zeros(0)
    frame: pd.DataFrame = frame[frame["split"] == "test"]
    if "error" in frame:
        return np.sort(frame["error"].to_numpy(np.float32))
    return np.sort(low_maximum(frame[[f"p_{name}" for name in classes]].to_numpy(np.float32)))
