"""Windows of a core: cutting, and labels of those that show a melt layer."""

from collections.abc import Callable

import numpy as np

from tfpipe.tasks.task import Classify

HEIGHT_PX = 50  # seed 002, "Simple CNN": 200x50 images
INSIDE = 0.75  # a window shows a layer if it contains this share of it (or of itself)

NO_LAYER, LAYER, NEITHER = 0, 1, -1


def tops(height_px: int, *, stride_px: int) -> np.ndarray:
    """Returns the first row [windows] int of each window; the last ends on the core's last row."""
    last = height_px - HEIGHT_PX
    if last < 0:
        return np.zeros(0, int)
    rows = np.arange(0, last + 1, min(stride_px, last + 1))
    return rows if rows[-1] == last else np.append(rows, last)


def windows(core: np.ndarray, top_px: np.ndarray) -> np.ndarray:
    """Returns the windows [windows, 50, 200, 3] uint8 that begin at `top_px`."""
    if len(top_px) == 0:
        return np.zeros((0, HEIGHT_PX, *core.shape[1:]), core.dtype)
    views = np.lib.stride_tricks.sliding_window_view(core, HEIGHT_PX, axis=0)
    return np.ascontiguousarray(np.moveaxis(views[top_px], -1, 1))


def classify_along(classify: Classify) -> Callable[..., dict[str, np.ndarray]]:
    """Returns a function that classifies windows along cores, from one that classifies windows."""

    def along(cores: np.ndarray, top_px: np.ndarray) -> dict[str, np.ndarray]:
        pairs = zip(cores, top_px, strict=True)
        return {"probabilities": np.stack([classify(windows(core, rows)) for core, rows in pairs])}

    return along


def overlaps(top_px: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns how many rows [windows, features] int each window shares with each feature.

    Args:
      top_px: [windows] int, first row of each window.
      rows: [features, 2] int, first and one-past-last row of each feature.
    """
    top = np.maximum(top_px[:, None], rows[None, :, 0])
    bottom = np.minimum(top_px[:, None] + HEIGHT_PX, rows[None, :, 1])
    return np.maximum(bottom - top, 0)


def layer_in_window(top_px: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns first and one-past-last row [windows, 2] int, in each window, of its layer.

    Of several layers it is the one with the greatest share inside, or that fills most of the
    window, as in `labels`; (0, 0) without a layer.

    Args:
      top_px: [windows] int, first row of each window.
      rows: [layers, 2] int, first and one-past-last row of each layer.
    """
    if not len(rows):
        return np.zeros((len(top_px), 2), int)
    most = _share_shown(top_px, rows).argmax(axis=1)
    return np.clip(rows[most] - top_px[:, None], 0, HEIGHT_PX)


def labels(
    top_px: np.ndarray, *, layers: np.ndarray, uncertain: np.ndarray, guard_px: int
) -> np.ndarray:
    """Returns the label [windows] int of each window: 1 layer, 0 none, -1 neither.

    A window that contains three quarters of a layer (or is itself three quarters layer) shows it. A
    window within `guard_px` of a layer that contains less is neither, so that no window is labelled
    layer-free for a sliver at its edge. A window that touches an uncertain feature is neither,
    unless it also shows a layer.

    Args:
      top_px: [windows] int, first row of each window.
      layers: [layers, 2] int, first and one-past-last row of each melt layer.
      uncertain: [features, 2] int, likewise for features that are left out of training.
      guard_px: width of the band around layers.
    """
    share = _share_shown(top_px, layers)
    classes = np.full(len(top_px), NO_LAYER)
    classes[(overlaps(top_px, _widened(layers, by_px=guard_px)) > 0).any(axis=1)] = NEITHER
    classes[(overlaps(top_px, uncertain) > 0).any(axis=1)] = NEITHER
    classes[(share >= INSIDE).any(axis=1)] = LAYER
    return classes


def _share_shown(top_px: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """Returns the share [windows, layers] of each layer, or of the window, that is the layer."""
    return overlaps(top_px, layers) / np.minimum(layers[:, 1] - layers[:, 0], HEIGHT_PX)


def _widened(rows: np.ndarray, *, by_px: int) -> np.ndarray:
    return rows + np.array([-by_px, by_px])
