"""Records in TFDS, tf.data and grain: snippets of docs/reading-records.md read what tfpipe does."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from small_records import draw_small, pack_small, spread

from tfpipe.data import dataset
from tfpipe.data import manifest as data_manifest

PAGE = Path(__file__).parents[2] / "docs" / "reading-records.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)

# tfds 4.9 asks numpy and itself for what both have renamed.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]


@pytest.fixture(scope="module", params=["", "3"])
def project(request, tmp_path_factory):
    """A folder with data/records/melt-layer, which holds the small task's records here."""
    folder = tmp_path_factory.mktemp("project")
    raw = draw_small(folder / "raw", spread())
    pack_small(raw, folder / "data/records/melt-layer", shards=request.param)
    return folder


def read_by(snippet, project, monkeypatch):
    """Returns the examples that a snippet reads in a folder."""
    monkeypatch.chdir(project)
    names: dict = {}
    exec(compile(snippet, "reading-records.md", "exec"), names)
    return names["examples"]


@pytest.mark.parametrize("reader", ["builder_from_directory", "tf.data", "grain"])
def test_a_snippet_reads_the_examples_that_tfpipe_reads(reader, project, monkeypatch):
    (snippet,) = [s for s in SNIPPETS if f"{reader}." in s or f"{reader}(" in s]
    if reader == "grain":
        pytest.importorskip("grain")
    folder = project / "data/records/melt-layer"
    manifest = data_manifest.trusted(folder)
    examples = read_by(snippet, project, monkeypatch)
    batches = list(dataset.batches(folder, dataset.TRAIN, manifest=manifest))
    images = np.concatenate([batch["image"] for batch, _ in batches])
    labels = np.concatenate([label for _, label in batches])
    assert len(examples) == len(images) == sum(manifest.counts["train"].values())
    keys = dataset.keys_of(folder, ("train",), manifest=manifest)
    for example, image, label, key in zip(examples, images, labels, keys, strict=True):
        np.testing.assert_array_equal(example["image"], image)
        assert (example["label"], example["key"]) == (label, key)
        assert example["depth_m"].dtype == np.float64


def test_tfds_has_no_random_access_to_them(project):
    builder = tfds.builder_from_directory(project / "data/records/melt-layer")
    with pytest.raises(NotImplementedError, match="Random access .*TFRECORD is not supported"):
        builder.as_data_source(split="train")
