"""Measurements of a captured particle: the columns of a `.lst`.

Formulas are those that reproduce the columns of a run of VisualSpreadsheet 4.0: areas by diameter,
ferets and the convex perimeter lose the fringe of 4.5 px before they become micrometres, the
perimeter does not.
"""

import cv2
import numpy as np

FRINGE_PX = 4.5
FERET_DEG = np.arange(-90, 90, 5)
FERET = np.stack([np.cos(np.deg2rad(FERET_DEG)), -np.sin(np.deg2rad(FERET_DEG))])


def measure(
    pixels: np.ndarray, grey: np.ndarray, mask: np.ndarray, *, px_um: float
) -> dict[str, float]:
    """Returns the columns of a particle.

    Args:
      pixels: its crop [rows, columns, 3] uint8, blue first.
      grey: the same [rows, columns] uint8.
      mask: [rows, columns] uint8, 1 where the particle is, in one piece.
      px_um: µm a pixel.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=len)
    points = contour[:, 0]
    hull = cv2.convexHull(contour)
    area = int(np.count_nonzero(mask))
    filled = int(cv2.drawContours(mask.copy(), [contour], -1, 1, cv2.FILLED).sum())
    perimeter, around = cv2.arcLength(contour, True), cv2.arcLength(hull, True)
    ferets = np.ceil(np.ptp(hull[:, 0] @ FERET, axis=0) - 1e-6) + 1
    moments = cv2.moments(mask, True)
    spread = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]])
    minor, major = 4 * np.sqrt(np.maximum(np.linalg.eigvalsh(spread / area), 0))
    centre = np.array([moments["m10"], moments["m01"]]) / area
    radii = np.hypot(*(points - centre).T)
    inside = grey[mask > 0].astype(np.float64)
    steep = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    half_turn = np.array([[-1, 0, 2 * centre[0]], [0, -1, 2 * centre[1]]])
    opposite = cv2.warpAffine(mask, half_turn, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    # Length and thickness of a ribbon of this area and perimeter.
    ribbon = np.sqrt(max(perimeter**2 / 4 - 4 * filled, 0))
    blue, green, red, _ = cv2.mean(pixels, mask)

    abd, esd, length, width = (
        max(px - FRINGE_PX, 0) * px_um
        for px in (2 * np.sqrt(area / np.pi), ferets.mean(), ferets.max(), ferets.min())
    )
    filled_um = max(2 * np.sqrt(filled / np.pi) - FRINGE_PX, 0) * px_um
    convex_um = (around - FRINGE_PX) * px_um
    return {
        "raw_area": area,
        "raw_feret_max": ferets.max(),
        "raw_feret_min": ferets.min(),
        "raw_feret_mean": ferets.mean(),
        "raw_perimeter": perimeter,
        "raw_convex_perimeter": around,
        "raw_legendre_major": major,
        "raw_legendre_minor": minor,
        "abd_area": np.pi / 4 * abd**2,
        "abd_diameter": abd,
        "length": length,
        "width": width,
        "esd_diameter": esd,
        "perimeter": perimeter * px_um,
        "convex_perimeter": convex_um,
        "intensity": inside.mean(),
        "sigma_intensity": inside.std(),
        "sum_intensity": inside.sum(),
        "compactness": max(perimeter**2 / (4 * np.pi * filled), 1),
        "elongation": (perimeter / 2 + ribbon) / (perimeter / 2 - ribbon),
        "roughness": perimeter * px_um / convex_um,
        "edge_gradient": cv2.mean(steep, mask)[0],
        "circle_fit": max(1 - 2 * radii.std() / radii.mean(), 0),
        "symmetry": np.count_nonzero(mask & opposite) / np.count_nonzero(mask | opposite),
        "circularity_hu": min(area**2 / (2 * np.pi * (moments["mu20"] + moments["mu02"])), 1),
        "raw_convex_hull_area": cv2.contourArea(hull),
        "raw_filled_area": filled,
        "filled_area": np.pi / 4 * filled_um**2,
        "feret_max_angle": FERET_DEG[ferets.argmax()],
        "feret_min_angle": FERET_DEG[ferets.argmin()],
        "avg_red": red,
        "avg_green": green,
        "avg_blue": blue,
    }
