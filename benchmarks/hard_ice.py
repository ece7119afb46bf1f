"""Core photos that are harder than those `tfpipe sample` draws, and drawn by other means.

Ice is drawn along its depth first, in mm: random walks and dark cloudy bands, the darkest of which
has nearly the darkness of the faintest layers. A band keeps its bubbles, a melt layer has fewer.
Bubbles are points of light, sparse where there is melt. Then come lenses, breaks, cracks, glare and
a card, then a camera with its own scale, gamma, blur and JPEG. A photo's labels are shifted, and
the shift drifts by up to 3 mm along the photo; every eighth table lacks one layer.

    folder/photos/*.jpg, photos.csv, layers.csv     as melt-layer's raw folder
    folder/truth.csv                                photo, kind, cause, from_mm, to_mm
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

LENGTH_MM, HALF_MM = 1642.0, 49.0
STEP_MM = 0.25  # of the grid along the depth
ENDS_MM, GAP_MM = 40.0, 14.0
MAX_SHIFT_MM, DRIFT_MM = 25.0, 3.0
BAND_DARKNESS = (0.1, 0.23)
MISSING_EVERY = 8

# Count in a photo (Poisson), thickness in mm, level of the middle, and width of an edge from a
# tenth to nine tenths in mm: lower and upper bounds.
LAYERS = {
    "sharp": (1.6, (2.0, 9.0), (0.25, 0.6), (0.3, 0.9)),
    "diffuse": (1.2, (5.0, 15.0), (0.62, 0.75), (3.0, 4.0)),
    "thin": (0.8, (0.7, 1.6), (0.3, 0.65), (0.2, 0.5)),
}
LAYER_KINDS = tuple(LAYERS)


class Thing(NamedTuple):
    """What lies in a core: kind, cause, and its edges in mm below the core's upper edge."""

    kind: str
    cause: str
    from_mm: float
    to_mm: float


class Canvas(NamedTuple):
    """A core in the making, [rows, columns] float32: light, and the share of bubbles that is left.

    Attributes:
      light: of bubbles, before they are drawn.
      bubbles: 0 to 1.
      bare: 1 where the tray shows.
      mm: depth [rows, 1] and place across [1, columns].
    """

    light: np.ndarray
    bubbles: np.ndarray
    bare: np.ndarray
    mm: tuple[np.ndarray, np.ndarray]


def draw(folder: Path, *, photos: int, seed: int, first_m: float = 300.0) -> None:
    """Draws photos, their tables and their truth; photo i is a function of seed and i alone."""
    (folder / "photos").mkdir(parents=True)
    sections, labels, truth = [], [], []
    for index in range(photos):
        rng = np.random.default_rng([seed, index, 77])
        name, top_m = f"{seed}_{index:03d}.jpg", first_m + 1.65 * index
        things, image = core(rng)
        cv2.imwrite(str(folder / "photos" / name), image, [cv2.IMWRITE_JPEG_QUALITY, 93])
        sections.append((name, round(top_m, 4), round(top_m + LENGTH_MM / 1000, 4)))
        truth += [(name, *thing) for thing in things]
        labels += tabled(rng, things, top_m=top_m, lacks_one=index % MISSING_EVERY == 3)
    columns = ["photo", "top_m", "bottom_m"]
    pd.DataFrame(sections, columns=columns).to_csv(folder / "photos.csv", index=False)
    columns = ["depth from", "depth to", "type of feature"]
    pd.DataFrame(labels, columns=columns).to_csv(folder / "layers.csv", index=False)
    columns = ["photo", "kind", "cause", "from_mm", "to_mm"]
    pd.DataFrame(truth, columns=columns).round(2).to_csv(folder / "truth.csv", index=False)


def tabled(rng, things: list[Thing], *, top_m: float, lacks_one: bool) -> list[tuple]:
    """Returns rows of the depth table: depth from, depth to, and type of feature."""
    shift_mm, drift_mm = rng.uniform(-MAX_SHIFT_MM, MAX_SHIFT_MM), rng.uniform(-DRIFT_MM, DRIFT_MM)
    rows = []
    for thing in things:
        kind = {"lens": "meltLens", "uncertain": "meltLayer uncertain"}.get(thing.kind, "")
        kind = "meltLayer" if thing.kind in LAYERS else kind
        if kind:
            share = thing.from_mm / LENGTH_MM - 0.5
            off_mm = shift_mm + drift_mm * share + rng.normal(0, 0.3)
            ends_m = [round(top_m + (mm + off_mm) / 1000, 4) for mm in thing[2:]]
            rows.append((ends_m[0], ends_m[1] if kind == "meltLayer" else "", kind))
    layers = [i for i, row in enumerate(rows) if row[2] == "meltLayer"]
    if lacks_one and len(layers) > 1:
        del rows[layers[int(rng.integers(len(layers)))]]
    return rows


def core(rng: np.random.Generator) -> tuple[list[Thing], np.ndarray]:
    """Returns what lies in a core, by depth, and its photo [rows, columns, 3] uint8."""
    px_per_mm = rng.uniform(1.7, 2.4)
    rows, columns = (round(n * px_per_mm) for n in (LENGTH_MM, 2 * HALF_MM))
    depth = ((np.arange(rows) + 0.5) / px_per_mm).astype(np.float32)[:, None]
    across = ((np.arange(columns) + 0.5) / px_per_mm - HALF_MM).astype(np.float32)[None]
    profile, bands = stratification(rng)
    waves = np.cumsum(rng.normal(0, 0.02, columns)) + rng.uniform(-0.004, 0.004) * across[0]
    beds = depth + (waves - waves.mean()).astype(np.float32)
    grid = np.arange(len(profile)) * STEP_MM
    light = np.interp(beds, grid, profile).astype(np.float32)
    light *= 1 + 0.04 * smooth(rng, light.shape, px=(5 * px_per_mm, 25 * px_per_mm))
    canvas = Canvas(light, np.ones_like(light), np.zeros_like(light), (depth, across))
    things = place(rng, bands)
    for thing in things:
        PAINTERS[thing.cause](rng, canvas, thing)
    image = bubbly(rng, canvas, px_per_mm=px_per_mm)
    for thing in glare(rng, image, canvas):
        things.append(thing)
    things = sorted([*things, *bands], key=lambda thing: thing.from_mm)
    return things, photograph(rng, image, canvas, px_per_mm=px_per_mm)


def stratification(rng: np.random.Generator) -> tuple[np.ndarray, list[Thing]]:
    """Returns the light [n] of ice along its depth, and its dark bands."""
    n = int(LENGTH_MM / STEP_MM) + 200
    light = np.ones(n)
    for reach_mm, size in ((1.5, 0.012), (6, 0.025), (25, 0.035)):
        decay = np.exp(-STEP_MM / reach_mm)
        walk, steps = np.zeros(n), rng.normal(0, size * np.sqrt(1 - decay**2), n)
        for i in range(1, n):
            walk[i] = decay * walk[i - 1] + steps[i]
        light += walk
    bands, at_mm = [], np.arange(n) * STEP_MM
    for _ in range(int(rng.integers(5, 12))):
        middle, half = rng.uniform(30, LENGTH_MM - 30), rng.uniform(1.5, 14)
        edge, dark = rng.uniform(1.0, 5), rng.uniform(*BAND_DARKNESS)
        light *= 1 - dark * box(at_mm, middle - half, middle + half, width_mm=edge)
        if dark > 0.15:
            bands.append(Thing("none", "stratification", middle - half, middle + half))
    for _ in range(int(rng.integers(2, 7))):
        middle, half = rng.uniform(30, LENGTH_MM - 30), rng.uniform(2, 12)
        light *= 1 + rng.uniform(0.05, 0.2) * box(at_mm, middle - half, middle + half, width_mm=4)
    return light, bands


def place(rng: np.random.Generator, bands: list[Thing]) -> list[Thing]:
    """Returns what lies in one core, each apart from the others, and layers apart from bands."""
    plans = [
        (kind, kind, rng.uniform(*thickness))
        for kind, (count, thickness, _, _) in LAYERS.items()
        for _ in range(rng.poisson(count))
    ]
    plans += [("lens", "lens", rng.uniform(1.2, 5)) for _ in range(rng.poisson(1.6))]
    plans += [("uncertain", "faint", rng.uniform(1, 4)) for _ in range(rng.poisson(0.4))]
    others = (("break", 0.3, (8, 40)), ("chip", 0.15, (12, 50)), ("open", 0.8, (4, 80)),
              ("refrozen", 0.7, (3, 40)), ("patch", 0.35, (6, 22)))  # fmt: skip
    for cause, count, heights in others:
        plans += [("none", cause, rng.uniform(*heights)) for _ in range(rng.poisson(count))]
    things: list[Thing] = []
    for kind, cause, height in sorted(plans, key=lambda plan: -plan[2]):
        beside = things if kind == "none" else [*things, *bands]
        for from_mm in rng.uniform(ENDS_MM, LENGTH_MM - ENDS_MM - height, 60):
            spans = [(one.from_mm - GAP_MM, one.to_mm + GAP_MM) for one in beside]
            if all(from_mm + height < low or from_mm > high for low, high in spans):
                things.append(Thing(kind, cause, float(from_mm), float(from_mm + height)))
                break
    return things


def box(at_mm: np.ndarray, from_mm, to_mm, *, width_mm: float) -> np.ndarray:
    """Returns 1 inside, 0 outside; an edge takes `width_mm` from a tenth to nine tenths.

    The middle has 1 also where the two edges meet.
    """
    # A logistic function has 0.9 at 2.2 of its scale.
    scale = width_mm / 4.4
    inside = 1 / (1 + np.exp(np.clip((from_mm - at_mm) / scale, -40, 40)))
    inside = inside / (1 + np.exp(np.clip((at_mm - to_mm) / scale, -40, 40)))
    middle = 1 / (1 + np.exp(-np.mean(to_mm - from_mm) / 2 / scale)) ** 2
    return np.minimum(inside / middle, 1)


def smooth(rng: np.random.Generator, shape, *, px: tuple[float, float]) -> np.ndarray:
    """Returns noise [rows, columns] float32 of variance 1, smooth over `px` (rows, columns)."""
    size = [max(3, int(n / length)) for n, length in zip(shape, px, strict=True)]
    noise = cv2.resize(rng.normal(0, 1, size), shape[::-1], interpolation=cv2.INTER_LINEAR)
    return (noise / noise.std()).astype(np.float32)


def edge(rng: np.random.Generator, columns: int, *, size_mm: float) -> np.ndarray:
    """Returns how far an edge strays [columns] in mm: a random walk that is pulled back."""
    walk = np.cumsum(rng.normal(0, 1, columns))
    walk -= np.linspace(walk[0], walk[-1], columns)
    return size_mm * (walk - walk.mean()) / max(walk.std(), 1e-6)


def paint_melt(rng: np.random.Generator, canvas: Canvas, thing: Thing) -> None:
    """Paints a layer across the core, or one that is faint."""
    depth, across = canvas.mm
    _, _, levels, widths = LAYERS.get(thing.cause, (0, (), (0.76, 0.86), (0.4, 2.0)))
    level, width = rng.uniform(*levels), rng.uniform(*widths)
    stray = min(0.08 * (thing.to_mm - thing.from_mm), 0.5)
    ends = [
        mm + edge(rng, across.shape[1], size_mm=stray)[None] + rng.uniform(-0.006, 0.006) * across
        for mm in thing[2:]
    ]
    inside = box(depth, *ends, width_mm=width).astype(np.float32)
    uneven = 1 + 0.08 * edge(rng, across.shape[1], size_mm=1)[None].clip(-1.5, 1.5)
    canvas.light[:] *= 1 - (1 - level) * uneven.astype(np.float32) * inside
    canvas.bubbles[:] *= 1 - rng.uniform(0.6, 0.95) * inside


def paint_lens(rng: np.random.Generator, canvas: Canvas, thing: Thing) -> None:
    """Paints a lens of 12 to 80 mm, thickest in its middle; some end at the core's side."""
    depth, across = canvas.mm
    half = rng.uniform(6, 40)
    middle = rng.uniform(-HALF_MM, HALF_MM)
    middle = float(np.clip(middle, half - HALF_MM - 8, HALF_MM - half + 8))
    u = ((across - middle) / half).clip(-1, 1)
    thick = (thing.to_mm - thing.from_mm) / 2 * (1 - u**2)
    centre = (thing.from_mm + thing.to_mm) / 2 + edge(rng, across.shape[1], size_mm=0.2)[None]
    inside = box(depth, centre - thick, centre + thick, width_mm=0.6) * (thick > 0.1)
    inside = inside.astype(np.float32)
    canvas.light[:] *= 1 - rng.uniform(0.3, 0.7) * inside
    canvas.bubbles[:] *= 1 - 0.9 * inside


def paint_break(rng: np.random.Generator, canvas: Canvas, thing: Thing) -> None:
    """Opens a break between two broken faces; where they do not fit, ice is missing."""
    depth, across = canvas.mm
    height, columns = thing.to_mm - thing.from_mm, across.shape[1]
    middle, share = (thing.from_mm + thing.to_mm) / 2, rng.uniform(0.1, 0.8)
    slope = rng.choice([-1, 1]) * (1 - share) * 0.35 * height / HALF_MM
    upper = middle - share * height / 2 + slope * across + edge(rng, columns, size_mm=0.7)
    fits = rng.random() < 0.4
    lower = upper + rng.uniform(1.5, 5) if fits else middle + share * height / 2 + slope * across
    lower = lower if fits else lower + edge(rng, columns, size_mm=1.0)
    canvas.bare[:] = np.maximum(canvas.bare, box(depth, upper, lower, width_mm=0.5))
    rim = np.exp(-np.abs(depth - upper) / 0.8) + np.exp(-np.abs(depth - lower) / 0.8)
    canvas.light[:] *= 1 + rng.uniform(0.1, 0.6) * rim


def paint_chip(rng: np.random.Generator, canvas: Canvas, thing: Thing) -> None:
    """Takes a chip off one side."""
    depth, across = canvas.mm
    middle, half = (thing.from_mm + thing.to_mm) / 2, (thing.to_mm - thing.from_mm) / 2
    inward = rng.choice([-1, 1]) * across + HALF_MM
    deep = rng.uniform(5, 22) * np.sqrt(np.clip(1 - ((depth - middle) / half) ** 2, 0, 1))
    deep = deep * (1 + 0.15 * smooth(rng, (len(depth), 1), px=(6, 1)))
    canvas.bare[:] = np.maximum(canvas.bare, (inward < deep).astype(np.float32))


def paint_open(rng: np.random.Generator, canvas: Canvas, thing: Thing) -> None:
    """Draws a crack that scatters the light, bright, with a shadow below."""
    off, along = crack(rng, canvas, thing, reach=rng.uniform(0.3, 1))
    width = rng.uniform(0.3, 0.8)
    canvas.light[:] *= 1 + rng.uniform(0.2, 1.2) * along * np.exp(-((off / width) ** 2))
    shadow = np.exp(-(((off - 2 * width) / width) ** 2))
    canvas.light[:] *= 1 - rng.uniform(0.1, 0.7) * along * shadow


def paint_refrozen(rng: np.random.Generator, canvas: Canvas, thing: Thing) -> None:
    """Draws a crack full of clear ice, dark and sharp, most of them across the whole core."""
    reach = 1.0 if rng.random() < 0.7 else rng.uniform(0.4, 0.9)
    off, along = crack(rng, canvas, thing, reach=reach)
    inside = (along * box(off, -0.6, rng.uniform(0.1, 1.8), width_mm=0.3)).astype(np.float32)
    canvas.light[:] *= 1 - rng.uniform(0.3, 0.7) * inside
    canvas.bubbles[:] *= 1 - 0.9 * inside


def crack(rng, canvas: Canvas, thing: Thing, *, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distance below a crack's line in mm, and 1 along it: both [rows, columns]."""
    depth, across = canvas.mm
    half = reach * HALF_MM
    middle = rng.uniform(half - HALF_MM, HALF_MM - half) if reach < 1 else 0.0
    u = (across - middle) / half
    slope = rng.choice([-1, 1]) * (thing.to_mm - thing.from_mm) / 2
    line = (thing.from_mm + thing.to_mm) / 2 + slope * u
    line = line + edge(rng, across.shape[1], size_mm=0.4)[None]
    return depth - line, np.clip((1.02 - np.abs(u)) * 10, 0, 1)


def paint_patch(rng: np.random.Generator, canvas: Canvas, thing: Thing) -> None:
    """Clears a lump of ice of its bubbles, of less than half the core's width."""
    depth, across = canvas.mm
    middle, half = (thing.from_mm + thing.to_mm) / 2, (thing.to_mm - thing.from_mm) / 2
    wide = rng.uniform(6, 22)
    at = rng.uniform(wide - HALF_MM, HALF_MM - wide)
    v, u = (depth - middle) / half, (across - at) / wide
    turn = np.arctan2(v, u)
    radius = 1 + sum(rng.normal(0, 0.12) * np.cos(k * turn + rng.uniform(0, 6)) for k in (2, 3, 5))
    inside = np.clip((radius - np.hypot(u, v)) * 4, 0, 1).astype(np.float32)
    canvas.light[:] *= 1 - rng.uniform(0.25, 0.55) * inside
    canvas.bubbles[:] *= 1 - 0.9 * inside


PAINTERS = {
    "sharp": paint_melt,
    "diffuse": paint_melt,
    "thin": paint_melt,
    "faint": paint_melt,
    "lens": paint_lens,
    "break": paint_break,
    "chip": paint_chip,
    "open": paint_open,
    "refrozen": paint_refrozen,
    "patch": paint_patch,
}


def bubbly(rng: np.random.Generator, canvas: Canvas, *, px_per_mm: float) -> np.ndarray:
    """Returns the light [rows, columns] float32 of the core with its bubbles, 0.5 or so."""
    shape = canvas.light.shape
    points = (rng.random(shape, dtype=np.float32) < 0.05).astype(np.float32)
    points *= rng.gamma(1.5, 1.0, shape).astype(np.float32)
    points = cv2.GaussianBlur(points, (0, 0), 0.22 * px_per_mm)
    points = points / points.mean() - 1
    haze = 0.25 + 0.05 * smooth(rng, shape, px=(3 * px_per_mm, 3 * px_per_mm))
    grain = rng.uniform(0.06, 0.12) * points * canvas.bubbles
    return 0.5 * canvas.light * (1 + grain + 0.1 * (haze - 0.25))


def glare(rng: np.random.Generator, image: np.ndarray, canvas: Canvas) -> list[Thing]:
    """Adds reflections of the lamp to a third of the cores; returns what they cover."""
    if rng.random() > 0.33:
        return []
    depth, across = canvas.mm
    things = []
    for _ in range(int(rng.integers(1, 4))):
        high, wide = [(rng.uniform(30, 120), rng.uniform(1, 4)),
                      (rng.uniform(3, 12), rng.uniform(6, 45))][int(rng.integers(2))]  # fmt: skip
        middle, at = rng.uniform(high, LENGTH_MM - high), rng.uniform(-HALF_MM, HALF_MM)
        spot = np.exp(-(np.abs((depth - middle) / (high / 2)) ** 3) - ((across - at) / wide) ** 2)
        image += rng.uniform(0.3, 1.5) * spot
        things.append(Thing("none", "glare", middle - high / 2, middle + high / 2))
    return things


def photograph(rng, image: np.ndarray, canvas: Canvas, *, px_per_mm: float) -> np.ndarray:
    """Returns the photo [rows, columns, 3] uint8, blue first: tray, card, tilt and camera."""
    margin = [round(mm * px_per_mm) for mm in rng.uniform([25, 25, 18, 18], [60, 60, 40, 40])]
    with_card = rng.random() < 0.3
    bottom = margin[1] + (round(80 * px_per_mm) if with_card else 0)
    size = (len(image) + margin[0] + bottom, image.shape[1] + margin[2] + margin[3])
    tray = 0.05 + 0.015 * smooth(rng, size, px=(60 * px_per_mm, 20 * px_per_mm))
    tray = np.clip(tray * np.linspace(rng.uniform(0.6, 1.6), 1, size[0])[:, None], 0.01, 0.16)
    inside = np.s_[margin[0] : margin[0] + len(image), margin[2] : margin[2] + image.shape[1]]
    tray[inside] = tray[inside] * canvas.bare + image * (1 - canvas.bare)
    photo = np.repeat(tray[..., None], 3, axis=2).astype(np.float32)
    if with_card:
        first, side = margin[0] + len(image) + round(10 * px_per_mm), round(11 * px_per_mm)
        colours = [(0.1, 0.1, 0.6), (0.15, 0.5, 0.1), (0.6, 0.2, 0.1), (0.1, 0.6, 0.65),
                   (0.5, 0.5, 0.5)]  # fmt: skip
        for i, colour in enumerate(rng.permutation(colours)):
            photo[first + i * (side + 4) :][:side, inside[1]] = colour
    turn = cv2.getRotationMatrix2D((size[1] / 2, size[0] / 2), rng.uniform(-0.3, 0.3), 1)
    photo = cv2.warpAffine(photo, turn, size[::-1], borderMode=cv2.BORDER_REPLICATE)
    photo = cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.25, 1.3))
    lamp = 1 + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, size[0]) ** int(rng.integers(1, 3))
    photo *= (rng.uniform(0.6, 1.6) * lamp)[:, None, None].astype(np.float32)
    photo = np.clip(photo, 0, None) ** rng.uniform(0.75, 1.2)
    photo *= rng.uniform([0.85, 0.9, 0.85], 1).astype(np.float32)
    photo += rng.normal(0, rng.uniform(0.005, 0.02), photo.shape)
    return np.clip(255 * photo, 0, 255).astype(np.uint8)
