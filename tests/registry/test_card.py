"""Cards of this release and of older ones: nothing is lost, and what is malformed is named."""

import json
from pathlib import Path

import bad_cards
import pytest
from made_card import made_card

from tfpipe.base.errors import UserError
from tfpipe.registry import history, model_card, store
from tfpipe.registry.card import RENAMED, VersionCard

HERE = Path(__file__).parent
OLDER = ("classifier", "autoencoder", "boosted_trees")  # as the release before wrote them


def older(name: str) -> dict:
    return json.loads((HERE / f"card_{name}.json").read_text())


def version_of(folder: Path, card: dict) -> Path:
    """Returns the folder of a version with this card."""
    version = folder / card.get("task", "t") / card.get("model", "m") / str(card.get("version", 1))
    (version / "assets.extra").mkdir(parents=True)
    (version / "assets.extra" / "card.json").write_text(json.dumps(card))
    return version


@pytest.mark.parametrize("name", OLDER)
def test_an_older_card_keeps_all_that_it_held(name):
    value = older(name)
    card = VersionCard.from_json(value, file="card.json")
    for key, held in value.items():
        now = getattr(card, RENAMED.get(key, key))
        if key in ("scores", "by_class", "history", "thresholds", "hyperparameters", "sha256"):
            renamed = json.dumps(held).replace("error_of_mean_picture", "error_of_mean_image")
            assert now == json.loads(renamed)
        assert bool(now) == bool(held), key  # null is empty now
    assert card.data.fingerprint == value["data"]["fingerprint"]
    assert card.data.unreadable == value["data"]["bad"]
    assert card.data.user_defined_split is value["data"]["settled"]
    assert card.data.notes == tuple(value["data"]["notes"])
    assert card.intended_use["input"] == value["intended_use"]["shown"]
    assert card.parity["examples"] == value["parity"]["pictures"]


def test_kinds_columns_and_modes_of_older_cards():
    trees = VersionCard.from_json(older("boosted_trees"), file="card.json")
    assert (trees.kind, trees.columns, trees.spec) == ("boosted-trees", ("level", "other"), None)
    precision = trees.abstention["test"]["none"]
    assert [precision[name] for name in ("correct", "predicted", "most_probable")] == [5, 5, 5]
    assert trees.abstention["thresholds"] == older("boosted_trees")["abstention"]["thresholds"]
    autoencoder = VersionCard.from_json(older("autoencoder"), file="card.json")
    assert autoencoder.columns == autoencoder.network_spec.columns == ("level", "other")
    for metrics in (autoencoder.metrics["test"], autoencoder.random_split_scores):
        assert "error_of_mean_image" in metrics and "error_of_mean_picture" not in metrics
    assert autoencoder.calibration == autoencoder.abstention == {}
    network = VersionCard.from_json(older("classifier"), file="card.json")
    assert network.inference_mode == "windows" and network.initialized_from == 1  # it was a scan
    scores = older("classifier")["ways"]["scan"]["scores"]
    assert network.inference_modes["windows"]["metrics"] == scores
    assert set(network.inference_modes) == {"windows"}
    assert network.network_spec.image_shape == (50, 200, 3)
    with pytest.raises(UserError, match="is no network but boosted-trees"):
        _ = trees.network_spec


def test_a_version_published_for_a_scan_has_the_thresholds_of_all_windows():
    value = older("classifier")
    scan = value["ways"]["scan"]
    windows = scan | {"thresholds": {"decision": 0.9, "confident": 0.95}}
    card = VersionCard.from_json(
        value | {"ways": {"windows": windows, "scan": scan}}, file="c.json"
    )
    assert card.inference_mode == "windows" and set(card.inference_modes) == {"windows"}
    assert card.thresholds == card.inference_modes["windows"]["thresholds"] == windows["thresholds"]
    alone = VersionCard.from_json(value, file="c.json")
    assert alone.thresholds == scan["thresholds"]


def test_a_card_of_the_first_release_is_of_a_classifier_of_images():
    value = {n: v for n, v in older("classifier").items() if n not in ("kind", "inputs", "spec")}
    card = VersionCard.from_json(value, file="card.json")
    assert (card.kind, card.inputs) == ("classifier", ("image",))


@pytest.mark.parametrize("name", OLDER)
def test_what_is_written_is_read_back(name):
    card = VersionCard.from_json(older(name), file="card.json")
    assert VersionCard.from_json(json.loads(card.to_json()), file="card.json") == card
    assert VersionCard.upgrade(json.loads(card.to_json()))["metrics"] == card.metrics


@pytest.mark.parametrize("name", OLDER)
def test_an_older_version_is_listed_and_described(tmp_path, name):
    value = older(name)
    version = version_of(tmp_path, value)
    assert store.read_card(version).version == value["version"]
    (row,) = history.table(tmp_path, task=value["task"])
    assert row["version"] == value["version"] and row["value"] is not None
    text = model_card.write(version).read_text()
    assert value["data"]["fingerprint"] in text and "## Intended use" in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classes": 3}, r"field 'classes': expected a list, each text, received 3\."),
        ({"classes": ["a", 1]}, r"field 'classes\[1\]': expected text, received 1\."),
        ({"version": "1"}, "field 'version': expected a whole number, received \"1\""),
        ({"thresholds": {"decision": None}}, "field 'thresholds.decision': expected a number, rec"),
        ({"data": {"salt": ""}}, "field 'data.fingerprint': expected text, received nothing"),
        ({"parameters": True}, "field 'parameters': expected a whole number or null, received tr"),
        ({"sha256": []}, r"field 'sha256': expected an object, received \[\]"),
        ({"task": None}, "field 'task': expected text, received nothing"),
    ],
)
def test_a_malformed_card_is_refused_with_file_field_and_types(tmp_path, changes, sentence):
    version = version_of(tmp_path, json.loads(made_card(version=1).to_json()))
    path = version / "assets.extra" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=sentence) as refused:
        store.read_card(version)
    assert str(refused.value).startswith(f"{path} is damaged: ")
    assert "Restore the file" in str(refused.value)


def test_a_card_that_is_no_object_is_refused(tmp_path):
    version = version_of(tmp_path, {})
    (version / "assets.extra" / "card.json").write_text("[1]")
    with pytest.raises(UserError, match=r"card.json is damaged: expected an object, received \[1"):
        store.read_card(version)


BAD = bad_cards.contents(json.loads(made_card(version=1).to_json()))


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_card_is_refused_in_one_sentence(tmp_path, name):
    version = tmp_path / "tiny" / "simple-cnn" / "1"
    bad_cards.write(version, BAD[name])
    with pytest.raises(UserError) as refused:
        store.read_card(version)
    sentence = str(refused.value)
    assert len(sentence) < 500 and "\n" not in sentence
    assert sentence.startswith(str(version)) and "card.json" in sentence
