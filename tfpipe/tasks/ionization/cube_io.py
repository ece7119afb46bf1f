"""What a file holds: cubes of brightness temperature, as 21cmFAST and its users write them.

Nothing is decoded to say how many cubes of what shape there are, and cubes are given one by one.
"""

import contextlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tfpipe.base import files
from tfpipe.base.errors import UserError

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")
ARRAYS = ("delta_T", "brightness_temp")
DATASET = "BrightnessTemp/brightness_temp"  # 21cmFAST 3
HOTTEST_MK = (
    1e4  # a brightness temperature is under 100 mK; read in the wrong byte order, it is not
)
_BARE = re.compile(r"_(\d+)_(\d+(?:\.\d+)?)Mpc$")


@dataclass(frozen=True)
class Held:
    """What a file holds.

    Attributes:
      shape: (cubes, slices, height, width).
      is_bank: whether the file has an axis of cubes.
      z: of each cube, () where the file does not tell.
      f_esc: likewise.
      seed: of the simulation, "" where the file does not tell.
      box_mpc: side of the box, 0 where the file does not tell.
    """

    shape: tuple[int, int, int, int]
    is_bank: bool = False
    z: tuple[float, ...] = ()
    f_esc: tuple[float, ...] = ()
    seed: str = ""
    box_mpc: float = 0.0


def held(path: Path) -> Held | None:
    """Returns what a file holds; None where it is no file of cubes.

    Raises:
      UserError: it should be one and is damaged, or its sides do not fit.
    """
    if path.suffix == ".npy":
        with _damage(path):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return _shaped(array.shape, array.dtype, path)
    if path.suffix == ".npz":
        with _damage(path), zipfile.ZipFile(path) as archive:
            return _of_npz(archive, path)
    if path.suffix in (".h5", ".hdf5"):
        with _damage(path), h5py.File(path) as file:
            return _of_hdf5(file, path) if DATASET in file else None
    bare = _BARE.search(path.name)
    if not bare:
        return None
    side, size = int(bare[1]), path.stat().st_size
    if size != 4 * side**3:
        raise UserError(
            f"{files.shown(path.name)} has {size:,} bytes, expected {4 * side**3:,}: {side} x "
            f"{side} x {side} float32, as its name says. Copy it again, or correct its name."
        )
    return Held((1, side, side, side))


def cubes(path: Path, first: int, count: int) -> Iterator[np.ndarray]:
    """Gives some of a file's cubes one after the other, [slices, height, width] float32, mK.

    Args:
      path: the file.
      first: number of the first cube, from 0.
      count: how many.

    Raises:
      UserError: the file is damaged or in another byte order, or a value is not finite.
    """
    with _damage(path):
        for number, cube in enumerate(_decoded(path, first, count), start=first):
            with np.errstate(over="ignore", invalid="ignore"):
                plain = np.asarray(cube, np.float32)
            _check(plain, path, number)
            yield plain


def _decoded(path: Path, first: int, count: int) -> Iterator[np.ndarray]:
    if path.suffix == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        yield from (array if array.ndim == 4 else array[None])[first : first + count]
    elif path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive, archive.open(_member(archive, path)) as stream:
            shape, is_fortran, dtype = _header(stream)
            if is_fortran:
                raise ValueError("its array is in Fortran's order")
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
        side = int(_BARE.search(path.name)[1])
        yield np.fromfile(path, "<f4").reshape(side, side, side)


def _check(cube: np.ndarray, path: Path, number: int) -> None:
    name = f"{files.shown(path.name)}, cube {number}"
    finite = np.isfinite(cube)
    if path.suffix not in SUFFIXES and not (finite.all() and np.abs(cube).max() < HOTTEST_MK):
        turned = cube.byteswap()
        if np.isfinite(turned).all() and np.abs(turned).max() < HOTTEST_MK:
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


def _of_npz(archive: zipfile.ZipFile, path: Path) -> Held | None:
    name = _member(archive, path)
    if name is None:
        return None
    with archive.open(name) as stream:
        shape, _, dtype = _header(stream)
    found = _shaped(shape, dtype, path)
    told = {"z": (), "f_esc": ()}
    for name in told:
        if f"{name}.npy" in archive.namelist():
            with archive.open(f"{name}.npy") as stream:
                values = np.lib.format.read_array(stream, allow_pickle=False).ravel()
            if len(values) != found.shape[0]:
                raise UserError(
                    f"{files.shown(path.name)} has {found.shape[0]} cubes and {len(values)} values "
                    f"of {name}, expected one a cube. Write the file again."
                )
            # As float32 they are 0.07000000029802322.
            told[name] = tuple(round(float(value), 6) for value in values)
    return Held(found.shape, found.is_bank, **told)


def _member(archive: zipfile.ZipFile, path: Path) -> str | None:
    """Returns the name of the array of cubes in an .npz; None if there is none."""
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    known = [f"{name}.npy" for name in ARRAYS if f"{name}.npy" in names]
    return known[0] if known else names[0] if len(names) == 1 else None


def _header(stream) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError("its array is of an unknown version")
    return read[version](stream)


def _of_hdf5(file: h5py.File, path: Path) -> Held:
    found = _shaped(file[DATASET].shape, file[DATASET].dtype, path)
    told = {"z": (), "f_esc": ()}
    if "redshift" in file.attrs:
        told["z"] = (float(file.attrs["redshift"]),)
    escape = dict(file["astro_params"].attrs).get("F_ESC10") if "astro_params" in file else None
    if escape is not None:
        # 21cmFAST 3 stores the logarithm to the base of ten; a share itself is above 0.
        told["f_esc"] = (round(float(escape if escape > 0 else 10.0**escape), 6),)
    box = dict(file["user_params"].attrs).get("BOX_LEN", 0) if "user_params" in file else 0
    seed = str(file.attrs.get("random_seed", ""))
    return Held(found.shape, seed=seed, box_mpc=float(box), **told)


def _shaped(shape: tuple[int, ...], dtype: np.dtype, path: Path) -> Held:
    """Returns what an array of cubes is, after checking that it is one."""
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
    return Held((1, *shape) if len(shape) == 3 else shape, len(shape) == 4)


@contextlib.contextmanager
def _damage(path: Path):
    """Turns what libraries say of damaged files into one sentence."""
    try:
        yield
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{files.shown(path.name)} cannot be read as cubes: {error}. Copy it again."
        ) from error
