"""Warm start: weights and scaling of a version, from which a training begins."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import keras

from tfpipe.base.errors import UserError
from tfpipe.models import build
from tfpipe.models.calls import soften
from tfpipe.models.spec import Spec
from tfpipe.registry import load, store

SCALES = ("image_mean", "image_std", "column_mean", "column_std")


def spec_of(version: Path, spec: Spec) -> Spec:
    """Returns a spec with the version's scales: its weights fit pixels scaled as it knew them.

    Args:
      version: that is gone on from.
      spec: of the records as they are now.

    Raises:
      UserError: the records have other classes, columns or images than the version's.
    """
    card = store.read_card(version)
    if card.spec is None:
        raise UserError(
            f"Version {version.name} of {version.parent.name} has no weights to go on from. Train "
            "anew by --from-scratch."
        )
    previous = card.spec
    for field in fields(Spec):
        value, previous_value = getattr(spec, field.name), getattr(previous, field.name)
        if field.name not in SCALES and value != previous_value:
            raise UserError(
                f"The records now have {field.name} {_text(value)}, but version {version.name} of "
                f"{version.parent.name} was trained with {_text(previous_value)}, so its "
                "weights do not fit. Train "
                "anew by --from-scratch."
            )
    return replace(spec, **{name: getattr(previous, name) for name in SCALES})


def model_of(version: Path, spec: Spec, arguments: dict[str, Any]) -> keras.Model:
    """Returns a version's network with its weights as they were before they were calibrated.

    Args:
      version: that is gone on from.
      spec: by `spec_of`.
      arguments: of the builder.

    Raises:
      UserError: its model.keras is missing or not what was exported.
    """
    model = load.read_model(version)
    fitted = store.read_card(version).calibration
    temperature, bias = fitted.get("temperature", 1.0), fitted.get("bias", ())
    if temperature != 1 or any(bias):
        soften(model, 1 / temperature, [-temperature * value for value in bias])
    if arguments.get("weights", "none") != "none":
        return model  # the file of the body's first weights may be gone
    card = store.read_card(version)
    built = build(card.model, spec, arguments)
    built.set_weights(model.get_weights())
    return built


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
