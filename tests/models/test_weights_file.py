"""Files of weights: what Keras has ever written is read, what asks for more is refused."""

import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

from tfpipe.base.errors import UserError
from tfpipe.models import weights_file

SIZES = (2,) * 12  # more than ten, whose numbers sort wrongly as text


def chain(prefix: str, sizes=SIZES) -> keras.Model:
    """Returns dense layers in a row, batch norms between, all with values of their own."""
    x = inputs = keras.Input((3,))
    for i, size in enumerate(sizes):
        x = keras.layers.Dense(size, name=f"{prefix}{i}")(x)
    model = keras.Model(inputs, keras.layers.BatchNormalization(name=f"{prefix}_norm")(x))
    values = iter(range(1000))
    model.set_weights([np.full(one.shape, next(values)) for one in model.get_weights()])
    return model


def weighted(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if layer.weights]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Returns a folder with one model in all three kinds of file."""
    folder = tmp_path_factory.mktemp("saved")
    model = chain("layer")
    model.save(folder / "whole.keras")
    model.save_weights(folder / "only.weights.h5")
    model.save(folder / "whole.h5")
    return folder


@pytest.fixture
def hostile(saved, tmp_path):
    """Returns a good file, opened for changes, and its path."""
    path = tmp_path / "hostile.h5"
    shutil.copy(saved / "only.weights.h5", path)
    with h5py.File(path, "r+") as file:
        yield file, path


def refusal(path) -> str:
    with pytest.raises(UserError) as raised:
        weights_file.read(path)
    assert str(path) in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("whole.keras", "layer"),
        ("only.weights.h5", "layer"),
        ("whole.h5", "layer"),
        ("whole.h5", "other"),
    ],
)
def test_layers_are_filled_by_name_else_by_order(saved, name, prefix):
    model, expected = chain(prefix), chain("layer").get_weights()
    model.set_weights([0 * one for one in expected])
    weights_file.fill(weighted(model), saved / name, expected="a chain")
    pairs = zip(model.get_weights(), expected, strict=True)
    assert all(np.array_equal(got, value) for got, value in pairs)


def test_what_else_a_file_holds_is_left_alone(saved):
    model = chain("layer", SIZES[:3])
    first = [layer for layer in weighted(model) if "norm" not in layer.name]
    weights_file.fill(first[::-1], saved / "only.weights.h5", expected="a chain")
    assert first[2].get_weights()[0][0, 0] == 4  # its kernel is the fifth array of the chain


def row(layers: int) -> keras.Model:
    """Returns dense layers of one unit, whose biases are 0, 1, ..."""
    x = inputs = keras.Input((1,))
    for i in range(layers):
        x = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(i))(x)
    return keras.Model(inputs, x)


def test_numbers_in_names_are_taken_as_numbers(tmp_path):
    row(12).save_weights(tmp_path / "row.weights.h5")
    biases = [
        arrays[1].item() for arrays in weights_file.read(tmp_path / "row.weights.h5").values()
    ]
    assert biases == list(range(12))


def test_files_with_too_few_layers_are_refused(tmp_path):
    row(2).save_weights(tmp_path / "row.weights.h5")
    with pytest.raises(UserError, match="it has 2 layers instead of 3"):
        weights_file.fill(weighted(row(3)), tmp_path / "row.weights.h5", expected="a row")


def test_names_of_layers_in_parts_are_put_together(saved, tmp_path):
    path = tmp_path / "parts.h5"
    shutil.copy(saved / "whole.h5", path)
    with h5py.File(path, "r+") as file:  # as Keras 2 writes more names than an attribute holds
        group = file["model_weights"]
        names = list(group.attrs["layer_names"])
        del group.attrs["layer_names"]
        for i in range(len(names)):
            group.attrs[f"layer_names{i}"] = np.array([names[i].encode()])
    assert list(weights_file.read(path)) == list(weights_file.read(saved / "whole.h5"))


def test_files_of_another_model_are_refused(saved):
    wide = weighted(chain("layer", (2, 3)))
    message = r"not hold a chain: for layer1 it has \[\(2, 2\), \(2,\)\] instead of \[\(2, 3\), "
    with pytest.raises(UserError, match=message):
        weights_file.fill(wide, saved / "whole.h5", expected="a chain")
    long = weighted(chain("more", SIZES * 2))
    with pytest.raises(UserError, match="for more12 it has"):
        weights_file.fill(long, saved / "whole.h5", expected="a chain")


def test_files_that_are_none(tmp_path):
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "text.h5").write_text("not weights")
    (tmp_path / "text.keras").write_text("not weights")
    (tmp_path / "other.npz").write_bytes(b"")
    for name in ("missing.h5", "folder.h5", "other.npz"):
        assert "Give the path of one" in refusal(tmp_path / name)
    for name in ("text.h5", "text.keras"):
        assert "damaged, cut off, or something else" in refusal(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    assert "damaged, cut off, or something else" in refusal(tmp_path / "empty.keras")
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["numbers"] = np.arange(3)
    assert "damaged, cut off, or something else" in refusal(tmp_path / "table.h5")


@pytest.mark.parametrize("name", ["whole.keras", "only.weights.h5", "whole.h5"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_files_cut_off(saved, tmp_path, name, share):
    whole = (saved / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    assert "damaged, cut off, or something else" in refusal(tmp_path / name)


@pytest.mark.parametrize("kind", [h5py.ExternalLink, h5py.SoftLink])
@pytest.mark.parametrize("place", ["layers/dense", "layers/dense/vars/0", "unused"])
def test_links_are_refused(hostile, saved, kind, place):
    file, path = hostile
    if place in file:
        del file[place]
    target = [str(saved / "whole.h5")] if kind is h5py.ExternalLink else []
    file[place] = kind(*target, "/layers/dense_1")
    file.close()
    assert "is a link to another place" in refusal(path)


def test_circles_are_refused(hostile):
    file, path = hostile
    file["layers/dense/again"] = file["layers"]
    file.close()
    assert "is in it twice" in refusal(path)


def test_numbers_of_other_files_are_refused(hostile, tmp_path):
    file, path = hostile
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    del file["layers/dense/vars/0"]
    outer = [(str(tmp_path / "secret.bin"), 0, 24)]
    file["layers/dense/vars"].create_dataset("0", (3, 2), "float32", external=outer)
    file.close()
    assert "0 refers to another file" in refusal(path)


def test_virtual_arrays_are_refused(hostile, saved):
    file, path = hostile
    del file["layers/dense/vars/0"]
    layout = h5py.VirtualLayout((3, 2), "float32")
    layout[:] = h5py.VirtualSource(str(saved / "whole.h5"), "x", (3, 2), "float32")
    file["layers/dense/vars"].create_virtual_dataset("0", layout)
    file.close()
    assert "0 refers to another file" in refusal(path)


def test_arrays_larger_than_their_file_are_refused(hostile):
    file, path = hostile
    vast = {"shape": (1 << 20, 1 << 20), "chunks": (1, 1 << 10), "compression": "gzip"}
    file.create_dataset("layers/dense/more", dtype="float32", **vast)
    file.close()
    assert "its arrays declare 4398046" in refusal(path)


def test_archives_larger_than_their_file_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(weights_file.INSIDE_KERAS, bytes(1 << 24))
    assert f"declares {1 << 24} bytes" in refusal(tmp_path / "bomb.keras")


def test_only_floats_are_weights(hostile):
    file, path = hostile
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = np.array(["text"] * 6, dtype=h5py.string_dtype())
    file.close()
    assert "damaged, cut off, or something else" in refusal(path)
