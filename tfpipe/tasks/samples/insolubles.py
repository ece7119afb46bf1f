"""Sample of insolubles: labelled FlowCam runs of seven classes, and unlabelled field runs."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import tables
from tfpipe.base.errors import UserError
from tfpipe.base.resources import cores
from tfpipe.tasks.samples import flowcam, visual_spreadsheet
from tfpipe.tasks.samples.measures import FRINGE_PX
from tfpipe.tasks.samples.output_folder import whole
from tfpipe.tasks.samples.particles import KINDS

CLASSES = tuple(kind for kind in KINDS if kind != "Diatom")
FIRST_RUN = {"stock": datetime(2021, 11, 2, 8, 30), "peru": datetime(2022, 3, 2, 8, 30)}
RUNS_A_DAY = 3
FRAMES_PER_S = 20.0

# A stock suspension holds mostly one kind and some of a second; the others got in.
MAIN, SECOND = 0.4, 0.2
UNLABELLED = 0.1
# Seed document 000: "Mainly dust... but also quite a lot of class 0 (ash)".
FIELD = {
    "Dust": 0.76,
    "Campanian": 0.07,
    "Grimsvotn": 0.04,
    "Contamination": 0.04,
    "Corylus": 0.015,
    "Qrobur": 0.01,
    "Qsuber": 0.005,
    "Diatom": 0.06,
}
FIELD_TIMES = 3


def draw(
    folder: Path, *, runs: int = 12, field_runs: int = 2, particles: int = 300, seed: int = 0
) -> dict:
    """Draws runs of stock suspensions, most of their particles labelled, and runs from the field.

    Every stock run holds all seven classes, two of them in plenty, so that light and focus of a run
    hint at its class and a split through runs is rewarded. Nothing from the field is labelled, and
    one particle in seventeen there is a diatom, of which no stock has any.

    Args:
      folder: is made; it must be empty or absent.
      runs: labelled runs, called stock_*.
      field_runs: unlabelled runs, called peru_*, each of three times as many particles.
      particles: in a labelled run.
      seed: a site's run i is a function of `seed`, i and `particles` alone.

    Returns:
      {"runs": how many of both, "particles": in all, "labelled": how many, "truth": path}.

    Raises:
      UserError: a folder that holds something, or a number out of range.
    """
    if runs < 0 or field_runs < 0 or not 1 <= runs + field_runs <= 1000 or seed < 0:
        raise UserError(
            "Expected runs >= 0, field_runs >= 0, 1 to 1000 of both together, and seed >= 0, "
            f"got {runs}, {field_runs} and {seed}."
        )
    if not 1 <= particles <= 5000:
        raise UserError(f"Expected particles between 1 and 5000, got {particles}.")
    folder = Path(folder).resolve()
    with whole(folder) as draft:
        with ThreadPoolExecutor(cores()) as pool:
            sites = ["stock"] * runs + ["peru"] * field_runs
            draw_one_run = partial(draw_run, draft, particles=particles, seed=seed)
            truth = pd.concat(
                list(pool.map(draw_one_run, sites, [*range(runs), *range(field_runs)]))
            )
        tables.write_csv(truth, draft / "truth.csv")
    return {
        "runs": runs + field_runs,
        "particles": len(truth),
        "labelled": int(truth["labelled"].sum()),
        "truth": str(folder / "truth.csv"),
    }


def draw_run(folder: Path, site: str, index: int, *, particles: int, seed: int) -> pd.DataFrame:
    """Writes a site's run of this index; returns its rows of truth.csv."""
    name, start = begun(index, site=site)
    field = site == "peru"
    particles *= FIELD_TIMES if field else 1
    rng = np.random.default_rng([seed, int(field), index])
    run = flowcam.prepare(rng)
    kinds = counted(FIELD if field else stock(index), particles=particles)
    rng.shuffle(kinds)
    labelled = np.full(particles, not field) & (rng.random(particles) >= UNLABELLED)
    elapsed = np.cumsum(rng.exponential(0.15, size=particles)) + rng.uniform(1, 3)
    frames = np.floor(elapsed * FRAMES_PER_S).astype(int) + 1
    start += timedelta(seconds=float(rng.uniform(0, 3000)))

    crops, rows, truth = [], [], []
    for at, kind in enumerate(kinds):
        particle_rng = np.random.default_rng([seed, int(field), index, at])
        particle, captured = flowcam.capture(particle_rng, kind, run=run, part=at / particles)
        # Particles of one frame were taken at the same moment.
        after_s = frames[at] / FRAMES_PER_S
        crops.append(captured.crop)
        about = {
            "id": at + 1,
            "src_image": frames[at],
            "cal_image": 1,
            "ppc": 1,
            "cal_const": run.px_um,
            "fringe_size": FRINGE_PX,
            "elapsed_time": after_s,
            "timestamp": (start + timedelta(seconds=after_s)).isoformat(timespec="milliseconds"),
            "image_id": str(uuid.UUID(bytes=particle_rng.bytes(16), version=4)).upper(),
        }
        rows.append(about | captured.columns)
        truth.append(
            {
                "run": name,
                "id": at + 1,
                "class": kind,
                "labelled": int(labelled[at]),
                "size_um": round(particle.size_um, 2),
                "angle_deg": round(particle.angle_deg, 1),
                "blur_um": round(particle.blur_um, 2),
            }
        )
    ids = np.arange(1, particles + 1)
    visual_spreadsheet.write_run(
        folder / name,
        crops=crops,
        rows=rows,
        classes={name: ids[labelled & (kinds == name)].tolist() for name in sorted(CLASSES)},
        settings=settings_of(run, start=start, took_s=elapsed[-1]),
    )
    return pd.DataFrame(truth)


def begun(index: int, *, site: str) -> tuple[str, datetime]:
    """Returns what a site's run is called, and when it starts.

    With these names a split of 60/20/20 by run has all three parts from six stock runs on.
    """
    day, number = divmod(index, RUNS_A_DAY)
    start = FIRST_RUN[site] + timedelta(days=day, hours=2 * number)
    return f"{site}_{start:%d%b}_{number + 1}_fc80_10x".lower(), start


def stock(index: int) -> dict[str, float]:
    """Returns the share of each class in a stock run."""
    count = len(CLASSES)
    shares = dict.fromkeys(CLASSES, (1 - MAIN - SECOND) / (count - 2))
    shares[CLASSES[index % count]] = MAIN
    shares[CLASSES[(index + 1 + index // count % (count - 1)) % count]] = SECOND
    return shares


def counted(shares: dict[str, float], *, particles: int) -> np.ndarray:
    """Returns the kind [particles] of each particle, in shares as near as whole numbers allow."""
    ends = np.rint(np.cumsum(list(shares.values())) * particles).astype(int)
    return np.repeat(list(shares), np.diff(ends, prepend=0))


def settings_of(run: flowcam.FlowCamRun, *, start: datetime, took_s: float) -> dict[str, dict]:
    """Returns what the instrument was set to."""
    end = start + timedelta(seconds=took_s)
    return {
        "Software": {"SoftwareName": "VisualSpreadsheet", "SoftwareVersion": "4.0.27"},
        "General": {
            "RunStartTime": f"{start:%Y-%m-%d %H:%M:%S}",
            "RunEndTime": f"{end:%Y-%m-%d %H:%M:%S}",
        },
        "CameraBehavior": {"AutoImageRate": f"{FRAMES_PER_S:.0f}"},
        "Camera": {"ImageWidth": flowcam.FRAME[1], "ImageHeight": flowcam.FRAME[0]},
        "Fluid": {
            "FlowCellType": "FC80",
            "FlowCellDepth": 80,
            "CalibrationConstant": f"{run.px_um:.4f}",
            "FringeSize": f"{FRINGE_PX:.4f}",
        },
        "CaptureRegion": {
            "AcceptableRight": flowcam.FRAME[1] - 1,
            "AcceptableBottom": flowcam.FRAME[0] - 1,
            "ImagePixelBorder": flowcam.BORDER_PX,
        },
        "CaptureParameters": {
            "ThresholdDark": f"{flowcam.DARKER:.4f}",
            "ThresholdLight": f"{flowcam.LIGHTER:.4f}",
            "CloseHoles": 1,
            "MinESD": f"{flowcam.MIN_UM:.4f}",
        },
    }
