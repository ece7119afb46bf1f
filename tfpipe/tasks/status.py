"""What state each task is in: raw files there, records packed, versions saved."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from tfpipe.tasks.task import Task, raw_folder


def of(task: Task, *, data: Path, models: Path) -> dict[str, Any]:
    """Returns what there is to know of a task, in words; imports nothing heavy."""
    raw, manifest = raw_folder(task, data), data / "records" / task.name / "manifest.json"
    saved = [
        f"{path.name}: {', '.join(numbers)}"
        for path in sorted((models / task.name).glob("*"))
        if (numbers := sorted((p.name for p in path.iterdir() if p.name.isdigit()), key=int))
    ]
    options = [
        f"{field.name}={getattr(task.options, field.name)}: {field.metadata['help']}"
        for field in dataclasses.fields(task.options)
    ]
    return {
        "task": task.name,
        "title": task.title,
        "classes": ", ".join(task.classes) or "those of the raw folder",
        "models": ", ".join(task.models),
        "expects": f"{raw}/: {task.expects}",
        "raw": "there" if raw.is_dir() and any(raw.iterdir()) else "none",
        "packed": _packed(manifest),
        "versions": saved or "none",
        "options": options,
    }


def _packed(manifest: Path) -> str:
    if not manifest.is_file():
        return "no"
    counts = json.loads(manifest.read_bytes())["counts"]
    return "; ".join(
        f"{split}: {', '.join(f'{n} {name}' for name, n in classes.items())}"
        for split, classes in counts.items()
    )
