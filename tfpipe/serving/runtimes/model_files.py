"""Model files: a version's network as a file of another runtime, of Keras, or for Hugging Face.

A folder is written only if its file, read back, computes what the version's SavedModel computes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfpipe.base import files
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.registry import load
from tfpipe.registry.card import BOOSTED_TREES
from tfpipe.registry.checked_files import MODEL_KERAS, CheckedCopy, checked_copy
from tfpipe.serving.model.batching import BatchedSignature
from tfpipe.serving.runtimes import available, backends, model_folder, parity
from tfpipe.serving.runtimes.backends import Arrays, Network

SIGNATURE = "predict_tensor"


class Format(NamedTuple):
    """A format that a version's network is written in.

    Attributes:
      file: name of the file of the network.
      runtime: name in `available.PACKAGES` of the packages that it needs; "" for none.
      write: (what is written, path) -> None. That is a concrete function, or of Keras a checked
        copy of the version.
      read: path -> what the file computes.
    """

    file: str
    runtime: str
    write: Callable[[Any, Path], None]
    read: Callable[[Path], Network]


class ModelExport(NamedTuple):
    """A version's model in a folder for other tools.

    Attributes:
      path: the folder.
      format: name of the format.
      files: names of its files.
      max_difference: largest difference of its outputs from those of the SavedModel.
      examples: number of examples that both were computed for.
      notes: sentences on what to do before it is passed on.
    """

    path: Path
    format: str
    files: tuple[str, ...]
    max_difference: float
    examples: int
    notes: tuple[str, ...] = ()


def export(version: Path, format: str, out: Path, *, license: str = "") -> ModelExport:
    """Writes a version's network into a new folder, with its card, classes and how to call it.

    Args:
      version: folder of the version.
      format: one of `FORMATS`.
      out: the folder, which must not exist or be empty.
      license: identifier of the licence of an hf folder, such as "cc-by-4.0".

    Raises:
      UserError: there is no such format, a package is missing, the version is of boosted trees or
        cannot be converted, or the outputs of the file differ. Then there is no folder.
    """
    form = FORMATS[choose(format, FORMATS, noun="format of models")]
    if packages := available.missing_packages(form.runtime):
        raise UserError(
            f"--format {format} needs {' and '.join(packages)}, which is not installed. Run "
            f"`pip install {' '.join(packages)}`."
        )
    if license and format != "hf":
        raise UserError("--license is for --format hf. Leave it out.")
    with files.new_folder(out, option="--out") as draft, checked_copy(version) as copy:
        _check_network(copy)
        difference = _write_checked(copy, format, draft / form.file, version=version)
        notes = model_folder.write_beside(
            draft, copy.card, format=format, file=form.file, difference=difference, license=license
        )
        names = tuple(sorted(path.name for path in draft.iterdir()))
    return ModelExport(out, format, names, difference, parity.N_EXAMPLES, notes)


def _check_network(copy: CheckedCopy) -> None:
    if copy.card.kind == BOOSTED_TREES:
        raise UserError(
            f"{_name(copy)} is of boosted trees, which these formats do not hold. Its {load.TREES} "
            "is a file of XGBoost as it is: xgboost.Booster().load_model reads it."
        )


def _write_checked(copy: CheckedCopy, format: str, path: Path, *, version: Path) -> float:
    """Writes a network, and returns by how much the file differs from the SavedModel.

    Raises:
      UserError: it cannot be written or read, or differs too much.
    """
    form, spec = FORMATS[format], copy.card.network_spec
    model = load.load_network(copy)  # its signatures hold no reference to it
    signature = BatchedSignature(model.signatures[SIGNATURE])
    requests = parity.probe_requests(copy.folder, spec, {SIGNATURE: signature})
    requests = [(name, features) for name, features in requests if name == SIGNATURE]
    try:
        form.write(version if not form.runtime else _function(model), path)
        network = form.read(path)
        difference, where = parity.max_difference(
            {SIGNATURE: lambda features: _outputs(signature(features), format)},
            {SIGNATURE: network},
            requests,
        )
    except UserError:
        raise
    except Exception as error:  # each of these packages has its own exceptions
        if files.write_failure(error):
            raise
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise UserError(
            f"{_name(copy)} cannot be written as {format}: {type(error).__name__}, {line[:200]}. "
            f"Nothing was written. Choose another of {', '.join(FORMATS)}."
        ) from error
    if difference > parity.TOLERANCE:
        raise UserError(
            f"{_name(copy)} as {format} differs by {difference:.2g} from its SavedModel in "
            f"{where}, expected at most {parity.TOLERANCE:g}. Nothing was written. Choose another "
            f"of {', '.join(FORMATS)}."
        )
    return difference


def _function(model: Any) -> Any:
    return backends.numeric_function(model.signatures[SIGNATURE])


def _outputs(outputs: Arrays, format: str) -> Arrays:
    """Returns the outputs of a SavedModel that a file of a format has, too."""
    floats = {name: array for name, array in outputs.items() if array.dtype.kind == "f"}
    if FORMATS[format].runtime:
        return floats
    main = "probabilities" if "probabilities" in floats else "reconstruction"
    return {main: floats[main]}


def _name(copy: CheckedCopy) -> str:
    return "/".join(copy.folder.parts[-3:])


def _write_keras(version: Path, path: Path) -> None:
    with checked_copy(version, MODEL_KERAS) as copy:
        path.write_bytes((copy.folder / MODEL_KERAS).read_bytes())


def _read_keras(path: Path) -> Network:
    model: keras.Model = load.read_keras(path, name=path.name)

    def compute(features: Arrays) -> Arrays:
        output = model({name: tf.constant(a) for name, a in features.items()}, training=False)
        is_image = len(output.shape) > 2
        return {"reconstruction" if is_image else "probabilities": np.asarray(output)}

    return compute


def _write_bytes(convert: Callable[[Any], bytes]) -> Callable[[Any, Path], None]:
    return lambda function, path: files.replace(path, convert(function))


def _write_openvino(function: Any, path: Path) -> None:
    import openvino

    openvino.save_model(backends.openvino_model(function), path, compress_to_fp16=False)


FORMATS = {
    "onnx": Format(
        "model.onnx",
        "onnx",
        _write_bytes(backends.onnx_model),
        lambda path: backends.onnx_network(path.read_bytes()),
    ),
    "litert": Format(
        "model.tflite",
        "litert",
        _write_bytes(backends.litert_model),
        lambda path: backends.litert_network(path.read_bytes()),
    ),
    "openvino": Format("model.xml", "openvino", _write_openvino, backends.openvino_network),
    "keras": Format("model.keras", "", _write_keras, _read_keras),
    "hf": Format("model.keras", "", _write_keras, _read_keras),
}
