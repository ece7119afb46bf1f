"""What there is to know of served versions, as TensorFlow Serving's messages, and of the API."""

import contextlib
from typing import Any

from google.protobuf import json_format
from tensorflow.core.protobuf import error_codes_pb2, saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from tfpipe.serving.errors import Refused
from tfpipe.serving.model.loaded import Servable
from tfpipe.serving.model.store import Shelf

State = get_model_status_pb2.ModelVersionStatus
ANSWERS = {
    status: {
        "description": sentence,
        "content": {"application/json": {"example": {"error": "what is wrong, and what to do"}}},
    }
    for status, sentence in {
        400: "not what the model takes",
        401: "no token, or a wrong one",
        404: "no such model or version",
        408: "the request came in too slowly",
        411: "a body of unknown length",
        413: "too large a body or picture, or too many instances",
        415: "a compressed body",
        429: "this client waits for too many answers; Retry-After",
        503: "too much waits already; Retry-After",
    }.items()
}
PICTURE = {"b64": "iVBORw0KGgo..."}
EXAMPLES = {
    "predict": {"instances": [PICTURE]},
    "classify": {"examples": [{"image_bytes": PICTURE}]},
    "explain": {"instances": [PICTURE], "grad_cam": False},
}


def status_message(shelf: Shelf, name: str, *, version: str = "", label: str = ""):
    """Returns the GetModelStatusResponse of a model, or of one version of it.

    Raises:
      Refused: there is none.
    """
    found = shelf.statuses(name)
    if label or (version and int_of(version) not in {one.version for one in found}):
        found = [_of(shelf.get(name, version=version, label=label).servable.version, found)]
    elif version:
        found = [_of(int_of(version), found)]
    message = get_model_status_pb2.GetModelStatusResponse()
    for one in found:
        added = message.model_version_status.add(version=one.version)
        added.state = State.END if one.error else State.AVAILABLE
        if one.error:
            added.status.error_code = error_codes_pb2.FAILED_PRECONDITION
        added.status.error_message = one.error
    return message


def metadata_message(servable: Servable, name: str):
    """Returns the GetModelMetadataResponse of a version."""
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(servable.proto)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key in servable.signatures:
        signatures.signature_def[key].CopyFrom(model.meta_graphs[0].signature_def[key])
    message = get_model_metadata_pb2.GetModelMetadataResponse()
    message.model_spec.name = name
    message.model_spec.version.value = servable.version
    message.metadata["signature_def"].Pack(signatures)
    return message


def status(shelf: Shelf, name: str, **place: str) -> dict[str, Any]:
    """Returns `status_message` as JSON."""
    return _json(status_message(shelf, name, **place))


def metadata(servable: Servable, name: str) -> dict[str, Any]:
    """Returns `metadata_message` as JSON."""
    return _json(metadata_message(servable, name))


def runtimes(shelf: Shelf) -> dict[str, Any]:
    """Returns what computes the newest version of each name, and why: see `choosing.Chosen`."""
    told = {}
    for name in shelf.names:
        with contextlib.suppress(Refused):  # it has no version yet
            chosen = shelf.get(name).servable.computed
            told[name] = {"runtime": chosen.runtime, "measured_ms": chosen.measured_ms}
            told[name]["left_out"] = chosen.left_out
    return told


def names(path: str) -> dict[str, Any]:
    """Returns the OpenAPI parameters of a path: the names in its braces."""
    found = [part[1:].partition("}")[0] for part in path.split("/") if part.startswith("{")]
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in found
        ]
    }


def body(verb: str, place: str) -> dict[str, Any]:
    """Returns the OpenAPI description of what a verb takes."""
    content = {"application/json": {"schema": {"type": "object"}, "example": EXAMPLES[verb]}}
    if verb == "explain":
        content["image/*"] = {"schema": {"type": "string", "format": "binary"}}
    told = names(f"/{{name}}{place}")
    if verb == "explain":
        heat = {"name": "grad_cam", "in": "query", "schema": {"type": "boolean"}}
        told["parameters"].append(heat | {"description": "for a picture as body"})
    return told | {"requestBody": {"required": True, "content": content}}


def int_of(version: str) -> int:
    """Returns the number of a version in a URL, -1 for what is none."""
    return int(version) if version.isascii() and version.isdigit() and len(version) < 19 else -1


def _of(version: int, statuses: list):
    return next(one for one in statuses if one.version == version)


def _json(message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
