"""What the README and its neighbours say is so."""

import re
from pathlib import Path

import pytest
import typer

from tfpipe.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "data" / "README.md",
    ROOT / "saved_models" / "README.md",
    *(page for page in sorted(ROOT.glob("docs/**/*.md")) if page.name != "api.md"),
]
COMMANDS = typer.main.get_command(app).commands


def commands_in(page: Path) -> list[str]:
    """Returns each `tfpipe ...` in a page's code, to the end of the line or code span."""
    return re.findall(r"tfpipe ([a-z][^`\n#|&]*)", page.read_text())


def suggested(module: Path) -> list[str]:
    """Returns each command in back quotes of a module's sentences, {...} read as one word."""
    text = re.sub(r'"\n\s*f?"', "", module.read_text())  # a sentence over several lines
    return [re.sub(r"{[^}]*}", "x", words) for words in re.findall(r"`tfpipe ([^`]+)`", text)]


def test_commands_that_messages_suggest_can_be_parsed():
    counted = 0
    for module in sorted((ROOT / "tfpipe").rglob("*.py")):
        for words in (line.split() for line in suggested(module)):
            if words in (["--help"], ["--install-completion"]):
                continue
            assert words[0] in COMMANDS, (module, words)
            command, counted = COMMANDS[words[0]], counted + 1
            if words[1:]:  # a command without arguments is named, not written out
                command.make_context(words[0], words[1:], resilient_parsing="--help" in words)
    assert counted > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page):
    for words in (line.split() for line in commands_in(page)):
        if words[0] not in COMMANDS:
            assert not words[1:2] or not words[1].startswith("-"), words
            continue
        known = {option for p in COMMANDS[words[0]].params for option in p.opts + p.secondary_opts}
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert options <= known, words


def test_the_readme_shows_every_command():
    text = PAGES[0].read_text()
    assert [name for name in COMMANDS if f"`tfpipe {name}" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^()#=]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_readme_is_two_screens():
    assert len(PAGES[0].read_text().splitlines()) <= 100


def test_the_two_commands_open_the_readme():
    assert re.search(r"```sh\nmake demo .*\nmake test ", PAGES[0].read_text())
    assert "make test" in (ROOT / ".ci" / "run").read_text()
