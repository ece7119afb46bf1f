"""Files beside an exported model: its card with how to call it, its classes, and card.json.

For Hugging Face the card is README.md with a head of YAML, as the Hub's documentation of model
cards has it: https://huggingface.co/docs/hub/model-cards.
"""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.evaluation.metric_names import METRICS
from tfpipe.registry import model_card
from tfpipe.registry.card import CLASSIFIER, VersionCard
from tfpipe.serving.runtimes import parity

NO_LICENSE = "unknown"  # the Hub's word for it
CALLS = {  # format -> how its file is opened and called
    "onnx": """
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
features = {features}
outputs = session.run(["{output}"], features)[0]
""",
    "litert": """
import numpy as np
from ai_edge_litert.interpreter import Interpreter

run = Interpreter("{file}").get_signature_runner()
features = {features}
outputs = run(**features)["{output}"]
""",
    "openvino": """
import numpy as np
import openvino

options = {{"INFERENCE_PRECISION_HINT": "f32"}}  # else some processors compute in bfloat16
model = openvino.Core().compile_model("{file}", "CPU", options)
features = {features}
outputs = model(features)[model.output("{output}")]
""",
    "keras": """
import keras
import numpy as np
import tfpipe.models  # its layers

model = keras.models.load_model("{file}", compile=False)
features = {features}
outputs = model(features)
""",
}
_LICENSE = re.compile("[a-z0-9][a-z0-9.-]*")


def write_beside(
    folder: Path, card: VersionCard, *, format: str, file: str, difference: float, license: str
) -> tuple[str, ...]:
    """Writes what belongs beside a model file, and returns sentences on what is left to do.

    Args:
      folder: where the model file is.
      card: of the version.
      format: one of `model_files.FORMATS`.
      file: name of the model file.
      difference: largest difference of its outputs from those of the SavedModel.
      license: identifier of the licence; "" for none.

    Raises:
      UserError: the licence is no identifier.
    """
    if license and not _LICENSE.fullmatch(license):
        raise UserError(
            f"--license is {license!r}, expected an identifier such as cc-by-4.0 or apache-2.0: "
            "https://huggingface.co/docs/hub/repositories-licenses lists them."
        )
    # The last section lists the version's own files, which are not here.
    headline, heading, rest = model_card.text(card).partition("\n## Files\n")[0].partition("\n## ")
    use = _how_to_call(card, format=format, file=file, difference=difference)
    text = f"{headline}\n{use}{heading}{rest}"
    name = "MODEL_CARD.md"
    if format == "hf":
        head = yaml.safe_dump(hub_metadata(card, license=license), sort_keys=False)
        name, text = "README.md", f"---\n{head}---\n\n{text}"
    files.replace(folder / name, text.encode("utf-8", "replace"))
    files.replace(folder / "card.json", card.to_json())
    if card.classes:
        lines = "".join(f"{one}\n" for one in card.classes)
        files.replace(folder / "labels.txt", lines.encode("utf-8", "replace"))
    if format == "hf" and not license:
        return (
            "The card names no licence, so others cannot know what they may do with the model. "
            "Name one by --license, such as cc-by-4.0.",
        )
    return ()


def hub_metadata(card: VersionCard, *, license: str = "") -> dict[str, Any]:
    """Returns the head of a model card of the Hugging Face Hub.

    Args:
      card: of the version.
      license: identifier of the licence; "" for none.
    """
    is_image_classifier = card.kind == CLASSIFIER and "image" in card.inputs
    scores = _scores(card)
    metadata: dict[str, Any] = {
        "license": license or NO_LICENSE,
        "library_name": "keras",
        "tags": ["tfpipe", card.task, card.model],
        "metrics": list(scores),
    }
    if is_image_classifier:
        metadata["pipeline_tag"] = "image-classification"
    if scores:
        kind = "image-classification" if is_image_classifier else "other"
        metadata["model-index"] = [
            {
                "name": f"{card.task} {card.model} {card.version}",
                "results": [
                    {
                        "task": {"type": kind},
                        "dataset": {
                            "name": f"{card.task}, test groups",
                            "type": card.task,
                            "split": "test",
                            "revision": card.data.fingerprint,
                        },
                        "metrics": [
                            {"type": name, "value": value, "name": METRICS[name][0]}
                            for name, value in scores.items()
                        ],
                    }
                ],
            }
        ]
    return metadata


def _scores(card: VersionCard) -> dict[str, float]:
    """Returns the scores of the test split that are defined, without counts."""
    return {
        name: value
        for name, value in card.metrics.get("test", {}).items()
        if name in METRICS and isinstance(value, float) and math.isfinite(value)
    }


def _how_to_call(card: VersionCard, *, format: str, file: str, difference: float) -> str:
    spec = card.network_spec
    output = "probabilities" if card.kind == CLASSIFIER else "reconstruction"
    inputs = {
        "image": f'np.zeros((1, {", ".join(map(str, spec.image_shape))}), "{spec.image_dtype}")',
        "columns": f'np.zeros((1, {len(spec.columns)}), "float32")',
    }
    features = ", ".join(f'"{name}": {inputs[name]}' for name in card.inputs)
    code = CALLS["keras" if format == "hf" else format]
    code = code.format(file=file, output=output, features=f"{{{features}}}").strip()
    lines = []
    if "image" in card.inputs:
        shape = " x ".join(map(str, spec.image_shape))
        lines.append(
            f"- `image`: [n, {shape}] {spec.image_dtype}, raw pixels as `tfpipe pack` cuts them "
            "from raw files. The network scales them itself."
        )
    if "columns" in card.inputs:
        names = ", ".join(f"`{name}`" for name in card.columns)
        lines.append(f"- `columns`: [n, {len(spec.columns)}] float32: {names}.")
    if card.kind == CLASSIFIER:
        lines.append(f"- `{output}`: [n, {len(card.classes)}] float32, in the order of labels.txt.")
    else:
        lines.append(f"- `{output}`: the images that the network gives back.")
    if "decision" in card.thresholds and len(card.classes) == 2:
        lines.append(
            f"- It is `{card.classes[1]}` from a probability of {card.thresholds['decision']:.4g} "
            "on; the more probable class is not the version's answer."
        )
    return "\n".join(
        [
            "## How to call it",
            "",
            *lines,
            "",
            f"```python\n{code}\n```",
            "",
            f"`{file}` computes what the version's SavedModel computes: on {parity.N_EXAMPLES} "
            f"examples the outputs differed by at most {difference:.1g}.",
            "",
        ]
    )
