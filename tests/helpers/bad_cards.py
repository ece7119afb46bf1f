"""Contents of card.json that are no card, and changes after which a card is none."""

import json
from pathlib import Path
from typing import Any

INFINITE = float("inf")
DEEP = "[" * 100_000 + "]" * 100_000

NOT_JSON = {
    "empty": "",
    "cut": '{"task": "tiny"',
    "not-utf-8": b'{"task": "\xff"}',
    "deep": DEEP,
    "deep-in-a-field": '{"task": "t", "model": "m", "search": {"a": ' + DEEP + "}}",
    "long-number": '{"task": "t", "model": "m", "version": ' + "9" * 5000 + "}",
}
NO_CARD = {
    "null": None,
    "list": [],
    "text": "card",
    "number": 1,
    "no-task": {"model": "m"},
}
BAD_FIELDS: dict[str, dict[str, Any]] = {
    "sums-as-list": {"sha256": []},
    "sum-as-number": {"sha256": {"saved_model.pb": 1}},
    "drift-as-text": {"drift": "x"},
    "drift-of-numbers": {"drift": {"brightness": 1}},
    "drift-of-nothing": {"drift": {"brightness": {}}},
    "drift-without-edges": {"drift": {"brightness": {"counts": [1.0, 2.0]}}},
    "drift-of-other-length": {
        "drift": {"brightness": {"edges": [1.0], "counts": [1.0], "limits": {}, "mean": 1.0}}
    },
    "kind": {"kind": "sorcerer"},
    "inputs": {"inputs": ["video"]},
    "classes-as-text": {"classes": "ab"},
    "classes-twice": {"classes": ["a", "a"]},
    "threshold-nan": {"thresholds": {"decision": float("nan")}},
    "threshold-infinite": {"thresholds": {"decision": INFINITE}},
    "temperature-text": {"calibration": {"temperature": "hot"}},
    "temperature-zero": {"calibration": {"temperature": 0.0}},
    "temperature-missing": {"calibration": {"note": ""}},
    "abstention-without-thresholds": {"abstention": {"min_precision": 0.9}},
    "abstention-of-other-classes": {
        "classes": ["a", "b"],
        "abstention": {"thresholds": {"c": 0.5}},
    },
    "mode-as-list": {"inference_modes": {"windows": []}},
    "mode-is-a-list": {"inference_mode": []},
    "modes-as-list": {"inference_modes": [1]},
    "speed": {"speed": {"one_ms": "fast"}},
    "metrics-of-lists": {"metrics": {"test": {"accuracy": []}}},
    "metrics-as-list": {"metrics": {"test": [1]}},
    "use": {"intended_use": {"classes": 3}},
    "comparison": {"comparison": {"with": 1}},
    "size": {"size_bytes": 10**400},
    "shape": {"spec": {"image_shape": [4, 0, 1], "classes": [], "image_mean": [], "image_std": []}},
    "scale": {
        "spec": {
            "image_shape": [4, 4, 1],
            "classes": [],
            "image_mean": [float("nan")],
            "image_std": [1.0],
        }
    },
    "escape-codes": {"limitations": ["\x1b[2J gone"]},
    "null-byte": {"data": {"fingerprint": "", "origin": "a\0b"}},
}


def contents(card: dict[str, Any]) -> dict[str, bytes]:
    """Returns name -> bytes of a card.json that must be refused.

    Args:
      card: a good card, whose fields are replaced.
    """
    texts: dict[str, str | bytes] = dict(NOT_JSON)
    texts |= {name: json.dumps(value) for name, value in NO_CARD.items()}
    texts |= {name: json.dumps(card | fields) for name, fields in BAD_FIELDS.items()}
    return {name: t if isinstance(t, bytes) else t.encode() for name, t in texts.items()}


def write(version: Path, data: bytes) -> None:
    """Writes the contents of a version's card.json."""
    folder = version / "assets.extra"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_bytes(data)
