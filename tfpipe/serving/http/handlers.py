"""What a version can be asked by POST: a body to an answer, in the thread of the request."""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfpipe.serving.errors import Refused
from tfpipe.serving.http import payloads
from tfpipe.serving.model.loaded import DEFAULT, ENCODED
from tfpipe.serving.model.store import Served

# JSON may take thirty times its room while it is read, and threads would not read it faster.
READING = threading.Semaphore(2)


class Asked(NamedTuple):
    """A request."""

    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]


def predict(version: Served, asked: Asked) -> tuple[bytes, int]:
    """Answers a signature's outputs, in row form or in column form."""
    with READING:
        told = payloads.parsed(asked.body)
        signature = told.get("signature_name") or DEFAULT
        features, by_row = version.servable.features(told, signature=signature)
    outputs = version.ask(features, signature=signature)
    return _json(payloads.answered(outputs, by_row=by_row)), _count(features)


def classify(version: Served, asked: Asked) -> tuple[bytes, int]:
    """Answers each example's classes with their probabilities."""
    with READING:
        told = payloads.parsed(asked.body)
        signature = told.get("signature_name") or DEFAULT
        features, _ = version.servable.features(payloads.examples(told), signature=signature)
    results = [
        [list(pair) for pair in row] for row in classified(version, features, signature=signature)
    ]
    return _json({"results": results}), _count(features)


def explain(version: Served, asked: Asked) -> tuple[bytes, int]:
    """Answers for people: label, probabilities, unsure, novelty, and Grad-CAM on demand."""
    with READING:
        told = _explained(version, asked)
        features, _ = version.servable.features(told, signature=DEFAULT)
    with_heat = told.get("grad_cam", False)
    if not isinstance(with_heat, bool):
        raise Refused(400, '"grad_cam" must be true or false.')
    outputs = version.ask(features, signature=DEFAULT)
    answers = version.explainer.explain(features, outputs, with_heat=with_heat)
    return _json({"explanations": answers}), _count(features)


def classified(
    version: Served, features: dict[str, np.ndarray], *, signature: str
) -> list[list[tuple[str, float]]]:
    """Returns (class, probability) of each class, of each row of features.

    Raises:
      Refused: the signature names no classes, or it cannot answer.
    """
    outputs = version.ask(features, signature=signature)
    if "probabilities" not in outputs:
        raise Refused(400, f"The signature {signature} names no classes.")
    classes = version.explainer.classes
    return [[*zip(classes, row, strict=True)] for row in outputs["probabilities"].tolist()]


VERBS: dict[str, Callable[[Served, Asked], tuple[bytes, int]]] = {
    "predict": predict,
    "classify": classify,
    "explain": explain,
}


def _explained(version: Served, asked: Asked) -> dict[str, Any]:
    """Returns the request of :explain, whose body may also be a picture as it is."""
    if not asked.headers.get("content-type", "").startswith("image/"):
        return payloads.parsed(asked.body)
    if list(version.servable.signature(DEFAULT).inputs) != [ENCODED]:
        raise Refused(400, "The model takes more than a picture. Send its columns as JSON.")
    has_heat = asked.query.get("grad_cam", "false").lower()
    if has_heat not in ("true", "false"):
        raise Refused(400, "grad_cam must be true or false.")
    return {payloads.ROW: [asked.body], "grad_cam": has_heat == "true"}


def _count(features: dict[str, np.ndarray]) -> int:
    return len(next(iter(features.values())))


def _json(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode()
