"""Files of 21 cm cubes, as 21cmFAST and its users write them.

`inspect` returns number and shape of a file's cubes without decoding one; `read_cubes` yields them
one by one.
"""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from tfpipe.base import files
from tfpipe.base.errors import UserError

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")
ARRAYS = ("delta_T", "brightness_temp")
DATASET = "BrightnessTemp/brightness_temp"  # 21cmFAST 3
# A brightness temperature is below 100 mK; read in the wrong byte order, it is not.
MAX_MK = 1e4
_BARE = re.compile(r"_(\d+)_(\d+(?:\.\d+)?)Mpc$")


@dataclass(frozen=True)
class CubeFile:
    """The contents of a file of cubes.

    Attributes:
      shape: (cubes, slices, height, width).
      is_bank: whether the file has an axis of cubes.
      z: redshift of each cube, () if the file does not have it.
      f_esc: escape fraction of each cube, () if the file does not have it.
      seed: of the simulation, "" if the file does not have it.
      box_mpc: side of the box, 0 if the file does not have it.
    """

    shape: tuple[int, int, int, int]
    is_bank: bool = False
    z: tuple[float, ...] = ()
    f_esc: tuple[float, ...] = ()
    seed: str = ""
    box_mpc: float = 0.0


def inspect(path: Path) -> CubeFile | None:
    """Returns the contents of a file; None if it is no file of cubes.

    Raises:
      UserError: it is damaged, or its sides do not fit.
    """
    import h5py

    if path.suffix == ".npy":
        with _damage_errors(path):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return _checked(array.shape, array.dtype, path)
    if path.suffix == ".npz":
        with _damage_errors(path), zipfile.ZipFile(path) as archive:
            return _inspect_npz(archive, path)
    if path.suffix in (".h5", ".hdf5"):
        with _damage_errors(path), h5py.File(path) as file:
            return _inspect_hdf5(file, path) if DATASET in file else None
    bare = _BARE.search(path.name)
    if not bare:
        return None
    side, size = int(bare[1]), path.stat().st_size
    if size != 4 * side**3:
        raise UserError(
            f"{files.shown(path.name)} has {size:,} bytes, expected {4 * side**3:,}: {side} x "
            f"{side} x {side} float32, as its name says. Copy it again, or correct its name."
        )
    return CubeFile((1, side, side, side))


def read_cubes(path: Path, first: int, count: int) -> Iterator[np.ndarray]:
    """Yields some of a file's cubes one by one, [slices, height, width] float32, mK.

    Args:
      path: the file.
      first: number of the first cube, from 0.
      count: how many.

    Raises:
      UserError: the file is damaged or in another byte order, or a value is not finite.
    """
    with _damage_errors(path):
        for number, cube in enumerate(_decoded(path, first, count), start=first):
            with np.errstate(over="ignore", invalid="ignore"):
                values = np.asarray(cube, np.float32)
            _check_finite(values, path, number)
            yield values


def _decoded(path: Path, first: int, count: int) -> Iterator[np.ndarray]:
    import h5py

    if path.suffix == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        yield from (array if array.ndim == 4 else array[None])[first : first + count]
    elif path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive, archive.open(_cube_member(archive)) as stream:
            shape, is_fortran, dtype = _header(stream)
            if is_fortran:
                raise ValueError("its array is in Fortran order")
            shape = shape if len(shape) == 4 else (1, *shape)
            size = int(np.prod(shape[1:])) * dtype.itemsize
            stream.seek(stream.tell() + first * size)
            for _ in range(count):
                data = stream.read(size)
                if len(data) < size:
                    raise ValueError("it ends too early")
                yield np.frombuffer(data, dtype).reshape(shape[1:])
    elif path.suffix in (".h5", ".hdf5"):
        with h5py.File(path) as file:
            yield file[DATASET][:]
    else:
        match = _BARE.search(path.name)
        if match is None:
            raise ValueError("its name has no number of cells")
        side = int(match[1])
        yield np.fromfile(path, "<f4").reshape(side, side, side)


def _check_finite(cube: np.ndarray, path: Path, number: int) -> None:
    name = f"{files.shown(path.name)}, cube {number}"
    finite = np.isfinite(cube)
    if path.suffix not in SUFFIXES and not (finite.all() and np.abs(cube).max() < MAX_MK):
        swapped = cube.byteswap()
        if np.isfinite(swapped).all() and np.abs(swapped).max() < MAX_MK:
            raise UserError(
                f"{name} is big-endian, expected little-endian float32. Write it again by "
                "np.fromfile(path, '>f4').astype('<f4').tofile(path)."
            )
    if not finite.all():
        place = np.argwhere(~finite)[0].tolist()
        raise UserError(
            f"{name} is {cube[tuple(place)]} at {place} and in {int((~finite).sum()):,} cells in "
            "all, expected a brightness temperature in mK everywhere. Simulate it again."
        )


def _inspect_npz(archive: zipfile.ZipFile, path: Path) -> CubeFile | None:
    if not _cube_member(archive):
        return None
    with archive.open(_cube_member(archive)) as stream:
        shape, _, dtype = _header(stream)
    cubes = _checked(shape, dtype, path)
    return replace(
        cubes,
        z=_parameter(archive, "z", path, count=cubes.shape[0]),
        f_esc=_parameter(archive, "f_esc", path, count=cubes.shape[0]),
    )


def _parameter(archive: zipfile.ZipFile, name: str, path: Path, *, count: int) -> tuple[float, ...]:
    """Returns the values [cubes] of a parameter in an .npz, () if it has none."""
    if f"{name}.npy" not in archive.namelist():
        return ()
    with archive.open(f"{name}.npy") as stream:
        values = np.lib.format.read_array(stream, allow_pickle=False).ravel()
    if len(values) != count:
        raise UserError(
            f"{files.shown(path.name)} has {count} cubes and {len(values)} values of {name}, "
            "expected one a cube. Write the file again."
        )
    # As float32 they are 0.07000000029802322.
    return tuple(round(float(value), 6) for value in values)


def _cube_member(archive: zipfile.ZipFile) -> str:
    """Returns the name of the array of cubes in an .npz; "" if there is none."""
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    for name in ARRAYS:
        if f"{name}.npy" in names:
            return f"{name}.npy"
    return names[0] if len(names) == 1 else ""


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError("its array is of an unknown version")
    return read[version](stream)


def _inspect_hdf5(file: h5py.File, path: Path) -> CubeFile:
    z = (float(file.attrs["redshift"]),) if "redshift" in file.attrs else ()
    f_esc: tuple[float, ...] = ()
    escape = dict(file["astro_params"].attrs).get("F_ESC10") if "astro_params" in file else None
    if escape is not None:
        # 21cmFAST 3 stores the logarithm to the base of ten; a share itself is above 0.
        f_esc = (round(float(escape if escape > 0 else 10.0**escape), 6),)
    box = dict(file["user_params"].attrs).get("BOX_LEN", 0) if "user_params" in file else 0
    seed = str(file.attrs.get("random_seed", ""))
    cubes = _checked(file[DATASET].shape, file[DATASET].dtype, path)
    return replace(cubes, seed=seed, box_mpc=float(box), z=z, f_esc=f_esc)


def _checked(shape: tuple[int, ...], dtype: np.dtype, path: Path) -> CubeFile:
    """Returns the contents of an array, after checking that it has cubes."""
    name = files.shown(path.name)
    if dtype.kind != "f" or len(shape) not in (3, 4):
        raise UserError(
            f"{name} holds {dtype} of shape {list(shape)}, expected floats [slices, height, width] "
            "of one cube, or [cubes, slices, height, width] of several."
        )
    slices, height, width = shape[-3:]
    if height != width or not 1 <= slices <= height or (len(shape) == 3 and slices != height):
        raise UserError(
            f"{name} holds cells {' x '.join(map(str, shape[-3:]))}, expected a cube of equal "
            "sides; a bank of several cubes may have fewer slices than a slice has rows. Cut it to "
            "a cube, or copy it again."
        )
    count = shape[0] if len(shape) == 4 else 1
    return CubeFile((count, slices, height, width), is_bank=len(shape) == 4)


@contextlib.contextmanager
def _damage_errors(path: Path) -> Iterator[None]:
    """Turns the errors of libraries about damaged files into a UserError."""
    try:
        yield
    except (*files.ARRAY_ERRORS, TypeError) as error:
        raise UserError(
            f"{files.shown(path.name)} cannot be read as cubes: {error}. Copy it again."
        ) from error
