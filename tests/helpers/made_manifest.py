"""A manifest of records that lie nowhere."""

from typing import Any

from tfpipe.data.manifest import RecordManifest


def made_manifest(**fields: Any) -> RecordManifest:
    """Returns the manifest of no records, with some fields set."""
    values: dict[str, Any] = {
        "task": "tiny",
        "tfpipe": "0",
        "fingerprint": "",
        "options": {},
        "classes": (),
        "image_shape": (16, 16, 1),
        "image_dtype": "uint8",
        "image_encoding": "bytes",
        "columns": (),
        "metadata": {},
        "sources": {},
        "shards": (),
    }
    return RecordManifest(**values | fields)
