"""Universal Binary JSON as XGBoost writes it, of what `Booster.save_raw("json")` holds."""

import json
import struct
from typing import Any

import numpy as np

ARRAYS = {"left_children": "l", "right_children": "l", "parents": "l", "split_indices": "l"}
ARRAYS |= {"categories": "l", "categories_nodes": "l", "feature_segments": "l", "sorted_idx": "l"}
ARRAYS |= {"categories_segments": "L", "categories_sizes": "L"}
ARRAYS |= dict.fromkeys(("default_left", "split_type"), "U")
ARRAYS |= dict.fromkeys(("base_weights", "loss_changes", "split_conditions", "sum_hessian"), "d")
KINDS = {"U": ">u1", "l": ">i4", "L": ">i8", "d": ">f4"}


def encoded(value: Any, name: str = "") -> bytes:
    """Returns a value of JSON as bytes; arrays that XGBoost writes by type are so here."""
    if isinstance(value, dict):
        items = (_length(key.encode()) + encoded(item, key) for key, item in value.items())
        return b"{" + b"".join(items) + b"}"
    if isinstance(value, str):
        return b"S" + _length(value.encode())
    if isinstance(value, list) and name in ARRAYS:
        kind = ARRAYS[name]
        head = f"[${kind}#L".encode() + struct.pack(">q", len(value))
        return head + np.array(value, KINDS[kind]).tobytes()
    if isinstance(value, list):
        head = b"[#L" + struct.pack(">q", len(value))
        return head + b"".join(encoded(item) for item in value)
    return b"l" + struct.pack(">i", value)


def model(trees: Any) -> dict[str, Any]:
    """Returns the JSON of boosted trees."""
    return json.loads(trees.save_raw("json"))


def _length(data: bytes) -> bytes:
    return b"L" + struct.pack(">q", len(data)) + data
