"""Handlers of POST requests: predict, classify, explain. They run in the thread of a request."""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import payloads
from tfpipe.serving.limits import JSON_NUMBER_BYTES, RequestBudget
from tfpipe.serving.model.loaded import DEFAULT_SIGNATURE, ENCODED_IMAGE, TENSOR_SIGNATURE
from tfpipe.serving.model.store import ServedVersion

# JSON may take thirty times its size while it is parsed, and more threads would not be faster.
PARSERS = threading.Semaphore(2)


class HandlerRequest(NamedTuple):
    """A POST request whose body has arrived, and what it may hold."""

    model_name: str
    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]
    budget: RequestBudget


class Answer(NamedTuple):
    """The answer to a POST request.

    Attributes:
      content: its body.
      n_instances: how many instances it answers.
      headers: besides those that every answer has.
    """

    content: bytes | bytearray
    n_instances: int
    headers: dict[str, str] = {}


def predict(version: ServedVersion, request: HandlerRequest) -> Answer:
    """Returns the outputs of a signature, by row or by column."""
    with PARSERS:
        request.budget.check()  # the client may have left while others were parsed
        content = payloads.parse_json(request.body)
        signature = _signature_name(content)
        features, by_row = _parse_features(version, content, signature=signature)
    specs, n_rows = version.servable.signature(signature).outputs, n_instances(features)
    number_bytes = JSON_NUMBER_BYTES
    request.budget.add_answer(payloads.output_bytes(specs, n_rows, number_bytes=number_bytes))
    outputs = version.predict(features, signature=signature, check=request.budget.check)
    return Answer(payloads.encode_outputs(outputs, by_row=by_row), n_rows)


def classify(version: ServedVersion, request: HandlerRequest) -> Answer:
    """Returns the probability of each class for each example."""
    with PARSERS:
        request.budget.check()  # the client may have left while others were parsed
        content = payloads.parse_json(request.body)
        signature = _signature_name(content)
        instances = payloads.examples_to_instances(content)
        features, _ = _parse_features(version, instances, signature=signature)
    results = class_probabilities(version, features, request.budget, signature=signature)
    return Answer(_to_json({"results": results}), n_instances(features))


def explain(version: ServedVersion, request: HandlerRequest) -> Answer:
    """Returns label, probabilities, abstain, novelty, and Grad-CAM on request."""
    with PARSERS:
        request.budget.check()
        content = _parse_explain_request(version, request)
        features, _ = _parse_features(version, content, signature=DEFAULT_SIGNATURE)
    with_grad_cam = content.get("grad_cam", False)
    if not isinstance(with_grad_cam, bool):
        raise RequestError(400, '"grad_cam" must be true or false.')
    # The image is needed as the model sees it, for novelty and Grad-CAM, so it is decoded first.
    features = version.servable.decode(features, check=request.budget.check)
    signature = TENSOR_SIGNATURE if "image" in features else DEFAULT_SIGNATURE
    outputs = predict_within(version, features, request.budget, signature=signature)
    request.budget.check()
    explanations = version.explainer.explain(features, outputs, with_grad_cam=with_grad_cam)
    return Answer(_to_json({"explanations": explanations}), n_instances(features))


def predict_within(
    version: ServedVersion,
    features: dict[str, np.ndarray],
    budget: RequestBudget,
    *,
    signature: str,
) -> dict[str, np.ndarray]:
    """Returns the outputs [n, ...] of a signature, whose bytes the budget counts beforehand.

    Raises:
      RequestError: they are too many, or the model cannot compute this.
    """
    specs, budget.n_instances = version.servable.signature(signature).outputs, n_instances(features)
    budget.add_answer(payloads.output_bytes(specs, budget.n_instances))
    return version.predict(features, signature=signature, check=budget.check)


def class_probabilities(
    version: ServedVersion,
    features: dict[str, np.ndarray],
    budget: RequestBudget,
    *,
    signature: str,
) -> list[list[tuple[str, float]]]:
    """Returns (class, probability) of each class for each row of features.

    Raises:
      RequestError: the signature has no classes, or the model cannot compute this.
    """
    outputs = predict_within(version, features, budget, signature=signature)
    if "probabilities" not in outputs:
        raise RequestError(400, f"The signature {signature} has no classes.")
    classes = version.explainer.classes
    return [list(zip(classes, row, strict=True)) for row in outputs["probabilities"].tolist()]


def n_instances(features: dict[str, np.ndarray]) -> int:
    """Returns the number of rows of features [n, ...]."""
    return len(next(iter(features.values())))


Handler = Callable[[ServedVersion, HandlerRequest], Answer]
HANDLERS: dict[str, Handler] = {"predict": predict, "classify": classify, "explain": explain}


def _parse_features(
    version: ServedVersion, content: dict[str, Any], *, signature: str
) -> tuple[dict[str, np.ndarray], bool]:
    servable = version.servable
    inputs = servable.signature(signature).inputs
    return payloads.parse_features(content, inputs, max_instances=servable.limits.max_instances)


def _signature_name(content: dict[str, Any]) -> str:
    name = content.get("signature_name", "")
    if not isinstance(name, str):
        raise RequestError(400, '"signature_name" must be a string.')
    return name or DEFAULT_SIGNATURE


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


def _to_json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
