"""Manifests of this release and of the one before, and those that are malformed."""

import json
from pathlib import Path

import pytest
from made_manifest import made_manifest

from tfpipe.base.errors import UserError
from tfpipe.data import manifest
from tfpipe.data.manifest import RecordManifest

OLDER = json.loads((Path(__file__).parent / "manifest_melt_layer.json").read_text())


def test_an_older_manifest_keeps_all_that_it_held():
    records = RecordManifest.from_json(OLDER, file="manifest.json")
    assert records.image_shape == (50, 200, 3) and records.classes == tuple(OLDER["classes"])
    assert records.unreadable == OLDER["bad"] and not records.user_defined_split
    assert records.notes == tuple(OLDER["notes"]) and records.left_out == ()
    assert records.omissions == list(OLDER["bad"].values())
    assert [shard.sha256 for shard in records.shards] == [one["sha256"] for one in OLDER["shards"]]
    assert records.sources == {name: tuple(held) for name, held in OLDER["sources"].items()}
    assert records.summary.counts == OLDER["counts"]
    again = RecordManifest.from_json(json.loads(records.to_json()), file="manifest.json")
    assert again == records


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_shape": [16, 16]}, "field 'image_shape': expected a list of 3 values"),
        ({"shards": [{"name": "a"}]}, r"field 'shards\[0\].split': expected text, received nothi"),
        ({"counts": {"train": {"a": "5"}}}, "field 'counts.train.a': expected a whole number"),
        ({"bad": None}, "field 'unreadable': expected an object, received null"),
    ],
)
def test_a_malformed_manifest_is_refused_with_file_field_and_types(tmp_path, changes, sentence):
    value = json.loads(made_manifest().to_json()) | changes
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match=f"manifest.json is damaged: {sentence}.*tfpipe pack"):
        manifest.read(tmp_path)
