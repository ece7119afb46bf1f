"""Grad-CAM of a report: heatmaps over images that a network classified rightly and wrongly."""

import cv2
import keras
import numpy as np
from markupsafe import Markup

from tfpipe.base import html, images
from tfpipe.data import dataset
from tfpipe.models import grad_cam
from tfpipe.registry import load
from tfpipe.report import gallery
from tfpipe.report.report_data import ReportData

MAX_IMAGES = 6  # of a list
HEAT_SHARE = 0.45  # of the heatmap in the overlay


def heatmaps(data: ReportData) -> Markup | None:
    """Returns heatmaps of the predicted class, and of the true class where that is another."""
    has_model = (data.version / "assets.extra" / "model.keras").is_file()
    if "image" not in data.card.inputs or not has_model:
        return None
    model = load.read_model(data.version)
    if grad_cam.last_map(model) is None:
        return None
    test = data.test
    galleries = []
    for title, inside in (
        ("Classified wrongly", ~test.is_right),
        ("Classified rightly", test.is_right),
    ):
        order = np.where(inside, -test.confidence, np.inf)
        rows = gallery.select(test.frame, order, limit=MAX_IMAGES)
        galleries.append(html.gallery(title, _images(data, model, rows) if rows else []))
    text = (
        "Grad-CAM (Selvaraju et al. 2017): the warmer a place, the more it raised the score of the "
        "predicted class, in the last feature map before pooling. Wrong images show the true class "
        "as well. These are the most confident predictions. Heat shows where, not why."
    )
    return html.joined(html.paragraph(text), *galleries)


def overlaid(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Returns an image under its heatmap, [height, width, 3] uint8 RGB.

    Args:
      image: [h, w, channels] in the task's dtype.
      heat: [h, w] float, 0..1.
    """
    rgb = images.to_rgb(np.ascontiguousarray(images.to_display(image)))
    levels = np.rint(255 * cv2.resize(heat, rgb.shape[1::-1])).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return np.rint((1 - HEAT_SHARE) * rgb + HEAT_SHARE * colours).astype(np.uint8)


def _images(data: ReportData, model: keras.Model, rows: list[int]) -> list[Markup]:
    """Returns each image, then its heatmaps."""
    test, classes = data.test, data.test.classes
    keys = [test.frame["key"].iloc[row] for row in rows]
    arrays = gallery.pixels(data.records, set(keys), manifest=data.manifest)
    rows = [row for row, key in zip(rows, keys, strict=True) if key in arrays]
    if not rows:
        return []
    batch = np.stack([arrays[test.frame["key"].iloc[row]] for row in rows])
    features = {"image": batch}
    if "columns" in data.card.inputs:
        features["columns"] = _columns(data, rows)
    predicted, true = test.predicted[rows], test.labels[rows]
    predicted_heat = grad_cam.heat(model, features, predicted)
    true_heat = grad_cam.heat(model, features, true)
    if predicted_heat is None or true_heat is None:
        return []
    shown = []
    for i, row in enumerate(rows):
        example, name = test.frame.iloc[row], classes[predicted[i]]
        about = [f"p({name}) = {test.confidence[row]:.3f}", f"is {classes[true[i]]}"]
        png = images.encode_png(images.to_display(batch[i]))
        shown.append(gallery.image(example, about, png=png))
        heats = [(name, predicted_heat[i])]
        if predicted[i] != true[i]:
            heats.append((classes[true[i]], true_heat[i]))
        for label, heat in heats:
            png = images.encode_png(overlaid(batch[i], heat))
            shown.append(gallery.image(example, [f"heatmap of {label}"], png=png))
    return shown


def _columns(data: ReportData, rows: list[int]) -> np.ndarray:
    """Returns the columns [n, columns] float32 of some test examples."""
    keys = dataset.keys_of(data.records, ("test",), manifest=data.manifest)
    columns = dataset.columns_of(data.records, ("test",), manifest=data.manifest)
    index_of = {key.decode(): i for i, key in enumerate(keys)}
    return columns[[index_of[data.test.frame["key"].iloc[row]] for row in rows]]
