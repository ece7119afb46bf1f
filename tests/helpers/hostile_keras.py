"""Files like model.keras that do something else when they are loaded: the published attacks."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tiny

from tfpipe.models.spec import Spec

SPEC = Spec((16, 16, 1), tiny.CLASSES, (100.0,), (50.0,))
Members = dict[str, bytes]
WEIGHTS = "model.weights.h5"


def members_of(path: Path) -> Members:
    """Returns the files in a .keras file."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Members, *, compression: int = zipfile.ZIP_STORED) -> None:
    """Writes a .keras file of these files."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def with_config(change: Callable[[dict], None]) -> Callable[[Members], Members]:
    """Returns what gives the files with another config."""

    def changed(members: Members) -> Members:
        config = json.loads(members["config.json"])
        change(config)
        return members | {"config.json": json.dumps(config).encode()}

    return changed


def with_layer(layer: dict[str, Any]) -> Callable[[Members], Members]:
    """Returns what puts a layer between the last one and its input."""

    def change(config: dict) -> None:
        layers = config["config"]["layers"]
        name = layer["config"].get("name", "more")
        layers.append(
            {"registered_name": None, "inbound_nodes": [], "name": name}
            | layer
            | {"inbound_nodes": layers[-1]["inbound_nodes"]}
        )
        config["config"]["output_layers"] = [name, 0, 0]

    return with_config(change)


def with_activation(function: dict[str, Any]) -> Callable[[Members], Members]:
    """Returns what makes a function the activation of a layer."""
    return with_layer(
        {
            "module": "keras.layers",
            "class_name": "Activation",
            "config": {"name": "more", "activation": function},
        }
    )


def with_weights(change: Callable[[h5py.File], None]) -> Callable[[Members], Members]:
    """Returns what gives the files with other weights."""

    def changed(members: Members) -> Members:
        buffer = io.BytesIO(members[WEIGHTS])
        with h5py.File(buffer, "r+") as file:
            change(file)
        return members | {WEIGHTS: buffer.getvalue()}

    return changed


def first_array(file: h5py.File) -> tuple[h5py.Group, str]:
    """Returns the group of the first layer with weights, and the name of its first array."""
    (layer, *_) = [group for group in file["layers"].values() if len(group.get("vars", ()))]
    return layer["vars"], "0"


def keras_layer(name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": name, "config": {"name": "more", **config}}


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def corpus(outside: Path) -> dict[str, Callable[[Members], Members]]:
    """Returns name -> what makes a hostile file of the files of a good one.

    Args:
      outside: a folder with `secret.txt` and `secret.h5`; what an attack writes, it writes there.
    """
    code = {"class_name": "__lambda__", "config": {"value": "4wAAAAA=", "defaults": None}}
    target, secret = str(outside / "written"), str(outside / "secret.txt")

    def external_link(file: h5py.File) -> None:
        group, name = first_array(file)
        del group[name]
        group[name] = h5py.ExternalLink(str(outside / "secret.h5"), "secret")

    def external_storage(file: h5py.File) -> None:
        group, name = first_array(file)
        shape = group[name].shape
        del group[name]
        size = 4 * int(np.prod(shape))
        group.create_dataset(name, shape, "float32", external=[(secret, 0, size)])

    def virtual(file: h5py.File) -> None:
        group, name = first_array(file)
        shape = group[name].shape
        del group[name]
        layout = h5py.VirtualLayout(shape, "float32")
        layout[...] = h5py.VirtualSource(str(outside / "secret.h5"), "secret", shape)
        group.create_virtual_dataset(name, layout)

    def shape_bomb(file: h5py.File) -> None:
        group, name = first_array(file)
        del group[name]
        group.create_dataset(name, (1 << 40, 1 << 11), "float32", chunks=(1 << 10, 1 << 10))

    def nested(config: dict) -> None:
        for _ in range(100):
            config["config"] = {"class_name": "Functional", "module": "keras", "config": {}}
            config = config["config"]

    def units(config: dict) -> None:
        for layer in config["config"]["layers"]:
            layer.pop("build_config", None)
            if layer["class_name"] == "Dense":
                layer["config"]["units"] = 1 << 23

    return {
        "lambda-layer": with_layer(keras_layer("Lambda", function=code)),
        "lambda-activation": with_activation(code),
        "module-of-python": with_activation(function("os", "system")),
        "class-of-python": with_layer(
            {"module": "subprocess", "class_name": "Popen", "config": {"name": "more"}}
        ),
        "get-file": with_activation(function("keras.utils", "get_file")),
        "save-as-a-gadget": with_activation(function("keras.models", "save_model")),
        "unsafe-mode": with_activation(function("keras.config", "enable_unsafe_deserialization")),
        "registered-name": with_layer(keras_layer("Dense", units=1) | {"registered_name": "os>x"}),
        "saved-model-layer": with_layer(
            keras_layer("TFSMLayer", filepath=str(outside), call_endpoint="serve")
        ),
        "vocabulary-file": with_layer(keras_layer("StringLookup", vocabulary=secret)),
        "vocabulary-address": with_layer(
            keras_layer("StringLookup", vocabulary="http://127.0.0.1:9/words")
        ),
        "text-vocabulary": with_layer(keras_layer("TextVectorization", vocabulary=secret)),
        "numbers-of-a-file": with_layer(keras_layer("IntegerLookup", vocabulary=secret)),
        "torch-layer": with_layer(keras_layer("TorchModuleWrapper", module="gAR9lC4=")),
        "jax-layer": with_layer(keras_layer("JaxLayer", call_fn=function("os", "system"))),
        "type-spec": with_config(
            lambda config: config.update(
                extra={"class_name": "__typespec__", "spec_name": "x", "config": [], "module": "os"}
            )
        ),
        "nested": with_config(nested),
        "path-in-a-name": with_layer(keras_layer("Flatten") | {"name": "../../x"}),
        "external-link": with_weights(external_link),
        "external-storage": with_weights(external_storage),
        "virtual-array": with_weights(virtual),
        "shape-bomb": with_weights(shape_bomb),
        "units-bomb": with_config(units),
        "side-bomb": with_layer(keras_layer("UpSampling2D", size=[1 << 30, 1 << 30])),
        "config-bomb": lambda members: members | {"config.json": b" " * 65_000_000},
        "no-weights": lambda members: {n: m for n, m in members.items() if n != WEIGHTS},
        "weights-of-numpy": lambda members: (
            {n: m for n, m in members.items() if n != WEIGHTS} | {"model.weights.npz": b"PK"}
        ),
        "assets": lambda members: members | {"assets/../../x": b"x"},
        "path-in-the-archive": lambda members: members | {f"../../..{target}": b"x"},
        "no-json": lambda members: members | {"config.json": b"{"},
        "null": lambda members: members | {"config.json": b"null"},
        "list": lambda members: members | {"config.json": b"[]"},
        "no-hdf5": lambda members: members | {WEIGHTS: b"x" * 1000},
    }
