"""Tasks from raw files to a table; others have files of their own, or notebooks in docs/."""

import cv2
import numpy as np
import pandas as pd
import pytest
from run_command import run
from sklearn import datasets

from tfpipe.registry import store

pytestmark = pytest.mark.slow

QUICK = ("--quick", "--algorithm", "random", "--trials", "1")
QUICK += ("--trial-epochs", "1", "--epochs", "1")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def version(home, told: dict):
    """Returns the folder and the card of the version that a command made."""
    folder = home / told["path"]
    return folder, store.read_card(folder)


def test_escape_fractions(home):
    task, small = "ionization-escape-fraction", ("-o", "every=8", "-o", "gap_mpc=2")
    run("sample", task, "--simulations", "2", "--cells", "16")
    told = run("tune", task, *QUICK, "--no-random-split", *small, "-o", "test_seeds=2")
    _, card = version(home, told)
    assert card.ordinal_target and "mean_absolute_error" in told["metrics"]["test"]
    assert "Ordinal classes" in (home / run("report", task)["path"]).read_text()
    new = next((home / "data" / "raw" / task).glob("*seed2*"))
    assert run("predict", task, str(new), "--out", "f.csv")["rows"] == 2
    assert f"expected_{card.ordinal_target}" in pd.read_csv(home / "f.csv")


def test_a_folder_of_real_pictures(home):
    digits = datasets.load_digits()
    for i in range(120):
        folder = home / "digits" / f"of {digits.target[i] % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = np.kron(digits.images[i] * 15, np.ones((3, 3))).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i:03}.png"), picture)
    told = run("tune", "./digits", *QUICK, "--no-random-split")
    _, card = version(home, told)
    assert card.classes == ("of 0", "of 1", "of 2")
    made = run("predict", "./digits", "digits/of 1", "--out", "table.csv")
    test = card.metrics["test"]
    (trust,) = [note for note in made["notes"] if note.startswith("On images that it was tested")]
    assert (
        f"Accuracy {test['accuracy']:.2f}, Balanced accuracy {test['balanced_accuracy']:.2f}"
        in trust
    )
    assert made["rows"] == len(list((home / "digits" / "of 1").iterdir()))
