"""How far adjusted counts are trusted: by the test groups that they were tried on."""

import numpy as np
import pandas as pd
import pytest

from tfpipe.inference.confidence import PredictionConfidence, PredictionOptions

CLASSES = ("ash", "dust")
N_IMAGES = 40  # of a group


def held_out(errors: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """Returns predictions whose classes are sure; errors by group, as shares of ash and of dust."""
    rows = []
    for group, shares in errors.items():
        for label, share in enumerate(shares):
            for i in range(N_IMAGES // 2):
                named = 1 - label if i < share * N_IMAGES / 2 else label
                split = "validation" if group == "v" else "test"
                rows.append((split, group, label, 1.0 - named, float(named)))
    return pd.DataFrame(rows, columns=["split", "group", "label", "p_ash", "p_dust"])


@pytest.mark.parametrize(
    ("errors", "is_worse"),
    [
        (
            {"v": (0, 0), "a": (0.3, 0), "b": (0.3, 0), "c": (0.3, 0)},
            False,
        ),  # alike: adjusting helps
        ({"v": (0, 0), "a": (0.4, 0), "b": (0, 0.4), "c": (0, 0)}, True),  # each is another way
    ],
)
def test_adjusted_counts_that_were_further_off_are_not_recommended(errors, is_worse):
    confidence = PredictionConfidence(
        held_out(errors), CLASSES, PredictionOptions(0.0), decision={}
    )
    counts = np.array([30, 30])
    table, notes = confidence.class_counts(counts, np.append(counts, 0), counts, new_groups=1)
    assert table["class"].tolist() == [*CLASSES]
    text = " ".join(notes)
    assert ("so do not use them" in text) == is_worse
    assert "rest on the errors in 3 labelled test groups" in text
    assert "the report measured them at 0.9" in text
