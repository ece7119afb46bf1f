"""Sample of ccd-tracks: FITS exposures with x-rays, muons and electrons, and their truth."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from astropy.io import fits

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.base.resources import cores
from tfpipe.tasks.samples import charges
from tfpipe.tasks.samples.output_folder import whole

CLASSES = {"x-ray": 0.34, "muon": 0.3, "electron": 0.16, "multiple": 0.12, "other": 0.08}
UNLABELLED = 0.3
TRUTH = ("exposure", "x", "y", "class", "energy_kev", "angle_deg", "pixels", "labelled")
FIRST = datetime(2022, 3, 1, 21, 0)
EXPOSED_S, PAUSE_S = 1800, 40
BIAS_ADU, GAIN_ADU, DARK_E, READ_NOISE_E = 2000.0, 10.0, 8.0, 4.0
FULL_ADU = 65535
THRESHOLD_ADU = 4000.0  # of Preuss et al. (seed document 001); some pixels of a track are above
MIN_PX = 8  # of a labelled track without noise; with noise at least five are left
HOT_COLUMNS, HOT_E = 2, 260.0
GAP_PX, TRIES = 4, 200  # between tracks, and places that are tried


class DrawnTrack(NamedTuple):
    """One track: its class, its charge [height, width] float in electrons, and its particle."""

    kind: str
    charge: np.ndarray
    particle: charges.ParticleTruth


def draw(
    folder: Path, *, exposures: int = 12, tracks: int = 60, frame_px: int = 512, seed: int = 0
) -> dict:
    """Draws exposures, most of their tracks labelled in labels.csv, and truth.csv.

    X-rays are dots, muons straight, electrons scattered many times; two that cross are "multiple",
    and alphas, round as a drop, are "other". Each exposure has hot columns besides, Poisson noise
    of all charge, and read noise.

    Args:
      folder: is made; it must be empty or absent.
      exposures: how many files.
      tracks: in an exposure, fewer where no room is left.
      frame_px: height and width of an exposure.
      seed: exposure i is a function of `seed`, i, `tracks` and `frame_px` alone.

    Returns:
      {"exposures", "tracks": in all, "labelled": how many, "truth": path}.

    Raises:
      UserError: a folder that holds something, or a number out of range.
    """
    if not (
        1 <= exposures <= 1000 and 1 <= tracks <= 5000 and 64 <= frame_px <= 8192 and seed >= 0
    ):
        raise UserError(
            "Expected 1 to 1000 exposures, 1 to 5000 tracks, frame_px from 64 to 8192 and seed >= "
            f"0, got {exposures}, {tracks}, {frame_px} and {seed}."
        )
    folder = Path(folder).resolve()
    with whole(folder) as draft:
        draw_exposure = partial(_exposure, draft, tracks=tracks, frame_px=frame_px, seed=seed)
        with ThreadPoolExecutor(cores()) as pool:
            truth = pd.concat(list(pool.map(draw_exposure, range(exposures))), ignore_index=True)
        labelled = truth[truth["labelled"] == 1]
        named = labelled[["exposure", "x", "y", "class"]].rename(columns={"class": "label"})
        tables.write_csv(named, draft / "labels.csv")
        tables.write_csv(truth, draft / "truth.csv")
    return {
        "exposures": exposures,
        "tracks": len(truth),
        "labelled": len(labelled),
        "truth": str(folder / "truth.csv"),
    }


def _exposure(folder: Path, index: int, *, tracks: int, frame_px: int, seed: int) -> pd.DataFrame:
    """Writes one exposure, and returns a row for each of its tracks."""
    rng = np.random.default_rng([seed, index, tracks, frame_px])
    name = f"night-{1 + index // 4}/ccd_{1 + index:04d}.fits"
    electrons = np.full((frame_px, frame_px), DARK_E)
    taken = np.zeros(electrons.shape, bool)
    for column in rng.choice(np.arange(2, frame_px - 2), HOT_COLUMNS, replace=False):
        top = rng.integers(0, frame_px // 2)
        bottom = rng.integers(top + frame_px // 8, frame_px)
        electrons[top:bottom, column] += HOT_E
        taken[:, column] = True
    rows = []
    for kind in rng.choice(list(CLASSES), tracks, p=list(CLASSES.values())):
        drawn = _track(rng, str(kind))
        place = _place(rng, taken, drawn.charge.shape)
        if place is None:
            continue
        electrons[place] += drawn.charge
        row, column = np.unravel_index(drawn.charge.argmax(), drawn.charge.shape)
        above = BIAS_ADU + GAIN_ADU * (DARK_E + drawn.charge) > THRESHOLD_ADU
        rows.append(
            {
                "exposure": name,
                "x": place[1].start + column,
                "y": place[0].start + row,
                "class": drawn.kind,
                "energy_kev": round(drawn.particle.energy_kev, 2),
                "angle_deg": round(drawn.particle.angle_deg, 1),
                "pixels": int(above.sum()),
                "labelled": int(above.sum() >= MIN_PX and rng.random() > UNLABELLED),
            }
        )
    files.replace(folder / name, _fits(rng, electrons, began=_began(index)))
    return pd.DataFrame(rows, columns=list(TRUTH))


def _track(rng: np.random.Generator, kind: str) -> DrawnTrack:
    if kind != "multiple":
        charge, particle = charges.KINDS[kind](rng)
        return DrawnTrack(kind, charge, particle)
    pair = [charges.KINDS[str(kind)](rng) for kind in rng.choice(["muon", "electron"], 2)]
    middles = np.array([_middle(charge) for charge, _ in pair])
    before = middles.max(axis=0) - middles  # rows and columns, so that the middles are in one place
    shape = np.max([charge.shape for charge, _ in pair] + before, axis=0)
    both = np.zeros(shape)
    for (charge, _), (top, left) in zip(pair, before, strict=True):
        both[top : top + charge.shape[0], left : left + charge.shape[1]] += charge
    energy = sum(particle.energy_kev for _, particle in pair)
    return DrawnTrack(kind, both, charges.ParticleTruth(energy, float("nan")))


def _middle(charge: np.ndarray) -> np.ndarray:
    """Returns (row, column) of the pixel of a track's core that is nearest to its box's middle."""
    core = np.argwhere(charge > charge.max() / 3)
    away = np.linalg.norm(core - np.array(charge.shape) / 2, axis=1)
    return core[away.argmin()]


def _place(rng: np.random.Generator, taken: np.ndarray, shape) -> tuple[slice, slice] | None:
    """Returns where a track lies that touches no other, and takes the place; None without room."""
    height, width = shape
    room = (taken.shape[0] - height, taken.shape[1] - width)
    if min(room) < 1:
        return None
    for _ in range(TRIES):
        top, left = int(rng.integers(room[0])), int(rng.integers(room[1]))
        around = (
            slice(max(0, top - GAP_PX), top + height + GAP_PX),
            slice(max(0, left - GAP_PX), left + width + GAP_PX),
        )
        if not taken[around].any():
            place = (slice(top, top + height), slice(left, left + width))
            taken[place] = True
            return place
    return None


def _began(index: int) -> datetime:
    night, number = divmod(index, 4)
    return FIRST + timedelta(days=night, seconds=number * (EXPOSED_S + PAUSE_S))


def _fits(rng: np.random.Generator, electrons: np.ndarray, *, began: datetime) -> bytes:
    """Returns the file of an exposure as a camera writes it, 16 bits a pixel."""
    charge = rng.poisson(electrons) + rng.normal(0, READ_NOISE_E, electrons.shape)
    pixels = np.clip(np.rint(BIAS_ADU + GAIN_ADU * charge), 0, FULL_ADU).astype(np.uint16)
    hdu = fits.PrimaryHDU(pixels)
    for key, value, comment in (
        ("BUNIT", "adu", "of the pixels"),
        ("DATE-OBS", began.isoformat(), "UTC, begin of the exposure"),
        ("EXPTIME", float(EXPOSED_S), "[s]"),
        ("INSTRUME", "DRAWN-CCD", "nothing of this is measured"),
        ("CCD-TEMP", -120.0, "[C]"),
        ("GAIN", 1 / GAIN_ADU, "[electron/adu]"),
        ("RDNOISE", READ_NOISE_E, "[electron]"),
        ("PIXSIZE1", charges.PIXEL_UM, "[um]"),
        ("PIXSIZE2", charges.PIXEL_UM, "[um]"),
    ):
        hdu.header[key] = (value, comment)
    buffer = io.BytesIO()
    hdu.writeto(buffer)
    return buffer.getvalue()
