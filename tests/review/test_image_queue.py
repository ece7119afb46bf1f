"""Queue of images: each shows the class that the version's decision rule names."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_card import made_card
from made_manifest import made_manifest

from tfpipe.data.dataset import Dataset
from tfpipe.review.decision_desk import DecisionDesk
from tfpipe.review.image_queue import ImageQueue
from tfpipe.review.ranking import ImageScores
from tfpipe.review.records import ReviewRecords
from tfpipe.tasks.annotations import decisions

PROBABILITIES = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])


@pytest.mark.parametrize(
    ("thresholds", "labels", "shown"),
    [
        ({"decision": 0.25}, ["none", "layer", "layer"], [0.9, 0.3, 0.8]),
        ({}, ["none", "none", "layer"], [0.9, 0.7, 0.8]),
    ],
)
def test_an_image_shows_the_class_of_the_decision_rule(tmp_path, thresholds, labels, shown):
    zeros = np.zeros(3)
    frame = pd.DataFrame({"split": "train", "key": list("abc"), "group": "g", "label": -1})
    records = ReviewRecords(
        Dataset(Path(), made_manifest(classes=("none", "layer")), "accuracy"),
        frame,
        ImageScores(PROBABILITIES, zeros, None, None, np.arange(3.0), ()),
        made_card(thresholds=thresholds),
    )
    queue = ImageQueue(records, DecisionDesk(tmp_path, decisions.NAME, "simple-cnn/1"))
    images = {image["key"]: image for image in queue.queue()}
    assert [images[key]["predicted"] for key in "abc"] == labels
    assert [images[key]["probability"] for key in "abc"] == pytest.approx(shown)
