"""What a report shows of where a network looked, in pictures that it named rightly and wrongly."""

import cv2
import numpy as np

from tfpipe.base import images as base_images
from tfpipe.base.html import Html, joined, tag
from tfpipe.data import dataset
from tfpipe.models import grad_cam
from tfpipe.registry import load
from tfpipe.report import gallery
from tfpipe.report.report_data import ReportData

WRONG, RIGHT = 6, 6  # pictures
SHARE = 0.45  # of the heat in what is shown


def looked_at(known: ReportData) -> Html | None:
    """Where the network saw the class it named, and in wrong pictures the true one."""
    if "image" not in known.card["inputs"] or not _model_is_there(known):
        return None
    model = load.read_model(known.version)
    if grad_cam.last_map(model) is None:
        return None
    judged = known.test
    is_wrong = judged.said != judged.labels
    sure = judged.probabilities[np.arange(len(judged.labels)), judged.said]
    shown = []
    for title, where, most in (
        ("Named wrongly", is_wrong, WRONG),
        ("Named rightly", ~is_wrong, RIGHT),
    ):
        rows = gallery.chosen(judged.frame, np.where(where, -sure, np.inf), most=most)
        shown.append(gallery.titled(title, _figures(known, model, rows) if rows else []))
    text = (
        "Grad-CAM (Selvaraju et al. 2017): the warmer, the more a place spoke for the class named, "
        "in the last map before pooling; in wrong pictures besides for the true class. Each is the "
        "surest of its kind. Heat tells where, not why."
    )
    return joined(tag("p", text), *shown)


def overlaid(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Returns a picture under its heat, [height, width, 3] uint8 RGB.

    Args:
      image: [h, w, channels] in the task's dtype.
      heat: [h, w] float, 0..1.
    """
    shown = base_images.to_display(image)
    shown = base_images.to_rgb(np.ascontiguousarray(shown))
    levels = np.rint(255 * cv2.resize(heat, shown.shape[1::-1])).astype(np.uint8)
    warm = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return np.rint((1 - SHARE) * shown + SHARE * warm).astype(np.uint8)


def _figures(known: ReportData, model, rows: list[int]) -> list[Html]:
    """Returns each picture, and its heat for the class named and, where that is wrong, the true."""
    judged, classes = known.test, known.test.classes
    keys = [judged.frame["key"].iloc[row] for row in rows]
    found = gallery.pixels(known.records, set(keys), manifest=known.manifest)
    rows = [row for row, key in zip(rows, keys, strict=True) if key in found]
    if not rows:
        return []
    images = np.stack([found[judged.frame["key"].iloc[row]] for row in rows])
    features = {"image": images}
    if "columns" in known.card["inputs"]:
        features["columns"] = _columns(known, rows)
    said, true = judged.said[rows], judged.labels[rows]
    heats = {"said": grad_cam.heat(model, features, said)}
    heats["true"] = grad_cam.heat(model, features, true)
    figures = []
    for i, row in enumerate(rows):
        about, likely = judged.frame.iloc[row], judged.probabilities[row]
        is_class = f"is {classes[true[i]]}"
        told = [f"p({classes[said[i]]}) = {likely[said[i]]:.3f}", is_class]
        png = base_images.encode_png(base_images.to_display(images[i]))
        figures.append(gallery.figure(about, told, png=png))
        asked = ("said",) if said[i] == true[i] else ("said", "true")
        for which in asked:
            name = classes[said[i] if which == "said" else true[i]]
            png = base_images.encode_png(overlaid(images[i], heats[which][i]))
            figures.append(gallery.figure(about, [f"what spoke for {name}"], png=png))
    return figures


def _columns(known: ReportData, rows: list[int]) -> np.ndarray:
    """Returns the columns [n, columns] float32 of some test examples."""
    keys = dataset.keys_of(known.records, ("test",), manifest=known.manifest)
    numbers = dataset.columns_of(known.records, ("test",), manifest=known.manifest)
    places = {key.decode(): i for i, key in enumerate(keys)}
    return numbers[[places[known.test.frame["key"].iloc[row]] for row in rows]]


def _model_is_there(known: ReportData) -> bool:
    return (known.version / "assets.extra" / "model.keras").is_file()
