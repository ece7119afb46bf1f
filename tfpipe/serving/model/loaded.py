"""A version that is served: checked, loaded, warm."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfpipe.base import images
from tfpipe.base.errors import UserError
from tfpipe.models.spec import Spec
from tfpipe.registry import warmup
from tfpipe.serving.errors import Refused
from tfpipe.serving.http import payloads
from tfpipe.serving.limits import Limits
from tfpipe.serving.model import graph_scan
from tfpipe.serving.model.batching import Signature
from tfpipe.serving.runtimes import select
from tfpipe.serving.runtimes.available import SAVEDMODEL

DEFAULT = "serving_default"
ENCODED = "image_bytes"


class Servable:
    """A loaded version.

    Attributes:
      folder: of the version.
      card: see `store.publish`.
      spec: of the model.
      computed: by which runtime, see `choosing.Chosen`.
      signatures: name -> what it can be asked.
      version: its number.
      proto: its saved_model.pb, which may be asked for when the folder is gone.
    """

    def __init__(self, folder: Path, *, limits: Limits, runtime: str = SAVEDMODEL):
        """Loads a version, answers its warm-up requests, and has it computed by a runtime.

        Raises:
          UserError: it is not to be loaded, and why.
        """
        self.folder, self.version, self._limits = folder, int(folder.name), limits
        self.card = graph_scan.checked(folder)
        self.spec = model_spec(self.card)
        self.proto = (folder / "saved_model.pb").read_bytes()
        try:
            self._model = tf.saved_model.load(str(folder))  # signatures hold no reference to it
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UserError(f"{folder} cannot be loaded: {str(error)[:200]}") from error
        self.signatures = {
            key: Signature(function) for key, function in self._model.signatures.items()
        }
        for signature, given in warmup.requests(folder):
            self.ask(given, signature=signature)
        self.computed = select.chosen(
            self._model, self.signatures, self.spec, version=folder, runtime=runtime
        )
        self.signatures = self.computed.signatures

    def features(self, told: dict[str, Any], *, signature: str) -> tuple[dict, bool]:
        """Returns what a request gives a signature, and whether row by row.

        Raises:
          Refused: there is no such signature, or it takes something else.
        """
        inputs = self.signature(signature).inputs
        return payloads.features(told, inputs, most=self._limits.instances)

    def ask(self, features: dict[str, np.ndarray], *, signature: str) -> dict[str, np.ndarray]:
        """Returns the answers [n, ...] to features [n, ...].

        Raises:
          Refused: there is no such signature, or it cannot answer.
        """
        function = self.signature(signature)
        for i, encoded in enumerate(features.get(ENCODED, ())):
            self._check_picture(encoded, name=f"Picture {i}")
        return function(features)

    def signature(self, name: str) -> Signature:
        """Returns a signature.

        Raises:
          Refused: there is none of that name.
        """
        if not isinstance(name, str) or name not in self.signatures:
            there = ", ".join(self.signatures)
            raise Refused(400, f"There is no signature {str(name)[:50]!r}, only {there}.")
        return self.signatures[name]

    def _check_picture(self, encoded: bytes, *, name: str) -> None:
        """Refuses what is no picture, or would be too large once decoded, by its head alone."""
        if self.spec.image_dtype == "float32":
            expected = 4 * int(np.prod(self.spec.image_shape))
            if len(encoded) != expected:
                shape = list(self.spec.image_shape)
                came = f"{len(encoded)} bytes came, expected {expected}"
                raise Refused(400, f"{name} must be float32 numbers of shape {shape}; {came}.")
            return
        try:
            info = images.probe_bytes(encoded, name, max_pixels=self._limits.pixels)
        except UserError as error:
            status = 413 if "megapixels" in str(error) else 400
            raise Refused(status, str(error)) from error
        if info.format not in ("PNG", "JPEG", "GIF", "BMP"):
            raise Refused(400, f"{name} is a {info.format}, expected a PNG, JPEG, GIF or BMP.")


def model_spec(card: dict[str, Any]) -> Spec:
    """Returns the Spec that a card keeps."""
    told = {n: tuple(v) if isinstance(v, list) else v for n, v in card["spec"].items()}
    return Spec(**told)
