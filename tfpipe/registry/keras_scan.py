"""Check of a .keras file before Keras loads it: known layers, and weights of the size that it has.

Keras builds a model from the names of classes and functions in the file, and its own check
(`safe_mode`) refuses Python lambdas only. Some layers read files or call addresses.
"""

import json
import math
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras

from tfpipe.base import json_dataclass
from tfpipe.base.errors import UserError
from tfpipe.models import weights_file

MEMBERS = {"metadata.json", "config.json", weights_file.INSIDE_KERAS}
MAX_CONFIG_BYTES = 64_000_000
MAX_SIZE = 1 << 24  # of an image's side, the channels or the units of a layer
NO_SIZES = ("seed", "shared_object_id")  # numbers of a config that may be larger
# Layers of tfpipe's models, and those that other networks on images and numbers commonly use.
# fmt: off
LAYERS = {
    "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "CenterCrop",
    "Concatenate", "Conv1D", "Conv2D", "Conv2DTranspose", "Cropping2D", "Dense", "DepthwiseConv2D",
    "Dropout", "ELU", "Flatten", "GaussianNoise", "GlobalAveragePooling2D", "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GroupNormalization", "Identity", "InputLayer", "LayerNormalization", "LeakyReLU",
    "MaxPooling2D", "Maximum", "Minimum", "Multiply", "Normalization", "PReLU", "Permute", "ReLU",
    "RepeatVector", "Rescaling", "Reshape", "Resizing", "SeparableConv2D", "Softmax",
    "SpatialDropout2D", "Subtract", "UpSampling2D", "ZeroPadding2D",
}
INITIALIZERS = {
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal",
    "LecunUniform", "Ones", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal",
    "VarianceScaling", "Zeros",
}
# fmt: on
CLASSES = {  # (module, class) as Keras writes them
    *(("keras.layers", name) for name in LAYERS),
    *(("keras.initializers", name) for name in INITIALIZERS),
    *(("keras.regularizers", name) for name in ("L1", "L2", "L1L2")),
    ("keras", "DTypePolicy"),
    ("keras", "Functional"),
    ("keras", "Sequential"),
    ("keras.src.models.functional", "Functional"),
    ("keras.src.models.sequential", "Sequential"),
    (None, "__keras_tensor__"),
}
OWN_NAMES = (
    "Interval", "Locating", "RelativeBrightness", "RowClasses", "RowLabelling", "Sample",
    "UnitScale",
)  # fmt: skip
OWN = {f"tfpipe>{name}" for name in OWN_NAMES}


def scan(path: Path, *, name: str) -> None:
    """Checks that a .keras file holds a network of known layers, and no more than its weights.

    Args:
      path: of the file.
      name: of the version, for the error message.

    Raises:
      UserError: the file has a class that is not in `CLASSES`, or other files than a network's; its
        weights refer to other files, or it declares more than it holds.
      Exception: whatever zipfile, json, h5py and Keras raise for a damaged file.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        config = _config(archive, name)
    for part in _objects(config):
        _check_sizes(part, name)
        if {"class_name", "module", "registered_name"} & part.keys():
            _check_class(part, name)
    with weights_file.opened(path) as file:
        weights_file.check(file, size=size, path=Path(name, "model.keras"))
    with ThreadPoolExecutor(1) as executor:  # Keras keeps what it built for each thread
        declared = executor.submit(_n_weights, config).result()
    if 4 * declared > weights_file.EXPANSION * size + weights_file.SLACK_BYTES:
        raise _refusal(name, f"declares {declared:,} weights, which it does not hold")


def _config(archive: zipfile.ZipFile, name: str) -> Any:
    members = {info.filename: info for info in archive.infolist()}
    if members.keys() != MEMBERS or len(archive.infolist()) != len(MEMBERS):
        raise _refusal(name, f"holds other files than {', '.join(sorted(MEMBERS))}")
    if members["config.json"].file_size > MAX_CONFIG_BYTES:
        raise _refusal(name, f"has a config.json of more than {MAX_CONFIG_BYTES / 1e6:.0f} MB")
    config = json_dataclass.parse(archive.read("config.json"))
    if isinstance(config, dict):
        config.pop("compile_config", None)  # models are loaded without it
    return config


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Gives all objects in a config."""
    values = [config]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            yield value
            values += value.values()
        elif isinstance(value, list):
            values += value


def _check_sizes(part: dict[str, Any], name: str) -> None:
    """Refuses sizes that take gigabytes when a layer is built, with no weight to show for it."""
    for key, value in part.items():
        numbers = value if isinstance(value, list) else [value]
        sizes = [number for number in numbers if isinstance(number, int)]
        if key not in NO_SIZES and max(map(abs, sizes), default=0) > MAX_SIZE:
            raise _refusal(name, f"has a size of {max(map(abs, sizes)):,} in {key[:40]!r}")
    if "mean" in part and "axis" in part and part["axis"] not in (-1, [-1]):
        raise _refusal(name, "is scaled along other axes than the last")


def _check_class(part: dict[str, Any], name: str) -> None:
    module, class_name = part.get("module"), part.get("class_name")
    registered = part.get("registered_name")
    if registered in OWN:  # Keras finds it by this name alone
        return
    is_plain = registered in (None, class_name)
    if not is_plain or not isinstance(class_name, str) or (module, class_name) not in CLASSES:
        what = json.dumps([module, class_name if is_plain else registered])[:120]
        raise _refusal(name, f"has the class {what}, which no model of tfpipe needs")


def _n_weights(config: Any) -> int:
    """Returns the number of weights of a model, none of which gets memory."""
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    if not isinstance(model, keras.Model):
        raise TypeError("it holds no model")
    return sum(math.prod(variable.shape) for variable in model.variables)


def _refusal(name: str, reason: str) -> UserError:
    return UserError(f"{name}/model.keras {reason}. It is not loaded; export the version again.")
