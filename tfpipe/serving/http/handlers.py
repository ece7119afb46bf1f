"""Handlers of POST requests: predict, classify, explain. They run in the thread of a request."""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import payloads
from tfpipe.serving.model.loaded import DEFAULT_SIGNATURE, ENCODED_IMAGE
from tfpipe.serving.model.store import ServedVersion

# JSON may take thirty times its size while it is parsed, and more threads would not be faster.
PARSERS = threading.Semaphore(2)


class HandlerRequest(NamedTuple):
    """A POST request whose body has arrived."""

    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]


def predict(version: ServedVersion, request: HandlerRequest) -> tuple[bytes, int]:
    """Returns the outputs of a signature, by row or by column."""
    with PARSERS:
        content = payloads.parse_json(request.body)
        signature = content.get("signature_name") or DEFAULT_SIGNATURE
        features, by_row = _parse_features(version, content, signature=signature)
    outputs = version.predict(features, signature=signature)
    return _to_json(payloads.format_outputs(outputs, by_row=by_row)), _n_instances(features)


def classify(version: ServedVersion, request: HandlerRequest) -> tuple[bytes, int]:
    """Returns the probability of each class for each example."""
    with PARSERS:
        content = payloads.parse_json(request.body)
        signature = content.get("signature_name") or DEFAULT_SIGNATURE
        instances = payloads.examples_to_instances(content)
        features, _ = _parse_features(version, instances, signature=signature)
    results = class_probabilities(version, features, signature=signature)
    return _to_json({"results": results}), _n_instances(features)


def explain(version: ServedVersion, request: HandlerRequest) -> tuple[bytes, int]:
    """Returns label, probabilities, abstain, novelty, and Grad-CAM on request."""
    with PARSERS:
        content = _parse_explain_request(version, request)
        features, _ = _parse_features(version, content, signature=DEFAULT_SIGNATURE)
    with_grad_cam = content.get("grad_cam", False)
    if not isinstance(with_grad_cam, bool):
        raise RequestError(400, '"grad_cam" must be true or false.')
    outputs = version.predict(features, signature=DEFAULT_SIGNATURE)
    explanations = version.explainer.explain(features, outputs, with_grad_cam=with_grad_cam)
    return _to_json({"explanations": explanations}), _n_instances(features)


def class_probabilities(
    version: ServedVersion, features: dict[str, np.ndarray], *, signature: str
) -> list[list[tuple[str, float]]]:
    """Returns (class, probability) of each class for each row of features.

    Raises:
      RequestError: the signature has no classes, or the model cannot compute this.
    """
    outputs = version.predict(features, signature=signature)
    if "probabilities" not in outputs:
        raise RequestError(400, f"The signature {signature} has no classes.")
    classes = version.explainer.classes
    return [list(zip(classes, row, strict=True)) for row in outputs["probabilities"].tolist()]


Handler = Callable[[ServedVersion, HandlerRequest], tuple[bytes, int]]
HANDLERS: dict[str, Handler] = {"predict": predict, "classify": classify, "explain": explain}


def _parse_features(
    version: ServedVersion, content: dict[str, Any], *, signature: str
) -> tuple[dict[str, np.ndarray], bool]:
    servable = version.servable
    inputs = servable.signature(signature).inputs
    return payloads.parse_features(content, inputs, max_instances=servable.limits.max_instances)


def _parse_explain_request(version: ServedVersion, request: HandlerRequest) -> dict[str, Any]:
    """Returns the content of an :explain request, whose body is JSON or the bytes of an image."""
    if not request.headers.get("content-type", "").startswith("image/"):
        return payloads.parse_json(request.body)
    if list(version.servable.signature(DEFAULT_SIGNATURE).inputs) != [ENCODED_IMAGE]:
        raise RequestError(400, "The model takes an image and columns. Send both as JSON.")
    grad_cam = request.query.get("grad_cam", "false").lower()
    if grad_cam not in ("true", "false"):
        raise RequestError(400, "grad_cam must be true or false.")
    return {payloads.INSTANCES: [request.body], "grad_cam": grad_cam == "true"}


def _n_instances(features: dict[str, np.ndarray]) -> int:
    return len(next(iter(features.values())))


def _to_json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
