"""Damaged files for the readers: seeds of each kind, ways to damage one, what reads it."""

import contextlib
import gzip
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import flowcam
import h5py
import numpy as np
import openpyxl
import pandas as pd
import tensorflow as tf
from astropy.io import fits
from made_card import made_card
from made_manifest import made_manifest
from PIL import Image

from tfpipe.base import images, tables
from tfpipe.base.errors import UserError
from tfpipe.data import manifest
from tfpipe.registry import store
from tfpipe.serving.errors import RequestError
from tfpipe.serving.http import payloads
from tfpipe.tasks.annotations import decisions
from tfpipe.tasks.ccd_tracks import fits_io
from tfpipe.tasks.ccd_tracks.options import CcdTracksOptions
from tfpipe.tasks.insolubles import class_file, ecotaxa, flowcam_table
from tfpipe.tasks.ionization import cube_io
from tfpipe.tasks.melt_layer import tables as melt_layer_tables
from tfpipe.workflows import run_config

REFUSALS = (UserError, RequestError)
INPUTS = {"image": tf.TensorSpec((None, 2, 3, 1), tf.uint8)}
ROWS = pd.DataFrame({"photo": ["a.png", "b.png"], "top_m": [1.5, 2.5], "bottom_m": [2.5, 3.5]})
TABLED = ("a.png", "b.png")  # images that tables name
# What parsers stumble over, put in whole.
# fmt: off
TOKENS = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"'", b"\r", b"\n\n", b",", b";", b"\t", b"|", b"=",
    b"-1", b"0", b"1e999", b"nan", b"99999999999999999999", b"\xd9\xa3", b"None", b"true",
    b"[" * 3_000, b"{", b"]", b"}", b":", b"- ", b"&a", b"*a", b"!!python/none",
    b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", "Ж".encode(), "é".encode("latin-1"),
)
# fmt: on


def seed_files(reader: str, folder: Path) -> list[Path]:
    """Writes the undamaged files of a reader, and returns them."""
    folder.mkdir(parents=True)
    READERS[reader][0](folder)
    for name in TABLED:
        (folder / name).write_bytes(_image(".png"))
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in TABLED)


def read(reader: str, path: Path) -> None:
    """Reads a file; raises whatever the reader raises."""
    READERS[reader][1](path)


@contextlib.contextmanager
def damaged(path: Path, rng: np.random.Generator) -> Iterator[None]:
    """Damages a file in one to four places while the context lasts."""
    whole = path.read_bytes()
    data = bytearray(whole)
    for _ in range(rng.integers(1, 5)):
        DAMAGES[rng.integers(len(DAMAGES))](data, rng)
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(whole)


# Ways to damage a file.


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    if data:
        data[rng.integers(len(data))] = rng.integers(256)


def _flip_in_the_head(data: bytearray, rng: np.random.Generator) -> None:
    if data:
        data[rng.integers(min(len(data), 64))] = rng.integers(256)


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(len(data) + 1) :]


def _remove(data: bytearray, rng: np.random.Generator) -> None:
    begin = rng.integers(len(data) + 1)
    del data[begin : begin + rng.integers(1, 40)]


def _repeat(data: bytearray, rng: np.random.Generator) -> None:
    begin = rng.integers(len(data) + 1)
    part = data[begin : begin + rng.integers(1, 200)]
    data[begin:begin] = part * int(rng.integers(1, 4))


def _insert(data: bytearray, rng: np.random.Generator) -> None:
    begin = rng.integers(len(data) + 1)
    data[begin:begin] = TOKENS[rng.integers(len(TOKENS))]


def _overwrite(data: bytearray, rng: np.random.Generator) -> None:
    token = TOKENS[rng.integers(len(TOKENS))]
    begin = rng.integers(len(data) + 1)
    data[begin : begin + len(token)] = token


def _swap_lines(data: bytearray, rng: np.random.Generator) -> None:
    lines = bytes(data).split(b"\n")
    first, second = rng.integers(len(lines), size=2)
    lines[first], lines[second] = lines[second], lines[first]
    data[:] = b"\n".join(lines)


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    _flip,
    _flip_in_the_head,
    _cut,
    _remove,
    _repeat,
    _insert,
    _overwrite,
    _swap_lines,
)


# Undamaged files of each reader.


def _tables(folder: Path) -> None:
    (folder / "photos.csv").write_text("# drawn\n" + ROWS.to_csv(index=False))
    (folder / "photos.tsv").write_text(ROWS.to_csv(index=False, sep="\t"))
    book = openpyxl.Workbook()
    for row in [list(ROWS), *ROWS.to_numpy().tolist()]:
        book.active.append(row)
    book.save(folder / "photos.xlsx")
    ROWS.to_parquet(folder / "photos.parquet")


def _flowcam(folder: Path) -> None:
    rows = flowcam.particles(4)
    (folder / "run.lst").write_text(flowcam.lst(rows))
    (folder / "run.csv").write_text(flowcam.csv(rows))
    (folder / "run.cla").write_text(flowcam.cla({"ash": [1, 2], "dust": [3]}))


def _ecotaxa(folder: Path) -> None:
    frame = pd.DataFrame(
        {
            "img_file_name": ["[t]", "a.png", "b.png"],
            "object_id": ["[t]", "o1", "o2"],
            "object_annotation_category": ["[t]", "ash", "dust"],
            "object_area": ["[f]", "3.5", "7"],
        }
    )
    (folder / "ecotaxa.tsv").write_text(frame.to_csv(index=False, sep="\t"))


def _images(folder: Path) -> None:
    for suffix in (".png", ".jpg", ".tif", ".webp", ".bmp", ".gif"):
        (folder / f"image{suffix}").write_bytes(_image(suffix))
    (folder / "turned.jpg").write_bytes(_turned_jpeg())
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30)
    cv2.imwrite(str(folder / "deep.png"), deep)
    cv2.imwrite(str(folder / "deep.tif"), deep)


def _image(suffix: str) -> bytes:
    drawn = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    if suffix == ".gif":
        stream = io.BytesIO()
        Image.fromarray(drawn).save(stream, "gif")
        return stream.getvalue()
    return cv2.imencode(suffix, drawn)[1].tobytes()


def _turned_jpeg() -> bytes:
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(
        stream, "jpeg", exif=exif, progressive=True
    )
    return stream.getvalue()


def _exposures(folder: Path) -> None:
    pixels = np.arange(600, dtype=np.float32).reshape(20, 30)
    fits.PrimaryHDU(pixels).writeto(folder / "plain.fits")
    empty, scaled = fits.PrimaryHDU(), fits.ImageHDU(pixels.astype(np.int16))
    fits.HDUList([empty, scaled, fits.CompImageHDU(pixels)]).writeto(folder / "several.fits")
    with gzip.open(folder / "packed.fits.gz", "wb") as file:
        file.write((folder / "plain.fits").read_bytes())
    np.save(folder / "exposure.npy", pixels)
    np.savez_compressed(folder / "exposure.npz", pixels)


def _cubes(folder: Path) -> None:
    cube = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    np.save(folder / "delta_T_z005.00_fesc0.070_seed1_8_150Mpc.npy", cube)
    np.savez(folder / "bank.npz", cubes=cube[None], z=[5.0], f_esc=[0.1], seed=[1])
    with h5py.File(folder / "cube.h5", "w") as file:
        file[cube_io.DATASET] = cube
        file.attrs["redshift"] = 5.0
        file.create_group("astro_params").attrs["F_ESC10"] = -1.0
        file.create_group("user_params").attrs["BOX_LEN"] = 150.0


def _documents(folder: Path) -> None:
    card = made_card(
        classes=("a", "b"), thresholds={"decision": 0.5}, metrics={"test": {"f1": 1.0}}
    )
    (folder / store.CARD).parent.mkdir()
    (folder / store.CARD).write_bytes(card.to_json())
    (folder / "manifest.json").write_bytes(made_manifest(classes=("a",)).to_json())
    run_config.write(run_config.RunConfig("train", "melt-layer", "simple-cnn"), folder)


def _decisions(folder: Path) -> None:
    for label in ("ash", "dust, fine"):
        decisions.append(
            folder,
            decisions.Decision(
                time=decisions.now(),
                who="me",
                file="a.png",
                what="a.png",
                top_m=math.nan,
                bottom_m=math.nan,
                label=label,
                version="simple-cnn/1",
                state="validated",
                action="label",
            ),
        )


def _requests(folder: Path) -> None:
    image = np.zeros((2, 3, 1), int).tolist()
    for form in ({"instances": [{"image": image}]}, {"inputs": {"image": [image, image]}}):
        (folder / f"{next(iter(form))}.json").write_text(json.dumps(form))


# What reads them.


def _read_table(path: Path) -> None:
    tables.read(path)
    melt_layer_tables.read_photos(path, folder=path.parent)


def _read_flowcam(path: Path) -> None:
    readers = {".lst": flowcam_table.read_lst, ".cla": class_file.read}
    readers.get(path.suffix, flowcam_table.read_csv)(path)


def _read_ecotaxa(path: Path) -> None:
    ecotaxa.read(path.parent, path)


def _read_exposure(path: Path) -> None:
    fits_io.read(path, CcdTracksOptions())


def _read_decisions(path: Path) -> None:
    decisions.read(path.parent, name=path.name)


def _read_image(path: Path) -> None:
    images.probe(path)
    images.read(path)


def _read_cube(path: Path) -> None:
    cube = cube_io.inspect(path)
    if cube:
        list(cube_io.read_cubes(path, 0, 1))


def _read_document(path: Path) -> None:
    if path.suffix == ".yaml":
        run_config.read(path)
    elif path.name == "manifest.json":
        manifest.read(path.parent)
    else:
        store.read_card(path.parent.parent)


def _read_request(path: Path) -> None:
    payloads.parse_features(payloads.parse_json(path.read_bytes()), INPUTS, max_instances=4)


READERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "tables": (_tables, _read_table),
    "flowcam": (_flowcam, _read_flowcam),
    "ecotaxa": (_ecotaxa, _read_ecotaxa),
    "images": (_images, _read_image),
    "exposures": (_exposures, _read_exposure),
    "cubes": (_cubes, _read_cube),
    "documents": (_documents, _read_document),
    "decisions": (_decisions, _read_decisions),
    "requests": (_requests, _read_request),
}
