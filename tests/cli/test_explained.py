"""The page of messages: each one is still in the code, and errors point to its heading."""

import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tfpipe import cli
from tfpipe.cli import explained, options

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def code() -> str:
    """The code of the package, sentences over several lines joined."""
    files = [path for path in ROOT.glob("tfpipe/**/*.py") if path.name != "explained.py"]
    return "\n".join(re.sub(r'"\n\s*f?"', "", path.read_text()) for path in files)


@pytest.fixture(scope="module")
def quotations() -> dict[str, str]:
    """Heading of the page, as its link has it -> the message that is quoted under it."""
    text = (ROOT / explained.PAGE).read_text()
    pairs = re.findall(r"^### (.+)\n> (.+)$", text, re.MULTILINE)
    assert len(pairs) == text.count("\n### ")
    return {re.sub(r"\W+", "-", heading.lower()): message for heading, message in pairs}


@pytest.mark.parametrize(("anchor", "words"), explained.SENTENCES.items())
def test_an_explained_message_is_in_the_code_and_under_its_heading(anchor, words, code, quotations):
    assert words in code
    assert explained.link(quotations[anchor]) == f"{ROOT}/docs/messages.md#{anchor}"


def test_every_heading_is_pointed_to(quotations):
    assert set(quotations) == set(explained.SENTENCES)
    assert explained.link("Something else is wrong.") == ""


def test_a_command_that_fails_names_the_heading(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tfpipe", "versions", "folds"])
    with pytest.raises(SystemExit):
        cli.main()
    (sentence,) = capsys.readouterr().err.splitlines()  # scripts read one
    monkeypatch.setattr(options, "err", Console(stderr=True, force_terminal=True))
    with pytest.raises(SystemExit):
        cli.main()
    *_, before, last = capsys.readouterr().err.splitlines()
    assert before == sentence
    assert last == f"explained: {ROOT}/docs/messages.md#there-is-no-version"


def test_an_installed_package_names_no_page_that_it_does_not_have(tmp_path, monkeypatch):
    monkeypatch.setattr(explained, "CHECKOUT", tmp_path)
    assert explained.link("No space. Free some space, and run the command again.") == ""
