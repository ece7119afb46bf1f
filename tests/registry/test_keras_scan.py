"""A .keras file that does more than hold a network is refused, and leaves no trace."""

import json
from pathlib import Path

import audited_loading
import h5py
import hostile_keras
import keras
import numpy as np
import pytest
import subprocesses
import tiny
from hostile_keras import SPEC, corpus
from hostile_versions import write_card

from tfpipe.registry import load

NAMES = sorted(corpus(Path("/nowhere")))
# What is refused elsewhere than by its class; the others have a class that no model needs.
OTHERWISE = {
    "assets": "holds other files than config.json, metadata.json",
    "config-bomb": "has a config.json of more than 64 MB",
    "external-link": "is a link to another place",
    "external-storage": "refers to another file",
    "list": "cannot be loaded: ",
    "nested": "cannot be loaded: nested deeper than 50 levels",
    "no-hdf5": "cannot be loaded: ",
    "no-json": "cannot be loaded: ",
    "no-weights": "holds other files than",
    "null": "cannot be loaded: ",
    "path-in-a-name": "",
    "path-in-the-archive": "holds other files than",
    "shape-bomb": "its arrays declare ",
    "side-bomb": "has a size of 1,073,741,824 in 'size'",
    "units-bomb": "weights, which it does not hold",
    "virtual-array": "refers to another file",
    "weights-of-numpy": "holds other files than",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A good version, and one of each attack, named by it, whose cards have the right sums."""
    root = tmp_path_factory.mktemp("keras")
    outside = root / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret\n" * 100)
    with h5py.File(outside / "secret.h5", "w") as file:
        file["secret"] = np.ones((3, 3, 1, 4), np.float32)
    keras.utils.set_random_seed(0)
    good = root / "good" / "cnn" / "1" / "assets.extra" / "model.keras"
    good.parent.mkdir(parents=True)
    tiny.build(SPEC).save(good)
    members = hostile_keras.members_of(good)
    for name, attack in corpus(outside).items():
        path = root / name / "cnn" / "1" / "assets.extra" / "model.keras"
        path.parent.mkdir(parents=True)
        compression = 8 if name == "config-bomb" else 0
        hostile_keras.write(path, attack(dict(members)), compression=compression)
    for name in ("good", *NAMES):
        write_card(root / name / "cnn" / "1")
    return root


@pytest.mark.slow
def test_no_attack_is_loaded_writes_a_file_or_opens_a_connection(folder, tmp_path):
    versions = {name: folder / name / "cnn" / "1" for name in NAMES}
    before = sorted(path for path in folder.rglob("*"))
    good = folder / "good" / "cnn" / "1"
    done = subprocesses.run(audited_loading.__file__, tmp_path, good, *versions.values())
    assert done.returncode == 0, done.stderr
    lines = {line["version"]: line for line in map(json.loads, done.stdout.splitlines())}
    for name, version in versions.items():
        line = lines[str(version)]
        others = [one for one in line["events"] if str(tmp_path / "tfpipe-") not in one]
        assert not others, (name, others)
        sentence = OTHERWISE.get(name, ", which no model of tfpipe needs")
        assert f"{name}/cnn/1" in line["sentence"] and sentence in line["sentence"], (name, line)
        assert "\n" not in line["sentence"] and len(line["sentence"]) < 500
    assert sorted(path for path in folder.rglob("*")) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_good_file_is_loaded(folder):
    model = load.read_model(folder / "good" / "cnn" / "1")
    assert not model.compiled and model.name == tiny.build(SPEC).name


@pytest.mark.slow
def test_what_a_model_was_compiled_with_is_never_loaded(folder, tmp_path):
    version = tmp_path / "t" / "m" / "1"
    path = version / "assets.extra" / "model.keras"
    path.parent.mkdir(parents=True)
    members = hostile_keras.members_of(folder / "good" / "cnn" / "1" / "assets.extra/model.keras")
    optimizer = {"module": "os", "class_name": "system", "config": {}, "registered_name": None}
    changed = hostile_keras.with_config(
        lambda config: config.update(compile_config={"optimizer": optimizer})
    )
    hostile_keras.write(path, changed(members))
    write_card(version)
    assert not load.read_model(version).compiled
