"""A run.yaml, a comparison and a review of somebody else: one sentence or as if there were none."""

import json
import os
import shutil
import sys

import pytest
import run_command
import tiny

from tfpipe import cli

TASK = tiny.__file__
RUN = f"""command: train
task: {TASK}
model: simple-cnn
training: {{epochs: 1}}
"""
REFERENCES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD = {
    "no YAML": ("a: [", "line 1 is no YAML"),
    "a list": ("[1, 2]", "holds a list, expected names and values"),
    "nothing": ("", "holds a NoneType"),
    "deep": ("[" * 3_000, "nested too deeply"),
    "references that grow": (REFERENCES, "a reference (*name), expected plain values"),
    "a reference to itself": ("task: &a [*a]", "line 1 is no YAML: a reference"),
    "code": ("task: !!python/object/apply:os.system ['touch written']", "is no YAML"),
    "large": ("#" * 1_000_001, "has more than 1 MB"),
    "no text": (b"task: \xff\xfe", "cannot be read"),
    "a field too many": (RUN + "comand: tune\n", "Did you mean 'command'?"),
    "another command": (RUN.replace("train\n", "serve\n", 1), "No command called 'serve'"),
    "a model elsewhere": (RUN.replace("simple-cnn", "../../../elsewhere"), "No model for tiny"),
    "another model": (RUN.replace("simple-cnn", "resnet9"), "No model for tiny"),
    "no training": (
        RUN.replace("training", "hyperparameters"),
        "neither training, search nor trees",
    ),
    "text for a number": (RUN.replace("epochs: 1", "epochs: many"), "training.epochs"),
    "no epochs": (RUN.replace("epochs: 1", "epochs: 0"), "training.epochs is 0, expected at least"),
    "no number": (RUN.replace("epochs: 1", "learning_rate: .nan"), "training.learning_rate"),
    "no end": (RUN.replace("epochs: 1", "learning_rate: .inf"), "training.learning_rate"),
    "a long number": (RUN.replace("epochs: 1", f"epochs: {'9' * 5000}"), "run.yaml"),
    "a date": (RUN.replace("epochs: 1", "epochs: 2020-01-01"), "run.yaml"),
    "a seed below 0": (RUN.replace("epochs: 1", "seed: -1"), "training.seed is -1"),
    "another precision": (RUN + "precision: float1\n", "No precision called 'float1'"),
    "another balance": (RUN.replace("epochs: 1", "balance: luck"), "No balance called 'luck'"),
    "shares": (RUN + "split: {shares: [2.0, -1.0, 0.0]}\n", "Split shares are"),
    "an option": (RUN + "options: {pictures: many}\n", "pictures"),
    "no such task": (RUN.replace(TASK, "nothing"), "No task called 'nothing'"),
    "a start that is missing": (RUN + "initialized_from: 7\n", "not in saved_models/tiny/simple"),
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    raw = tmp_path / "data" / "raw" / "tiny"
    raw.mkdir(parents=True)
    for i in range(12):
        (raw / f"file{i}.txt").write_text(str(i))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sentence(home, monkeypatch, capsys):
    """Runs a command, which must refuse; returns its one sentence."""

    def run(*words: str) -> str:
        return run_command.refusal(monkeypatch, capsys, *words)

    return run


@pytest.mark.parametrize("name", BAD)
def test_a_bad_run_is_refused_in_a_sentence_and_writes_nothing(sentence, home, name):
    content, part = BAD[name]
    (home / "run.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    said = sentence("rerun", "run.yaml")
    assert part in said and len(said) < 1000
    names = {path.name for path in home.iterdir()}
    assert names - {"saved_models"} == {"data", "run.yaml"}
    if name != "a start that is missing":  # known once all else is right
        assert {path.name for path in (home / "data").iterdir()} == {"raw"}
        assert "saved_models" not in names


@pytest.mark.parametrize("kind", ["pipe", "folder", "nothing"])
def test_a_run_that_is_no_file_is_refused_and_nobody_waits(sentence, home, kind):
    if kind != "nothing":
        {"pipe": os.mkfifo, "folder": os.mkdir}[kind](home / "run.yaml")
    assert "run.yaml cannot be read. Give the run.yaml of a version" in sentence(
        "rerun", "run.yaml"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "../../elsewhere"),
        ("--model", "simple-cnn+sorcery"),
        ("--hp", "filters=none"),
        ("--hp", "sorcery=1"),
        ("--balance", "luck"),
        ("--folds", "99"),
    ],
)
def test_a_comparison_of_what_is_not_there_is_refused(sentence, words):
    assert sentence("compare", TASK, *words)


@pytest.mark.parametrize("command", ["compare", "train", "retrain"])
def test_a_seed_that_numpy_cannot_take_is_refused(home, monkeypatch, capsys, command):
    for seed in ("-1", str(2**32)):
        monkeypatch.setattr(sys, "argv", ["tfpipe", command, TASK, "--seed", seed])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 2 and "--seed" in capsys.readouterr().err


def test_a_comparison_of_damaged_records_is_refused(sentence, home):
    records = home / "data" / "records" / "tiny"
    for content in (b"", b"null", b"[" * 100_000, b'{"shards": 1}'):
        shutil.rmtree(records, ignore_errors=True)
        records.mkdir(parents=True)
        (records / "manifest.json").write_bytes(content)
        assert "manifest" in sentence("compare", TASK), content


def test_a_review_without_a_readable_card_is_refused(sentence, home):
    version = home / "saved_models" / "tiny" / "simple-cnn" / "1"
    (version / "assets.extra").mkdir(parents=True)
    for card in ({}, {"task": 1}, [], None):
        (version / "assets.extra" / "card.json").write_text(json.dumps(card))
        assert "card.json" in sentence("review", TASK, "--no-open", "--port", "0"), card
