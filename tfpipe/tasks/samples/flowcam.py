"""Simulated FlowCam: light and focus of a run, and the image and columns of each particle."""

from typing import NamedTuple

import cv2
import numpy as np

from tfpipe.tasks.samples import particles
from tfpipe.tasks.samples.measures import measure

FRAME = (964, 1292)  # height and width of the camera's image in px
PX_UM = 0.5517  # at a magnification of 10
BORDER_PX = 5
DARKER, LIGHTER = 15.0, 20.0
MIN_UM = 3.0
CUT = 0.3  # part of the particles that may lie across the edge of the frame
STRAY = 0.15  # light that reaches the camera through anything
CLOSING = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


class FlowCamRun(NamedTuple):
    """Light, focus and calibration of one run.

    Attributes:
      px_um: the calibration constant, µm a pixel.
      level: grey of the empty frame's middle.
      cast: [3] ratio of its blue, green and red to that.
      slope: [2] part by which light changes from middle to right and to bottom.
      falloff: part by which light is less in the corners.
      drift: part by which light changes until the run's end.
      noise: standard deviation of a pixel, grey levels.
      focus_um: blur of a particle in the middle of the flow cell.
      depth_um: spread of the blur over the flow cell.
      halo: strength of the refraction, negative on the other side of the focal plane.
      fringe: by how much blue is less sharp than red.
    """

    px_um: float
    level: float
    cast: np.ndarray
    slope: np.ndarray
    falloff: float
    drift: float
    noise: float
    focus_um: float
    depth_um: float
    halo: float
    fringe: float

    def background(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns the grey [rows, columns] float32 of the empty frame at its columns and rows."""
        right, down = 2 * x / FRAME[1] - 1, 2 * y / FRAME[0] - 1
        across = 1 + self.slope[0] * right - self.falloff / 2 * right**2
        return np.float32(self.level) * np.outer(
            1 + self.slope[1] * down - self.falloff / 2 * down**2, across
        ).astype(np.float32)


class DrawnParticle(NamedTuple):
    """What drifted past: its kind, diameter or length, turn, and how much it is out of focus."""

    kind: str
    size_um: float
    angle_deg: float
    blur_um: float


class CapturedParticle(NamedTuple):
    """What the instrument keeps of a particle: the crop [h, w, 3] uint8 BGR, and its columns."""

    crop: np.ndarray
    columns: dict[str, float]


def prepare(rng: np.random.Generator) -> FlowCamRun:
    """Returns one run's light, focus and calibration."""
    return FlowCamRun(
        px_um=round(PX_UM * rng.uniform(0.94, 1.06), 4),
        level=rng.uniform(140, 172),
        cast=rng.uniform((0.97, 0.96, 0.97), (1.04, 1.0, 1.04)),
        slope=rng.uniform(-0.08, 0.08, size=2),
        falloff=rng.uniform(0.04, 0.14),
        drift=rng.uniform(-0.02, 0.02),
        noise=rng.uniform(1.5, 3.0),
        focus_um=rng.uniform(0.35, 0.65),
        depth_um=rng.uniform(0.1, 0.35),
        halo=rng.uniform(0.3, 0.9) * rng.choice([-0.3, 1, 1]),
        fringe=rng.uniform(0.0, 0.25),
    )


def capture(
    rng: np.random.Generator, kind: str, *, run: FlowCamRun, part: float
) -> tuple[DrawnParticle, CapturedParticle]:
    """Lets particles drift by until the instrument takes one.

    Args:
      rng: of this particle.
      kind: one of `particles.KINDS`.
      run: light and focus.
      part: of the run that has passed, 0..1.

    Returns:
      The particle, and what the instrument keeps of it.
    """
    of = particles.KINDS[kind]
    while True:
        particle = DrawnParticle(
            kind=kind,
            size_um=float(np.clip(of.size_um * np.exp(of.spread * rng.standard_normal()), 5, 110)),
            angle_deg=float(rng.uniform(-180, 180)),
            blur_um=float(run.focus_um + run.depth_um * abs(rng.standard_normal())),
        )
        if captured := take(rng, particle, run=run, part=part):
            return particle, captured


def take(
    rng: np.random.Generator, particle: DrawnParticle, *, run: FlowCamRun, part: float
) -> CapturedParticle | None:
    """Returns what the instrument keeps of a particle, None if that is too small or too faint."""
    light = particles.draw(
        particle.kind,
        rng,
        size_um=particle.size_um,
        angle_rad=np.deg2rad(particle.angle_deg),
        px_per_um=1 / run.px_um,
    )
    side = len(light)
    # Some lie across the frame's edge, the others all inside.
    reach = 0 if rng.random() < CUT else min(side / 2, FRAME[0] / 2)
    centre = rng.uniform(reach, (FRAME[1] - reach, FRAME[0] - reach))
    left, top = np.rint(centre - side / 2).astype(int)
    rows = slice(max(0, -top), min(side, FRAME[0] - top))
    columns = slice(max(0, -left), min(side, FRAME[1] - left))
    x, y = np.arange(side)[columns] + left, np.arange(side)[rows] + top
    empty = run.background(x, y)
    image = expose(rng, light, particle=particle, run=run)[rows, columns]
    image *= empty[..., None] * np.float32(1 + run.drift * part)
    image += camera_noise(rng, image.shape, size=run.noise)
    pixels = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    mask = segment(grey, empty)
    if mask is None:
        return None
    (left, top), (right, bottom) = box(mask)
    cut = np.s_[top:bottom, left:right]
    measured = measure(pixels[cut], grey[cut], mask[cut], px_um=run.px_um)
    if measured["esd_diameter"] < MIN_UM:
        return None
    place = {"src_x": int(x[left]), "src_y": int(y[top])}
    return CapturedParticle(pixels[cut], place | measured)


def expose(
    rng: np.random.Generator, light: np.ndarray, *, particle: DrawnParticle, run: FlowCamRun
) -> np.ndarray:
    """Returns light [n, n] as the lens passes it on, [n, n, 3] float32, blue first."""
    blur_px = particle.blur_um / run.px_um
    wide = cv2.GaussianBlur(light, (0, 0), 3 * blur_px + 1)
    tint = rng.uniform(0.95, 1.05, size=3).astype(np.float32)
    colours = []
    for channel, extra in enumerate((run.fringe, 0, -0.4 * run.fringe)):
        sharp = cv2.GaussianBlur(light, (0, 0), blur_px * (1 + extra))
        passed = np.maximum(sharp + np.float32(run.halo) * (sharp - wide), STRAY)
        colours.append(cv2.pow(passed, float(tint[channel])) * np.float32(run.cast[channel]))
    return np.stack(colours, axis=-1)


def camera_noise(rng: np.random.Generator, shape: tuple[int, ...], *, size: float) -> np.ndarray:
    """Returns noise of this standard deviation, spread over neighbours as in a colour camera."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 0.7) * np.float32(2.4 * size)


def segment(grey: np.ndarray, empty: np.ndarray) -> np.ndarray | None:
    """Returns the largest object [rows, columns] uint8 0/1 that differs from the empty frame."""
    soft = cv2.GaussianBlur(grey, (0, 0), 0.6).astype(np.float32)
    differs = ((soft < empty - DARKER) | (soft > empty + LIGHTER)).astype(np.uint8)
    closed = cv2.morphologyEx(differs, cv2.MORPH_CLOSE, CLOSING)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    if count < 2:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return (labels == largest).astype(np.uint8)


def box(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (left, top) and (right, bottom) of the crop of a mask, with its border."""
    left, top, width, height = cv2.boundingRect(mask)
    first = np.maximum((left - BORDER_PX, top - BORDER_PX), 0)
    last = np.minimum((left + width + BORDER_PX, top + height + BORDER_PX), mask.shape[::-1])
    return first, last
