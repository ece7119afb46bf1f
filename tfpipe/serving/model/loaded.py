"""A loaded version: checked, loaded by TensorFlow, warmed up, computed by a runtime."""

from pathlib import Path

import numpy as np

from tfpipe.base import images
from tfpipe.base.errors import UserError
from tfpipe.registry import load, warmup
from tfpipe.registry.card import AUTOENCODER, CLASSIFIER
from tfpipe.registry.checked_files import checked_copy
from tfpipe.serving.errors import RequestError
from tfpipe.serving.limits import Limits
from tfpipe.serving.model.batching import BatchedSignature, Signature
from tfpipe.serving.runtimes import select
from tfpipe.serving.runtimes.available import SAVEDMODEL

SERVED_KINDS = (CLASSIFIER, AUTOENCODER)  # the kinds of versions that are SavedModels
DEFAULT_SIGNATURE = "serving_default"
ENCODED_IMAGE = "image_bytes"  # input of the signatures that decode images


class Servable:
    """A loaded version.

    Attributes:
      folder: of the version.
      version: its number.
      limits: of its requests.
      card: its card.
      spec: of the model.
      saved_model: bytes of its saved_model.pb, which a client may ask for after the folder is gone.
      choice: which runtime computes it, and why.
      signatures: name -> signature.
    """

    def __init__(self, folder: Path, *, limits: Limits, runtime: str = SAVEDMODEL):
        """Loads a version, answers its warm-up requests, and has a runtime compute it.

        Raises:
          UserError: the version must not be loaded, cannot be, or the runtime cannot compute it.
        """
        self.folder, self.version, self.limits = folder, int(folder.name), limits
        with checked_copy(folder) as copy:
            self.card = copy.card
            if self.card.kind not in SERVED_KINDS:
                raise UserError(
                    f"{'/'.join(copy.folder.parts[-3:])} is a version of kind {self.card.kind!r}; "
                    f"only networks ({' and '.join(SERVED_KINDS)}) are served."
                )
            self.spec = self.card.network_spec
            self._model = load.load_network(copy)  # its signatures hold no reference to it
            self.saved_model = (copy.folder / "saved_model.pb").read_bytes()
            signatures = {name: BatchedSignature(f) for name, f in self._model.signatures.items()}
            self.signatures: dict[str, Signature] = {**signatures}
            for signature, features in warmup.requests(copy.folder):
                self.predict(features, signature=signature)
            self.choice = select.choose_runtime(
                self._model,
                signatures,
                self.spec,
                version=copy.folder,
                runtime=runtime,
                thresholds=self.card.thresholds,
            )
        self.signatures = self.choice.signatures

    def predict(self, features: dict[str, np.ndarray], *, signature: str) -> dict[str, np.ndarray]:
        """Returns the outputs [n, ...] of a signature for features [n, ...].

        Raises:
          RequestError: there is no such signature, or the model cannot compute this.
        """
        function = self.signature(signature)
        for i, encoded in enumerate(features.get(ENCODED_IMAGE, ())):
            self._check_encoded_image(encoded, name=f"Image {i}")
        return function(features)

    def signature(self, name: str) -> Signature:
        """Returns a signature.

        Raises:
          RequestError: there is no signature of that name.
        """
        if not isinstance(name, str) or name not in self.signatures:
            names = ", ".join(self.signatures)
            raise RequestError(400, f"There is no signature {str(name)[:50]!r}, only {names}.")
        return self.signatures[name]

    def _check_encoded_image(self, encoded: bytes, *, name: str) -> None:
        """Checks by its header that bytes are an image, and not too large once decoded."""
        if self.spec.image_dtype == "float32":
            expected = 4 * int(np.prod(self.spec.image_shape))
            if len(encoded) != expected:
                shape = list(self.spec.image_shape)
                raise RequestError(
                    400,
                    f"{name} must be float32 numbers of shape {shape}: expected {expected} bytes, "
                    f"got {len(encoded)}.",
                )
            return
        try:
            info = images.probe_bytes(encoded, name, max_pixels=self.limits.max_pixels)
        except UserError as error:
            status = 413 if "megapixels" in str(error) else 400
            raise RequestError(status, str(error)) from error
        if info.format not in ("PNG", "JPEG", "GIF", "BMP"):
            raise RequestError(400, f"{name} is a {info.format}, expected a PNG, JPEG, GIF or BMP.")
        # TensorFlow would prepare these otherwise than they were packed.
        if info.bits == 16 and self.spec.image_dtype == "uint8":
            raise RequestError(
                400,
                f"{name} has 16 bits, and the model takes 8. Send 8 bits as they were packed, or "
                "use `tfpipe predict`, which scales them.",
            )
        fit, size = self.card.options.get("fit", "stretch"), tuple(self.spec.image_shape[:2])
        if fit != "stretch" and (info.height, info.width) != size:
            raise RequestError(
                400,
                f"{name} has {info.height} x {info.width} px, and the model was trained with "
                f"fit={fit} to {size[0]} x {size[1]} px. Send that size, or use `tfpipe predict`, "
                "which fits it.",
            )
