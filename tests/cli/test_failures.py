"""What a failed command prints: notes, a sentence, JSON where asked for; a line for Ctrl-C."""

import json
import sys

import cv2
import numpy as np
import pytest

from tfpipe import cli
from tfpipe.base.choose import listed
from tfpipe.project import Project


@pytest.fixture
def tfpipe(tmp_path, monkeypatch, capsys):
    """Runs the command line in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tfpipe", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


MISTAKES = {
    "unknown task": (["pack", "melt-layr"], "Did you mean 'melt-layer'?"),
    "no raw files": (["pack", "melt-layer"], "data/raw/melt-layer"),
    "no such option": (["pack", "melt-layer", "--opton", "a=b"], "--opton"),
    "no equals sign": (["pack", "melt-layer", "--option", "size"], "has no '='"),
    "no version": (["predict", "melt-layer", "a.png", "--out", "a.csv"], "holds no version yet"),
    "no files": (["predict", "melt-layer"], "'files'"),
    "no records": (["verify", "melt-layer"], "holds no packed records"),
    "no such folder": (["pack", "./nothing"], "is no folder"),
    "not a number": (["train", "melt-layer", "--epochs", "many"], "--epochs"),
    "unknown model": (["train", "melt-layer", "--model", "simple-cn"], "'simple-cnn'"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_json_object_with_exit_code_2(tfpipe, kind):
    words, part = MISTAKES[kind]
    code, out, err = tfpipe(*words, "--json")
    assert code == 2
    assert part in json.loads(out)["error"]
    assert "Traceback" not in err and err.count("tfpipe: ") == 1


def test_the_command_that_comes_first_names_the_folder(tfpipe, tmp_path):
    folder = tmp_path / "photos" / "oak"
    folder.mkdir(parents=True)
    for words in (["predict", "./photos", "a.png", "--out", "a.csv"], ["search", "./photos"]):
        assert f"Run `tfpipe tune {folder.parent}`" in tfpipe(*words)[2]


def test_ctrl_c_prints_one_line(tfpipe, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Project, "pack", interrupted)
    for words in (["pack", "melt-layer"], ["pack", "melt-layer", "--json"]):
        assert tfpipe(*words) == (130, "", "tfpipe: Stopped by Ctrl-C.\n")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
def test_the_notes_of_a_failed_packing_are_printed_and_long_lists_cut(tfpipe, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(40):  # one image a class: no split has them all
        folder = tmp_path / "photos" / f"class{i:02d}"
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "a.png"), rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
    cv2.imwrite(str(tmp_path / "photos" / "loose.png"), np.zeros((16, 16, 3), np.uint8))
    code, _, err = tfpipe("pack", "./photos")
    assert code == 2
    *notes, sentence = err.splitlines()
    assert any("loose.png" in note for note in notes if note.startswith("left out: ")), err
    assert sentence.startswith("tfpipe: Every split needs every class")
    assert " more (train: " in sentence and len(sentence) < 700, sentence


def test_a_long_list_of_names_ends_with_the_number_of_the_rest():
    assert listed("abc", most=3) == "a, b, c"
    assert listed(map(str, range(100)), most=3) == "0, 1, 2 and 97 more"
