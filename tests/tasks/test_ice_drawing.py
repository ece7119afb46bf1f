"""What lies in the ice is drawn where it is, as light or dark as it is, and nowhere else."""

import numpy as np
import pytest

from tfpipe.tasks.samples import ice_drawing, line_scan
from tfpipe.tasks.samples.ice_features import IceFeature

ICE = 0.6
MM = np.arange(-60, 60, 0.5)
PART = {"left_mm": -20.0, "right_mm": 30.0}
# Kind, cause and thickness; other properties; light over the ice's, least and most, in the middle.
# fmt: off
DRAWN = {
    "sharp layer": (("meltLayer", "sharp layer", 0, 6), {"contrast": 0.5}, (0.4, 0.6)),
    "diffuse layer": (("meltLayer", "diffuse layer", 0, 5),
                      {"contrast": 0.3, "softness_mm": 1.8}, (0.62, 0.78)),
    "lens": (("meltLens", "lens", 0, 4), {"contrast": 0.5} | PART, (0.4, 0.6)),
    "refrozen crack": (("crack", "refrozen crack", 0, 2), {"contrast": 0.6}, (0.35, 0.85)),
    "bubble-free patch": (("patch", "bubble-free patch", 0, 20), {"contrast": 0.4} | PART,
                          (0.5, 0.7)),
    "break": (("break", "break", 0, 5), {"contrast": 0.85}, (0.1, 0.3)),
    "glare": (("glare", "glare", 0, 8), {"contrast": 0.8} | PART, (1.3, 2.5)),
}
# fmt: on


def drawn(feature, *, seed=0):
    """Returns the window [240 rows, 200 columns] of flat ice around a feature, 2 px a mm."""
    depth, across = (a.astype(np.float32) for a in np.meshgrid(MM, MM[20:-20], indexing="ij"))
    bubbles = np.zeros_like(depth)
    light, cover = np.full_like(depth, ICE), np.ones_like(depth)
    window = ice_drawing.Window(light, cover, depth, across, bubbles)
    ice_drawing.draw(feature, window, rng=np.random.default_rng(seed))
    return window


@pytest.mark.parametrize("cause", DRAWN)
def test_the_light_in_the_middle_is_the_features(cause):
    place, look, (least, most) = DRAWN[cause]
    feature = IceFeature(*place, **look)
    window = drawn(feature)
    middle = np.abs(window.depth) <= 1.5
    middle &= np.abs(window.across - (5 if look.keys() & PART.keys() else 0)) < 5
    if feature.kind == "crack":  # jags move it, so the darkest row of each column is meant
        light = window.light.min(axis=0).mean()
    else:
        light = window.light[middle].mean()
    assert least < light / ICE < most
    changed = np.abs(window.light / ICE - 1) > 0.02
    assert np.abs(window.depth[changed]).max() < feature.half_span_mm + 6
    if look.keys() & PART.keys():
        assert window.across[changed].min() > -33 and window.across[changed].max() < 43
    else:
        assert changed.any(axis=0).mean() > 0.95
    assert (window.cover == 1).all()


@pytest.mark.parametrize("cause", ["missing ice", "chip"])
def test_where_ice_is_missing_the_tray_shows(cause):
    look = {"left_mm": 30.0, "right_mm": 50.0} if cause == "chip" else {}
    window = drawn(IceFeature("break", cause, 0, 20, **look))
    bare = window.cover < 0.5
    assert bare.sum() > 150
    assert np.abs(window.depth[bare]).max() < 16
    across = bare.any(axis=0)
    assert across[-4:].all()
    assert across.all() if cause == "missing ice" else not across[:150].any()


def test_a_colour_card_lies_beyond_the_end_of_the_core():
    rng = np.random.default_rng(3)
    draws = [line_scan.lay(rng, length_mm=300, px_per_m=1000, in_colour=True) for _ in range(60)]
    with_card = [place for place in draws if place.card]
    assert 2 <= len(with_card) <= 20
    place = with_card[0]
    light = np.full((place.rows, place.columns), 0.1, np.float32)
    photo = line_scan.expose(rng, light, place=place, camera=line_scan.CAMERAS["usual"])
    rows = [round(place.row(mm)) for mm in place.card[:2]]
    assert 0 <= rows[0] < rows[1] <= place.rows
    assert place.card.to_mm < 0 or place.card.from_mm > 300
    colourful = np.ptp(photo, axis=2).mean(axis=1)
    assert np.median(colourful[rows[0] : rows[1]]) > 0.2
    core = slice(round(place.row(0)), round(place.row(300)))
    assert colourful[core].max() < 0.1
    grey = line_scan.lay(rng, length_mm=300, px_per_m=1000, in_colour=False)
    assert grey.card is None
