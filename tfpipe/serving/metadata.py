"""Metadata of served versions, as TensorFlow Serving's messages, and the OpenAPI description."""

import contextlib
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow.core.protobuf import error_codes_pb2, saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from tfpipe.serving.errors import RequestError
from tfpipe.serving.model.loaded import Servable
from tfpipe.serving.model.store import ModelStore, ServedStatus

ModelVersionStatus = get_model_status_pb2.ModelVersionStatus
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {"application/json": {"example": {"error": "what is wrong, and what to do"}}},
    }
    for status, description in {
        400: "not what the model takes",
        401: "no token, or a wrong one",
        404: "no such model or version",
        408: "the request arrived too slowly",
        411: "a body of unknown length",
        413: "the body or an image is too large, or there are too many instances",
        415: "a compressed body",
        429: "this client has too many requests without an answer; Retry-After",
        503: "the server has too many requests without an answer; Retry-After",
    }.items()
}
IMAGE = {"b64": "iVBORw0KGgo..."}
EXAMPLES = {
    "predict": {"instances": [IMAGE]},
    "classify": {"examples": [{"image_bytes": IMAGE}]},
    "explain": {"instances": [IMAGE], "grad_cam": False},
    "infer": {
        "inputs": [{"name": "image_bytes", "shape": [1], "datatype": "BYTES", "data": [IMAGE]}]
    },
}
ANALYSIS_FIELDS = {  # of :analyze -> type and meaning
    "name": ("string", "name of the file, if the body is one"),
    "overlay": ("boolean", "whether images are answered"),
    "windows": ("boolean", "whether every window has a row, too"),
    "inference_mode": ("string", "how windows are slid"),
    "min_precision": ("number", "below which the model abstains"),
    "conformal": ("number", "error rate of sets of classes"),
    "min_sharpness": ("number", "below which an image is blurred and not counted"),
    "embedding": ("boolean", "whether embeddings are answered"),
    "top_m": ("number", "depth of the only photo's top"),
    "bottom_m": ("number", "depth of its bottom"),
}


def status_message(models: ModelStore, name: str, *, version: str = "", label: str = "") -> Any:
    """Returns the GetModelStatusResponse of a model, or of one version of it.

    Raises:
      RequestError: there is none.
    """
    statuses = models.statuses(name)
    if label or (version and int(version) not in {s.version for s in statuses}):
        served = models.get(name, version=version, label=label).servable
        statuses = [_status_of(served.version, statuses)]
    elif version:
        statuses = [_status_of(int(version), statuses)]
    message = get_model_status_pb2.GetModelStatusResponse()
    for status in statuses:
        item = message.model_version_status.add(version=status.version)
        item.state = ModelVersionStatus.END if status.error else ModelVersionStatus.AVAILABLE
        if status.error:
            item.status.error_code = error_codes_pb2.FAILED_PRECONDITION
        item.status.error_message = status.error
    return message


def metadata_message(servable: Servable, name: str) -> Any:
    """Returns the GetModelMetadataResponse of a version."""
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(servable.saved_model)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key in servable.signatures:
        signatures.signature_def[key].CopyFrom(model.meta_graphs[0].signature_def[key])
    message = get_model_metadata_pb2.GetModelMetadataResponse()
    message.model_spec.name = name
    message.model_spec.version.value = servable.version
    message.metadata["signature_def"].Pack(signatures)
    return message


def status(models: ModelStore, name: str, *, version: str = "", label: str = "") -> dict[str, Any]:
    """Returns `status_message` as JSON."""
    return _to_json(status_message(models, name, version=version, label=label))


def metadata(servable: Servable, name: str) -> dict[str, Any]:
    """Returns `metadata_message` as JSON."""
    return _to_json(metadata_message(servable, name))


def runtimes(models: ModelStore) -> dict[str, Any]:
    """Returns which runtime computes the newest version of each name, as `RuntimeChoice` has it."""
    choices = {}
    for name in models.names:
        with contextlib.suppress(RequestError):  # it has no version yet
            choice = models.get(name).servable.choice
            choices[name] = {
                "runtime": choice.runtime,
                "measured_ms": choice.measured_ms,
                "excluded": choice.excluded,
            }
    return choices


def path_parameters(path: str) -> dict[str, Any]:
    """Returns the OpenAPI parameters of a path: the names in its braces."""
    names = [part[1:].partition("}")[0] for part in path.split("/") if part.startswith("{")]
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    }


def operation(method: str, path: str, *, summary: str) -> dict[str, Any]:
    """Returns the OpenAPI description of a method at a path."""
    content = {"application/json": {"schema": {"type": "object"}, "example": EXAMPLES[method]}}
    description = path_parameters(path)
    if method == "explain":
        content["image/*"] = {"schema": {"type": "string", "format": "binary"}}
        description["parameters"].append(
            {
                "name": "grad_cam",
                "in": "query",
                "schema": {"type": "boolean"},
                "description": "if the body is an image",
            }
        )
    responses = {"200": {"description": "the answer"}} | {
        str(status): response for status, response in ERROR_RESPONSES.items()
    }
    request_body = {"required": True, "content": content}
    return description | {"summary": summary, "requestBody": request_body, "responses": responses}


def upload_body(path: str) -> dict[str, Any]:
    """Returns the OpenAPI description of a path that takes raw files."""
    binary = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "properties": {"file": {"type": "array", "items": binary}, "table": binary},
    }
    content = {
        "multipart/form-data": {"schema": form},
        "application/octet-stream": {"schema": binary},
    }
    description = path_parameters(path)
    for name, (kind, text) in ANALYSIS_FIELDS.items():
        schema = {"name": name, "in": "query", "schema": {"type": kind}, "description": text}
        description["parameters"].append(schema)
    return description | {"requestBody": {"required": True, "content": content}}


def is_version_number(version: str) -> bool:
    """Whether a version in a URL is a number."""
    return version.isascii() and version.isdecimal() and len(version) < 19


def _status_of(version: int, statuses: list[ServedStatus]) -> ServedStatus:
    return next(status for status in statuses if status.version == version)


def _to_json(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
