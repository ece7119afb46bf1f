"""A loaded version: checked, loaded by TensorFlow, warmed up, computed by a runtime."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfpipe.base.errors import UserError
from tfpipe.registry import load, novelty_file, warmup
from tfpipe.registry.card import AUTOENCODER, CLASSIFIER
from tfpipe.registry.checked_files import CheckedCopy
from tfpipe.serving.errors import RequestError
from tfpipe.serving.limits import Limits
from tfpipe.serving.model.batching import MAX_BATCH, BatchedSignature, Signature
from tfpipe.serving.model.encoded_images import ImageDecoder
from tfpipe.serving.runtimes import select
from tfpipe.serving.runtimes.available import SAVEDMODEL

WARMUP_DEADLINES = 4  # deadlines of a request within which all warm-up requests are answered
SERVED_KINDS = (CLASSIFIER, AUTOENCODER)  # the kinds of versions that are SavedModels
DEFAULT_SIGNATURE = "serving_default"
TENSOR_SIGNATURE = "predict_tensor"  # has the outputs of the default for decoded images
ENCODED_IMAGE = "image_bytes"  # input of the default signature where the model takes images


class Servable:
    """A loaded version.

    Attributes:
      folder: of the version.
      version: its number.
      limits: of its requests.
      card: its card.
      spec: of the model.
      novelty: statistics of ordinary images in its embedding; None of older releases.
      decoder: of the images that it takes.
      saved_model: bytes of its saved_model.pb, which a client may ask for after the folder is gone.
      choice: which runtime computes it, and why.
      signatures: name -> signature.
    """

    def __init__(
        self,
        copy: CheckedCopy,
        *,
        folder: Path,
        limits: Limits,
        runtime: str = SAVEDMODEL,
        measure_s: float = select.BUDGET_S,
    ):
        """Loads a version, answers its warm-up requests, and has a runtime compute it.

        Args:
          copy: of the version; not needed any more afterwards.
          folder: of the version.
          limits: of its requests.
          runtime: that computes it.
          measure_s: seconds in which "auto" measures the runtimes.

        Raises:
          UserError: the version must not be loaded, cannot be, or the runtime cannot compute it.
        """
        self.folder, self.version, self.limits = folder, int(folder.name), limits
        self.card = copy.card
        if self.card.kind not in SERVED_KINDS:
            raise UserError(
                f"{'/'.join(copy.folder.parts[-3:])} is a version of kind {self.card.kind!r}; "
                f"only networks ({' and '.join(SERVED_KINDS)}) are served."
            )
        self.spec = self.card.network_spec
        self.decoder = ImageDecoder(self.spec, self.card, limits=limits)
        self._model = load.load_network(copy)  # its signatures hold no reference to it
        length = novelty_file.embedding_length(self._model.signatures.get("embed"))
        self.novelty = novelty_file.read(copy.folder, copy.card, length=length)
        self.saved_model = (copy.folder / "saved_model.pb").read_bytes()
        signatures = {name: BatchedSignature(f) for name, f in self._model.signatures.items()}
        self.signatures: dict[str, Signature] = {**signatures}
        self._warm_up(copy.folder)
        self.choice = select.choose_runtime(
            self._model,
            signatures,
            self.spec,
            version=copy.folder,
            runtime=runtime,
            thresholds=self.card.thresholds,
            measure_s=measure_s,
        )
        self.signatures = self.choice.signatures

    def _warm_up(self, folder: Path) -> None:
        """Answers the warm-up requests; a graph that computes for ever does not hold up others."""
        errors: list[Exception] = []

        def answer() -> None:
            try:
                for signature, features in warmup.requests(folder):
                    self.predict(features, signature=signature)
            except Exception as error:
                errors.append(error)

        limit_s = WARMUP_DEADLINES * self.limits.deadline_s
        thread = threading.Thread(target=answer, name="warm-up", daemon=True)
        thread.start()
        thread.join(limit_s)
        if thread.is_alive():
            raise UserError(
                f"{'/'.join(folder.parts[-3:])} did not answer its warm-up requests within "
                f"{limit_s:g} s. Export it again, or serve it with a larger --deadline."
            )
        if errors:
            raise errors[0]

    def predict(
        self,
        features: dict[str, np.ndarray],
        *,
        signature: str,
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, np.ndarray]:
        """Returns the outputs [n, ...] of a signature for features [n, ...], n >= 1.

        Args:
          features: [n, ...]; encoded images are decoded first.
          signature: its name.
          check: called between parts; raises if the request need not be answered any more.

        Raises:
          RequestError: there is no such signature, or the model cannot compute this.
        """
        function = self.signature(signature)
        encoded = self.decoder.check(features.get(ENCODED_IMAGE, ()))
        if encoded:
            function = self.signature(TENSOR_SIGNATURE)
        parts = []
        for start in range(0, len(next(iter(features.values()))), MAX_BATCH):
            check()
            rows = slice(start, start + MAX_BATCH)
            part = {name: array[rows] for name, array in features.items()}
            if encoded:
                del part[ENCODED_IMAGE]
                part["image"] = self.decoder.decode(encoded[rows], check=check)
            parts.append(function(part))
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def decode(
        self, features: dict[str, np.ndarray], *, check: Callable[[], None]
    ) -> dict[str, np.ndarray]:
        """Returns features of `DEFAULT_SIGNATURE` with their images decoded, if it takes images.

        Args:
          features: [n, ...].
          check: called before each image; raises if the request need not be answered any more.

        Raises:
          RequestError: an image is none that the model takes.
        """
        if ENCODED_IMAGE not in features:
            return features
        encoded = self.decoder.check(features[ENCODED_IMAGE])
        others = {name: array for name, array in features.items() if name != ENCODED_IMAGE}
        return {"image": self.decoder.decode(encoded, check=check), **others}

    def signature(self, name: str) -> Signature:
        """Returns a signature.

        Raises:
          RequestError: there is no signature of that name.
        """
        if not isinstance(name, str) or name not in self.signatures:
            names = ", ".join(self.signatures)
            raise RequestError(400, f"There is no signature {str(name)[:50]!r}, only {names}.")
        return self.signatures[name]
