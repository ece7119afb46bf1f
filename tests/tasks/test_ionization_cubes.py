"""Ionization cubes: parameters from files, names and tables, and damaged files."""

import math
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tfpipe.base.errors import UserError
from tfpipe.tasks.catalog import TASKS
from tfpipe.tasks.ionization import cube_io, cubes

REALDATA = os.environ.get("TFPIPE_REALDATA")
NAME = "delta_T_z006.50_fesc0.070_8_12Mpc"


def make_cube(side: int = 8, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 30, (side,) * 3).astype("f4")


def write_hdf5(path: Path, cube: np.ndarray, *, escape: float = -1.0) -> None:
    """Writes a cube as 21cmFAST 3 does: parameters in attributes, the logarithm of f_esc."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"redshift": 7.5, "random_seed": 54321, "version": "3.4.0"})
        file.create_group("astro_params").attrs.update({"F_ESC10": escape, "F_STAR10": -1.3})
        file.create_group("user_params").attrs.update({"BOX_LEN": 12.0, "HII_DIM": 8})
        file.create_group("BrightnessTemp").create_dataset("brightness_temp", data=cube)


@pytest.mark.parametrize("kind", [".npy", ".npz", "bare"])
def test_a_cube_of_each_form_is_read_by_its_name(tmp_path, kind):
    cube = make_cube()
    if kind == "bare":
        path = tmp_path / "delta_T_v3_no_halos_z006.50_nf0.5_fesc0.070_useTs0_8_12Mpc"
        cube.tofile(path)
    else:
        path = tmp_path / f"{NAME}{kind}"
        np.save(path, cube) if kind == ".npy" else np.savez_compressed(path, arr_0=cube)
    (found,), _, _ = cubes.find(tmp_path)
    assert (found.z, found.f_esc, found.seed, found.box_mpc) == (6.5, 0.07, "", 12)
    assert found.cell_mpc(9) == 1.5
    (again,) = cube_io.read_cubes(path, 0, 1)
    np.testing.assert_array_equal(again, cube)


@pytest.mark.parametrize(("escape", "expected"), [(-1.0, 0.1), (0.1, 0.1), (0.0, 1.0)])
def test_hdf5_of_21cmfast_has_all_parameters(tmp_path, escape, expected):
    cube = make_cube()
    write_hdf5(tmp_path / "BrightnessTemp_0a1b_r54321.h5", cube, escape=escape)
    (found,), _, _ = cubes.find(tmp_path)
    assert (found.z, found.f_esc, found.seed, found.box_mpc) == (7.5, expected, "54321", 12)
    (again,) = cube_io.read_cubes(found.path, 0, 1)
    np.testing.assert_array_equal(again, cube)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4"])
def test_a_bank_has_parameters_of_each_cube_and_gives_some_of_them(tmp_path, dtype):
    bank = np.stack([make_cube(seed=i)[::4] for i in range(3)]).astype(dtype)
    about = {"z": np.float32([5, 5.5, 6]), "f_esc": np.float32([0.07, 0.1, 0.13])}
    np.savez_compressed(tmp_path / "bank_seed11.npz", delta_T=bank, **about)
    found, _, _ = cubes.find(tmp_path)
    assert [(c.number, c.z, c.f_esc, c.seed) for c in found] == [
        (0, 5, 0.07, "11"),
        (1, 5.5, 0.1, "11"),
        (2, 6, 0.13, "11"),
    ]
    assert (found[0].slices, found[0].side) == (2, 8)
    again = list(cube_io.read_cubes(found[0].path, 1, 2))
    np.testing.assert_array_equal(again, bank[1:].astype("f4"))
    assert again[0].dtype == np.float32


def test_a_table_adds_to_names_and_corrects_them(tmp_path):
    np.save(tmp_path / "one.npy", make_cube())
    np.save(tmp_path / f"{NAME}.npy", make_cube(seed=1))
    lines = ["file,z,f_esc,seed,box_mpc", "one.npy,7.0,0.1,4,16", f"{NAME}.npy,,0.13,,"]
    (tmp_path / "cubes.csv").write_text("\n".join(lines))
    found, tables, notes = cubes.find(tmp_path)
    parameters = {c.name: (c.z, c.f_esc, c.seed, c.box_mpc) for c in found}
    assert parameters == {"one.npy": (7, 0.1, "4", 16), f"{NAME}.npy": (6.5, 0.13, "", 12)}
    assert (tables, notes) == ((tmp_path / "cubes.csv",), [])


def test_other_files_are_named_and_left_aside(tmp_path):
    np.save(tmp_path / f"{NAME}.npy", make_cube())
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["layer"] = [1.0]
    (tmp_path / "readme.md").write_text("cubes")
    (tmp_path / ".hidden").write_text("x")
    _, _, notes = cubes.find(tmp_path)
    assert notes == ["Files without cubes are left out: readme.md, weights.h5."]


def refused(folder: Path, match: str) -> None:
    """Checks what a survey says of a folder."""
    with pytest.raises(UserError, match=match):
        TASKS["ionization-redshift"].survey(folder, TASKS["ionization-redshift"].options)


@pytest.mark.parametrize(
    ("shape", "dtype", "match"),
    [
        ((8, 8, 4), "f4", "cells 8 x 8 x 4, expected a cube of equal sides"),
        ((4, 8, 8), "f4", "cells 4 x 8 x 8, expected a cube of equal sides"),
        ((2, 9, 8, 8), "f4", "cells 9 x 8 x 8, expected a cube"),
        ((8, 8), "f4", r"float32 of shape \[8, 8\], expected floats"),
        ((8, 8, 8), "u1", "holds uint8 of shape"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_is_no_cube_is_refused(tmp_path, shape, dtype, match, suffix):
    path = tmp_path / f"delta_T_z006.50{suffix}"
    array = np.ones(shape, dtype)
    np.save(path, array) if suffix == ".npy" else np.savez(path, delta_T=array)
    refused(tmp_path, match)


def test_a_wrong_byte_count_is_refused(tmp_path):
    (tmp_path / NAME).write_bytes(bytes(4 * 8**3 - 4))
    refused(tmp_path, "has 2,044 bytes, expected 2,048: 8 x 8 x 8 float32")


def test_another_byte_order_is_refused(tmp_path):
    make_cube().astype(">f4").tofile(tmp_path / NAME)
    with pytest.raises(UserError, match="is big-endian, expected little-endian"):
        list(cube_io.read_cubes(tmp_path / NAME, 0, 1))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    cube = make_cube()
    cube[1, 2, 3] = value
    np.save(tmp_path / f"{NAME}.npy", cube)
    with pytest.raises(UserError, match=rf"is {value} at \[1, 2, 3\] and in 1 cells in all"):
        list(cube_io.read_cubes(tmp_path / f"{NAME}.npy", 0, 1))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_damaged_files_are_named(tmp_path, suffix):
    (tmp_path / f"{NAME}{suffix}").write_bytes(b"nothing of the kind")
    refused(tmp_path, f"{NAME}{suffix} cannot be read as cubes")


def test_a_bank_whose_numbers_do_not_fit_is_refused(tmp_path):
    bank = np.zeros((2, 8, 8, 8), "f4")
    np.savez(tmp_path / "bank.npz", delta_T=bank, z=[5.0], f_esc=[0.1, 0.2])
    refused(tmp_path, "has 2 cubes and 1 values of z, expected one a cube")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("delta_T_z014.20_8_12Mpc.npy", "has z 14.2, expected 5 to 13"),
        ("delta_T_z006.70_8_12Mpc.npy", "has z 6.7, expected 5 to 13"),
        ("delta_T_8_12Mpc.npy", "has no redshift"),
    ],
)
def test_a_redshift_of_no_class_is_refused(tmp_path, name, match):
    np.save(tmp_path / name, make_cube())
    refused(tmp_path, match)


def test_the_same_cube_twice_is_refused(tmp_path):
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / f"{NAME}.npy", make_cube())
    refused(tmp_path, "are the same cube: z 6.5, f_esc 0.07, no seed")


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ("absent.npy,6.5", "cubes.csv line 2: there is no absent.npy"),
        ("../x.npy,6.5", "cubes.csv line 2: '../x.npy' has '..' in it"),
        (f"{NAME}.npy,6.5\n{NAME}.npy,7", "cubes.csv line 3: .* is already in the table"),
        (f"{NAME}.npy,high", "cubes.csv line 2: z is 'high', expected a number"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, rows, match):
    np.save(tmp_path / f"{NAME}.npy", make_cube())
    (tmp_path / "cubes.csv").write_text(f"file,z\n{rows}\n")
    refused(tmp_path, match)


def test_a_folder_without_cubes_is_refused(tmp_path):
    refused(tmp_path, "holds no cubes")
    refused(tmp_path / "nowhere", "is no folder")


@pytest.mark.skipif(not REALDATA, reason="TFPIPE_REALDATA names no folder")
@pytest.mark.parametrize("name", ["ionization-redshift", "ionization-escape-fraction"])
def test_the_real_folder_is_valid_as_it_stands(name):
    task = TASKS[name]
    survey = task.survey(Path(REALDATA, "ionization"), task.options)
    assert survey.classes == (task.classes or ("0.070", "0.100", "0.130"))
    assert any("autoencoder_adam_95.model.h5" in note for note in survey.notes)
    assert {source.group for source in survey.sources} == {"seed 11", "seed 12", "seed 13"}
