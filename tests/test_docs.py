"""The documents: the site builds, and every Python snippet runs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import browser
import keras_tuner
import numpy as np
import pytest
from made_card import made_card

import tfpipe
from tfpipe.evaluation import drift

ROOT = Path(__file__).parents[1]
EXECUTED = {
    "docs/adding-a-task.md": 2,  # tests/tasks/test_adding_a_task.py
    "docs/api.md": 1,
    "docs/drift.md": 1,
    "docs/protocols.md": 1,  # tests/serving/test_open_inference.py
    "docs/reading-records.md": 3,  # tests/data/test_other_readers.py
    "docs/searching.md": 1,
    "docs/serving.md": 1,
}


def snippets(page: str) -> list[str]:
    """Returns the blocks of Python in a page."""
    return re.findall(r"```python[^\n]*\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_the_api_page_has_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text()
    named = re.findall(r"^::: (tfpipe[\w.]+)\.(\w+)$", page, re.MULTILINE)
    assert sorted(name for _, name in named) == sorted(set(tfpipe.__all__) - {"__version__"})
    for module, name in named:
        assert getattr(tfpipe, name).__module__ == module


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nothing_of_a_network(tmp_path):
    build = (sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path)
    variables = {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        build, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    pages = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*.html")}
    pages = {name: path.read_text() for name, path in pages.items()}
    assert 'id="tfpipe-predict"' in pages["cli.html"]
    assert 'id="tfpipe.project.Project.tune"' in pages["api.html"]
    for name, page in pages.items():
        loaded = re.findall(r"""(?:src|<link[^>]*\shref)=["'](https?://[^"']+)""", page)
        assert loaded == [], name
        assert "<!-- made:" not in page, name
    if browser.CHROMIUM is None:
        return
    with browser.opened(tmp_path / "index.html", tmp_path / "profile") as page:
        page.wait("document.querySelector('.md-search__input') !== null")
        page.value("document.querySelector('.md-search__input').focus()")
        page.press(*"hyperband")
        page.wait(
            "[...document.querySelectorAll('.md-search-result__link')]"
            ".some((link) => link.href.includes('searching.html'))"
        )  # without a server


def test_every_page_with_python_is_executed():
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")]
    counts = {path.relative_to(ROOT).as_posix(): path for path in pages}
    counts = {page: len(snippets(page)) for page in counts if snippets(page)}
    assert counts == EXECUTED


def test_the_search_space_of_the_docs_is_one(tmp_path):
    (snippet,) = snippets("docs/searching.md")
    names: dict = {}
    exec(compile(snippet, "searching.md", "exec"), names)
    hp = keras_tuner.HyperParameters()
    assert set(names["space"](hp)) == {"filters", "dropout"}
    assert set(names["training"](hp)) <= set(tfpipe.TrainingConfig.__dataclass_fields__)


def test_the_client_of_the_docs_asks_for_both_files(monkeypatch):
    (snippet,) = snippets("docs/serving.md")
    asked = []

    class Client:
        def __init__(self, url):
            self.url = url

        def predict(self, files):
            asked.append((self.url, files))
            return "windows"

        def analyze(self, files, *, table):
            asked.append((self.url, files, table))
            return "layers"

    monkeypatch.setattr(tfpipe, "Client", Client, raising=False)
    names: dict = {}
    exec(compile(snippet, "serving.md", "exec"), names)
    url = "http://127.0.0.1:8501"
    assert asked == [
        (url, ["core_001.png", "core_002.png"], "photos.csv"),
        (url, ["window.png", "another.png"]),
    ]
    assert (names["layers"], names["windows"]) == ("layers", "windows")


def test_the_drift_watch_of_the_docs_names_what_is_brighter(capsys):
    (snippet,) = snippets("docs/drift.md")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (400, 8, 8, 1), dtype=np.uint8)
    groups = np.arange(40).repeat(10).astype(str)
    reference = drift.histograms(
        drift.measure(images, None, ()),
        groups,
        predictions=np.zeros(400, int),
        prediction_groups=groups,
        classes=("dull", "bright"),
    )
    card = made_card(drift=reference, classes=("dull", "bright"), thresholds={"decision": 0.5})
    names = {
        "version": SimpleNamespace(card=card),
        "images": images + np.uint8(150),
        "columns": None,
        "probabilities": np.tile([[0.9, 0.1]], (400, 1)),
        "groups": groups,
    }
    exec(compile(snippet, "drift.md", "exec"), names)
    assert "brightness is far outside" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
def test_the_notebook_of_the_docs_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (snippet,) = snippets("docs/api.md")
    names: dict = {}
    exec(compile(snippet, "api.md", "exec"), names)
    assert names["again"].card.data.fingerprint == names["records"].fingerprint
    assert len(names["table"]) >= 0 and (tmp_path / "layers.csv").is_file()


def test_the_tests_that_the_page_on_trust_names_are_there():
    page = (ROOT / "docs" / "trust.md").read_text()
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", page)
    lacking = [
        f"{file}::{test}"
        for file, test in named
        if f"def {test}(" not in (ROOT / "tests" / file).read_text()
    ]
    assert not lacking and len(named) > 60
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == [
        *range(1, 29)
    ]
