"""Numbered versions of a trained model: a SavedModel that takes raw bytes, and its card."""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfpipe.base import files, hardware, images, processes
from tfpipe.base.errors import UserError
from tfpipe.models import calls
from tfpipe.models.calls import reconstructs
from tfpipe.models.spec import Spec
from tfpipe.registry import export, parity, warmup
from tfpipe.registry.card import AUTOENCODER, CLASSIFIER, VersionCard

TOLERANCE = 1e-5  # the exported model's answers (0..1) may differ from the trained one's by so much
CHECKED = 64  # examples the two are compared on
PACKAGES = ("tensorflow", "keras", "keras-tuner", "numpy", "opencv-python-headless", "tfpipe")


def versions(folder: Path) -> list[int]:
    """Returns the numbers of a model's published versions, rising; hidden ones are unfinished."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def publish(
    model: keras.Model,
    spec: Spec,
    folder: Path,
    *,
    card: VersionCard,
    checked: dict[str, np.ndarray],
) -> Path:
    """Exports a float32 model beside its place and checks it in a fresh process.

    Args:
      model: computes in float32.
      spec: what it was built from.
      folder: saved_models/<task>/<model>.
      card: what the version is; its kind, inputs, file sums and package versions are added.
      checked: real examples, "image" [n, height, width, channels] and "columns" [n, columns] where
        the task has some; the exported model's answers to them must equal the trained one's.

    Returns:
      The hidden folder, for `number` to publish once the report is in it.

    Raises:
      UserError: if the exported model answers otherwise; nothing is published then.
    """
    draft = folder / ".draft"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        export.write(model, spec, draft)
        extra = draft / "assets.extra"
        extra.mkdir(exist_ok=True)
        model.save(extra / "model.keras")
        warmup.write(draft, _first_requests(model, checked))
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise UserError(
            f"{folder} cannot be written: {error.strerror or error}. Free some space or choose "
            "another folder by --models."
        ) from error
    count = min(CHECKED, len(next(iter(checked.values()))))
    examined = _parity(model, spec, draft, checked=checked)
    there = [path for path in sorted(draft.rglob("*")) if path.is_file()]
    sums = {path.relative_to(draft).as_posix(): files.sha256(path) for path in there}
    card = replace(
        card,
        version=_next(folder),
        kind=AUTOENCODER if reconstructs(model) else CLASSIFIER,
        inputs=tuple(calls.inputs_of(model)),
        spec=spec,
        columns=spec.columns,
        parity={
            "max_difference": examined["difference"],
            "tolerance": TOLERANCE,
            "examples": count,
        },
        speed=examined["speed"],
        packages={name: metadata.version(name) for name in PACKAGES},
        sha256=sums,
        **circumstances(there),
    )
    files.replace(extra / "card.json", card.to_json())
    return draft


def circumstances(made: Iterable[Path]) -> dict[str, Any]:
    """Returns what a card tells of how a version's files were made: when, where, how large."""
    machine = hardware.examine()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "size_bytes": sum(path.stat().st_size for path in made),
        "hardware": {name: machine[name] for name in ("processor", "threads", "GPU")},
        "python": machine["python"],
    }


def number(draft: Path) -> Path:
    """Gives a draft the next version number and returns its folder."""
    final = draft.parent / str(_next(draft.parent))
    os.replace(draft, final)
    return final


def _next(folder: Path) -> int:
    latest = versions(folder)
    return latest[-1] + 1 if latest else 1


def read_card(version: Path) -> VersionCard:
    """Returns a version's card.

    Raises:
      UserError: if there is none that can be read.
    """
    path = version / "assets.extra" / "card.json"
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{version} has no readable card.json, so it is no tfpipe version."
        ) from error
    return VersionCard.from_json(value, file=str(path))


def find(
    models: Path,
    *,
    task: str,
    model: str | None,
    version: int | None,
    kinds: tuple[str, ...] = (),
) -> Path:
    """Returns the folder of a version; by default the newest of the model that was written last.

    Args:
      models: saved_models/.
      task: name.
      model: name, or None for the one written last.
      version: number, or None for the newest.
      kinds: of model that are looked for first where none is named.

    Raises:
      UserError: if there is none, naming those there are.
    """
    there = {
        path.name: versions(path) for path in sorted((models / task).glob("*")) if versions(path)
    }
    if not there:
        raise UserError(f"{models / task} holds no version yet. Run `tfpipe tune {task}` first.")
    if model is None:
        newest = {name: models / task / name / str(n[-1]) for name, n in there.items()}
        wanted = [n for n, path in newest.items() if kinds and read_card(path).kind in kinds]
        model = max(wanted or newest, key=lambda name: newest[name].stat().st_mtime)
    numbers = there.get(model, [])
    if not numbers or (version is not None and version not in numbers):
        known = "; ".join(f"{name}: {', '.join(map(str, n))}" for name, n in there.items())
        raise UserError(f"{task} has no version {version or ''} of {model}. There are {known}.")
    return models / task / model / str(version or numbers[-1])


def check(version: Path, names: Iterable[str], card: VersionCard) -> None:
    """Raises a UserError if a file of a version is not the one that the card vouches for."""
    for name in names:
        if not (version / name).is_file() or files.sha256(version / name) != card.sha256[name]:
            raise UserError(
                f"{version / name} is missing or not what was exported. Export it again."
            )


def _first_requests(model: keras.Model, checked: dict[str, np.ndarray]) -> dict[str, dict]:
    """Returns a request of one example for each signature, to warm up with."""
    taken = {name: checked[name][:1] for name in calls.inputs_of(model)}
    encoded = {name: array for name, array in taken.items() if name != "image"}
    if "image" in taken:
        encoded["image_bytes"] = np.array([bytes_of(taken["image"][0])], object)
    return {"serving_default": encoded, "predict_tensor": taken, "embed": taken}


def _parity(model: keras.Model, spec: Spec, path: Path, *, checked: dict[str, np.ndarray]) -> dict:
    """Returns how far the export, in a fresh process, is from the trained model, and its speed."""
    taken = {name: checked[name][:CHECKED] for name in calls.inputs_of(model)}
    arrays = taken | {"expected": model(taken, training=False).numpy()}
    for i, image in enumerate(taken.get("image", ())):
        arrays[f"encoded{i:03d}"] = np.frombuffer(bytes_of(image), np.uint8)
    sample = path / "assets.extra" / ".parity.npz"
    np.savez(sample, **arrays)
    try:
        examined = processes.called(parity.examined, str(path), str(sample))
    except Exception as error:
        shutil.rmtree(path, ignore_errors=True)
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UserError(f"The exported model does not load in a fresh process: {reason}") from error
    finally:
        sample.unlink(missing_ok=True)
    difference = examined["difference"]
    if not difference <= TOLERANCE:
        shutil.rmtree(path, ignore_errors=True)
        raise UserError(
            f"The exported model differs from the trained one by {difference:.2g} in its answers, "
            f"expected at most {TOLERANCE:g}. Nothing was published."
        )
    return examined


def bytes_of(image: np.ndarray) -> bytes:
    """Returns a picture as the bytes that serving_default takes: a PNG, or floats as they are."""
    if image.dtype == np.float32:
        return image.tobytes()
    return images.encode_png(image[:, :, 0] if image.shape[2] == 1 else image)
