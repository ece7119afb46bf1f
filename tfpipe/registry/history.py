"""Version history: the table of a task's versions, and rollback.

What is served is a fact on disk that TensorFlow Serving reads, too: the highest number. So going
back publishes a copy of the earlier version under the next number.
"""

from pathlib import Path
from typing import Any

from tfpipe.base.errors import UserError
from tfpipe.registry import checked_files, model_card, store
from tfpipe.registry.card import VersionCard


def table(models: Path, *, task: str) -> list[dict[str, Any]]:
    """Returns a row for each version of a task, the newest of each model first.

    Args:
      models: saved_models/.
      task: name.

    Returns:
      Rows of "model", "version", "served" ("yes", "by default" for the one that `predict` takes, or
      ""), "date", "score", "value", "between" (95 % of draws of test groups), "examples", "groups",
      "data" (its fingerprint), "from", "bytes", "one_ms" and "batch_ms" (of "batch" images);
      None for what a card of an earlier release lacks.

    Raises:
      UserError: there is none.
    """
    default = store.find(models, task=task, model=None, version=None)
    rows = []
    for folder in sorted((models / task).iterdir()):
        numbers = store.versions(folder)
        for number in reversed(numbers):
            version = folder / str(number)
            served = "yes" if number == numbers[-1] else ""
            served = "by default" if version == default else served
            row = {"model": folder.name, "version": number, "served": served}
            rows.append(row | _row(store.read_card(version)))
    return rows


def rollback(version: Path) -> Path:
    """Publishes a copy of an earlier version as the next one, and returns its folder.

    Raises:
      UserError: it is the newest, the sha256 of a file differs from its card's, or there is no
        space for a copy.
    """
    folder, card = version.parent, store.read_card(version)
    newest = store.versions(folder)[-1]
    if int(version.name) == newest:
        raise UserError(f"Version {newest} of {folder.name} is the one that is served already.")
    checked_files.check(version, card)
    return store.publish_copy(version, extra_files=_write_model_card)


def _row(card: VersionCard) -> dict[str, Any]:
    score, value, between = _main_score(card)
    data, speed = card.data, card.speed
    copied, begun = card.copied_from, card.initialized_from
    return {
        "date": card.date or None,
        "score": score,
        "value": value,
        "between": between,
        "examples": sum(sum(split.values()) for split in data.counts.values()) or None,
        "groups": sum(data.groups.values()) or None,
        "data": data.fingerprint[:8] or None,
        "from": f"copy of {copied}" if copied else f"weights of {begun}" if begun else None,
        "bytes": card.size_bytes,
        "one_ms": speed.get("one_ms"),
        "batch_ms": speed.get("batch_ms"),
        "batch": speed.get("batch"),
    }


def _main_score(card: VersionCard) -> tuple[str | None, float | None, tuple[float, float] | None]:
    """Returns the score that versions are compared by, its value on the test split and interval."""
    test, intervals = card.metrics.get("test", {}), card.confidence_intervals
    usual = ("average_precision", "macro_average_precision", "accuracy", "mean_squared_error")
    name = next((metric for metric in [*intervals, *usual] if test.get(metric) is not None), None)
    return (name, test[name], intervals.get(name)) if name else (None, None, None)


def _write_model_card(draft: Path) -> None:
    model_card.write(draft)
