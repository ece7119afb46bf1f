"""Classes of rows in records: what a reader gives is what training gets, beside the image."""

import dataclasses

import numpy as np
import pytest
from small_records import draw_small, make_task, pack_small, spread

from tfpipe.data import dataset, fingerprint, pack, sampling
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import Reading

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]

PLAIN = make_task()


def read(source, options):
    """Returns the images of the small task, with the number of each row as its class."""
    reading = PLAIN.read(source, options)
    examples = [one._replace(row_labels=one.image[:, 0, 0] // 2) for one in reading.examples]
    return Reading(examples, reading.row, reading.figure)


TASK = dataclasses.replace(
    PLAIN, read=read, row_classes=("none", "layer"), view="rows", metadata=PLAIN.metadata
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    raw = draw_small(folder / "raw", spread())
    return folder / "records", pack_small(raw, folder / "records", task=TASK), raw


def test_training_gets_the_classes_of_its_rows(packed):
    folder, manifest, _ = packed
    assert manifest.row_classes == TASK.row_classes
    drawing = sampling.Drawing(1, batch_size=8, augmentation="none")
    batches = dataset.training_batches(folder, drawing, manifest=manifest)
    for features, _ in batches.take(3):
        rows, images = features["row_labels"].numpy(), features["image"].numpy()
        assert rows.dtype == np.uint8 and rows.shape == images.shape[:2]
        np.testing.assert_array_equal(rows, images[:, :, 0, 0] // 2)
    features, _ = next(iter(dataset.batches(folder, dataset.TRAIN, manifest=manifest)))
    assert "row_labels" not in features  # which are for training only


def test_records_of_a_view_have_their_own_fingerprint(packed):
    _, _, raw = packed
    survey = PLAIN.survey(raw, PLAIN.options)
    prints = [
        fingerprint.records_fingerprint(
            task, raw, survey, options=PLAIN.options, split=SplitConfig()
        )
        for task in (PLAIN, TASK, dataclasses.replace(TASK, row_classes=("none", "lens")))
    ]
    assert len(set(prints)) == 3


def test_the_splits_of_packed_records_are_those_of_their_sources(packed):
    folder, manifest, _ = packed
    split = SplitConfig(manifest.fractions, manifest.salt)
    packed_splits = pack.packed_splits(folder, split)
    assert packed_splits.by_source == {
        name: part for part, names in manifest.sources.items() for name in names
    }
    assert not pack.packed_splits(folder, SplitConfig((0.8, 0.1, 0.1))).by_source
    assert not pack.packed_splits(folder.with_name("nothing"), split).by_source
