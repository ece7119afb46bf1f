"""Images of what no task is about: noise, even areas, rulers, faces, screenshots, icons, photos.

All are drawn, but for the photographs, which are those in scikit-image.
"""

import cv2
import numpy as np
import skimage.data

COUNT = 20  # of each kind
PHOTOGRAPHS = ("camera", "coins", "moon", "page", "text", "clock", "astronaut", "coffee", "chelsea")
CROPS = 10  # of each photograph
WORDS = ("File", "Edit", "View", "Help", "2.71828", "error", "def", "import", "class 3", "Save as")
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_PLAIN)


def by_kind() -> dict[str, list[np.ndarray]]:
    """Returns kind -> images [height, width, 3] uint8 of several sizes, always the same."""
    rng = np.random.default_rng(0)
    draw = {
        "noise": noise,
        "ruler": ruler,
        "face": face,
        "screenshot": screenshot,
        "terminal icon": terminal_icon,
    }
    images = {name: [draw[name](rng) for _ in range(COUNT)] for name in draw}
    sides = rng.integers(60, 300, (COUNT, 2))
    images["black"] = [np.zeros((*side, 3), np.uint8) for side in sides]
    images["white"] = [np.full((*side, 3), 255, np.uint8) for side in sides]
    images["grey"] = [np.full((64, 64, 3), grey, np.uint8) for grey in range(10, 255, 13)]
    return images | {"photograph": photographs(rng)}


def noise(rng: np.random.Generator) -> np.ndarray:
    """Returns independent pixels, in colour or grey."""
    height, width = rng.integers(60, 300, 2)
    channels = rng.choice([1, 3])
    return np.broadcast_to(
        rng.integers(0, 256, (height, width, channels), dtype=np.uint8), (height, width, 3)
    ).copy()


def ruler(rng: np.random.Generator) -> np.ndarray:
    """Returns a ruler with millimetres and numbers, lying or standing."""
    width, height = int(rng.integers(300, 900)), int(rng.integers(50, 120))
    paper = rng.integers(200, 256, 3)
    image = np.full((height, width, 3), paper, np.uint8)
    step = float(rng.uniform(5, 12))
    for i in range(int(width / step)):
        x = round(i * step)
        length = height * (0.5 if i % 10 == 0 else 0.35 if i % 5 == 0 else 0.2)
        cv2.line(image, (x, 0), (x, int(length)), (20, 20, 20), max(1, int(step / 5)))
        if i % 10 == 0:
            place = (x + 2, height - 8)
            cv2.putText(image, str(i // 10), place, FONTS[0], height / 110, (20, 20, 20), 2)
    return np.ascontiguousarray(image.swapaxes(0, 1)) if rng.random() < 0.3 else image


def face(rng: np.random.Generator) -> np.ndarray:
    """Returns a face before a wall: hair, eyes, nose, mouth, shaded from one side, blurred."""
    side = 240
    image = np.full((side, side, 3), rng.integers(90, 220, 3), np.uint8)
    skin = np.array(((224, 186, 160), (198, 150, 120), (120, 80, 60))[rng.integers(3)])
    hair = tuple(int(c) for c in rng.integers(10, 110, 3))
    x, y = (int(v) for v in rng.integers(105, 135, 2))
    wide, high = int(rng.integers(48, 62)), int(rng.integers(66, 80))
    cv2.ellipse(image, (x, y + 150), (100, 75), 0, 0, 360, tuple(int(c) for c in hair[::-1]), -1)
    cv2.ellipse(image, (x, y - 14), (wide + 10, high + 6), 0, 0, 360, hair, -1)
    cv2.ellipse(image, (x, y), (wide, high), 0, 0, 360, skin.tolist(), -1)
    for sign in (-1, 1):
        eye = (x + sign * wide // 2, y - high // 5)
        cv2.ellipse(image, eye, (11, 6), 0, 0, 360, (245, 245, 245), -1)
        cv2.circle(image, eye, 5, (40, 30, 20), -1)
        cv2.ellipse(image, (eye[0], eye[1] - 14), (14, 4), 0, 180, 360, hair, 3)
    cv2.line(image, (x, y - 5), (x - 6, y + 18), (skin * 0.75).tolist(), 3)
    cv2.ellipse(image, (x, y + high // 2), (18, 8), 0, 0, 180, (150, 60, 60), -1)
    light = np.linspace(1.15, 0.7, side)[None, :, None]
    soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 2)) * light
    return np.clip(soft + rng.normal(0, 3, soft.shape), 0, 255).astype(np.uint8)


def screenshot(rng: np.random.Generator) -> np.ndarray:
    """Returns a window with a title bar, a side bar and lines of text, light or dark."""
    height, width = int(rng.integers(400, 700)), int(rng.integers(600, 1000))
    is_dark = rng.random() < 0.5
    paper, ink = ((30, 30, 34), (210, 210, 210)) if is_dark else ((250, 250, 250), (30, 30, 30))
    image = np.full((height, width, 3), paper, np.uint8)
    accent = tuple(int(c) for c in rng.integers(40, 220, 3))
    cv2.rectangle(image, (0, 0), (width, 34), accent, -1)
    cv2.rectangle(image, (0, 34), (int(width * 0.2), height), tuple(c // 2 + 60 for c in paper), -1)
    for i, colour in enumerate(((240, 90, 80), (240, 190, 60), (90, 200, 90))):
        cv2.circle(image, (18 + 22 * i, 17), 7, colour, -1)
    font = FONTS[rng.integers(len(FONTS))]
    for y in range(60, height - 10, 20):
        text = " ".join(rng.choice(WORDS, rng.integers(1, 9)))
        cv2.putText(image, text, (int(width * 0.22), y), font, 0.5, ink, 1, cv2.LINE_AA)
        cv2.putText(image, str(rng.choice(WORDS)), (8, y), font, 0.4, ink, 1, cv2.LINE_AA)
    return image


def terminal_icon(rng: np.random.Generator) -> np.ndarray:
    """Returns the icon of a terminal: a dark rounded square with a prompt."""
    side = int(rng.choice([32, 48, 64, 128, 256]))
    image = np.full((256, 256, 3), 255, np.uint8)
    dark = tuple(int(c) for c in rng.integers(10, 60, 3))
    cv2.rectangle(image, (30, 14), (226, 242), dark, -1)
    cv2.rectangle(image, (14, 30), (242, 226), dark, -1)
    for corner in ((30, 30), (226, 30), (30, 226), (226, 226)):
        cv2.circle(image, corner, 16, dark, -1)
    light = ((240, 240, 240), (90, 230, 110))[rng.integers(2)]
    x, y = (int(v) for v in rng.integers(40, 70, 2))
    cv2.polylines(image, [np.array([(x, y), (x + 40, y + 36), (x, y + 72)])], False, light, 16)
    cv2.line(image, (x + 56, y + 76), (x + 112, y + 76), light, 16)
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def photographs(rng: np.random.Generator) -> list[np.ndarray]:
    """Returns crops of photographs, each a fifth to all of one."""
    crops = []
    for name in PHOTOGRAPHS:
        photo = getattr(skimage.data, name)()
        photo = photo if photo.ndim == 3 else np.repeat(photo[..., None], 3, axis=2)
        for _ in range(CROPS):
            height, width = (int(side * rng.uniform(0.2, 1)) for side in photo.shape[:2])
            top = rng.integers(0, photo.shape[0] - height + 1)
            left = rng.integers(0, photo.shape[1] - width + 1)
            crops.append(np.ascontiguousarray(photo[top : top + height, left : left + width, :3]))
    return crops
