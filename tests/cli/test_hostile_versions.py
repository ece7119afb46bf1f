"""Commands over folders of versions that somebody else has made: one sentence, exit code 2."""

import json
import os
from dataclasses import asdict

import bad_cards
import hostile_versions
import pytest
import run_command
import tiny
from hostile_versions import write_card
from made_card import made_card

from tfpipe.training.config import TrainingConfig

TASK = tiny.__file__
COMMANDS = {
    "versions": ("versions", TASK),
    "predict": ("predict", TASK, "data/raw/tiny", "--out", "out.csv"),
    "predict by folder": ("predict", "saved_models/tiny/simple-cnn/1", "data", "--out", "out.csv"),
    "report": ("report", TASK),
    "rollback": ("rollback", TASK, "1"),
    "retrain": ("retrain", TASK),
    "explore": ("explore", TASK),
    "review": ("review", TASK, "--no-open"),
    "serve": ("serve", "tiny/simple-cnn", "--port", "0"),
}
BAD = bad_cards.contents(json.loads(made_card(version=1).to_json()))
SOME = ("null", "deep", "sums-as-list", "drift-as-text", "escape-codes", "not-utf-8", "size")


@pytest.fixture
def version(tmp_path):
    """The folder of the only version of the tiny task, whose raw files are there, too."""
    raw = tmp_path / "data" / "raw" / "tiny"
    raw.mkdir(parents=True)
    for i in range(12):
        (raw / f"file{i}.txt").write_text(str(i))
    return tmp_path / "saved_models" / "tiny" / "simple-cnn" / "1"


@pytest.fixture
def sentence(version, tmp_path, monkeypatch, capsys):
    """Runs a command, which must refuse; returns its one sentence."""

    def run(*words: str) -> str:
        monkeypatch.chdir(tmp_path)
        return run_command.refusal(monkeypatch, capsys, *words)

    return run


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("command", ["versions", "predict", "predict by folder", "report"])
def test_a_bad_card_is_a_sentence(sentence, version, command, name):
    bad_cards.write(version, BAD[name])
    assert "card.json" in sentence(*COMMANDS[command])


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"explore", "review"}))
def test_a_card_that_is_a_pipe_is_a_sentence_and_nobody_waits(sentence, version, command):
    (version / "assets.extra").mkdir(parents=True)
    os.mkfifo(version / "assets.extra" / "card.json")
    refused = sentence(*COMMANDS[command])
    if command == "serve":
        assert "contains assets.extra/card.json, which is neither a file nor a folder" in refused
    elif command != "predict by folder":  # what has no card is no version
        assert "card.json (Not a regular file)" in refused


@pytest.mark.slow
def test_a_version_that_writes_a_file_when_loaded_is_a_sentence(sentence, version, tmp_path):
    hostile_versions.with_writing_initializer(version, tmp_path / "written")
    write_card(version, classes=tiny.CLASSES)
    for command in ("predict", "serve"):
        assert "contains an object of kind resource" in sentence(*COMMANDS[command])
    assert not (tmp_path / "written").exists()


def test_a_link_is_not_copied_by_a_rollback(sentence, version, tmp_path):
    write_card(version)
    write_card(version.with_name("2"))
    (version / "assets").symlink_to(tmp_path)
    assert "tiny/simple-cnn/1 contains a link, assets" in sentence(*COMMANDS["rollback"])
    assert {path.name for path in version.parent.iterdir()} == {"1", "2"}


GOOD = asdict(TrainingConfig()) | {"precision": "float32"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"training": {}}, "has no precision in 'training'"),
        ({"training": GOOD | {"precision": "float1"}}, "No precision called 'float1'"),
        ({"training": GOOD | {"learning_rate": "x"}}, "field 'learning_rate': expected a number"),
        ({"training": GOOD, "model": "sorcery"}, "No model called 'sorcery'"),
        ({"options": {"pictures": "many"}}, "pictures"),
        ({"kind": "boosted-trees", "inputs": ("columns",)}, "has no seed in 'training'"),
    ],
)
def test_a_card_that_lacks_how_it_was_trained_is_a_sentence(sentence, version, changes, part):
    write_card(version, **{"classes": tiny.CLASSES} | changes)
    assert part in sentence(*COMMANDS["retrain"])


@pytest.mark.slow
def test_a_report_of_a_version_that_lacks_what_it_shows_is_a_sentence(
    sentence, version, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run_command.run("pack", TASK)
    write_card(version, classes=tiny.CLASSES)
    assert "predictions.csv is missing or no table" in sentence(*COMMANDS["report"])
    path = version / "assets.extra" / "predictions.csv"
    path.write_text("split,key,group,label,p_dull,p_bright\ntest,a,g,0,0.5,0.5\n")
    assert "cannot be reported: it has no metrics of the test split" in sentence(
        *COMMANDS["report"]
    )
