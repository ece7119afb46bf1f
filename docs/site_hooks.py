"""Pages of the site that are made: the command line, and figures of the tutorials."""

import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# What docs/make_figures.py wrote.
MADE = Path(__file__).parents[1] / "build" / "figures"
MARK = re.compile(r"^<!-- made: (?P<file>[\w/.-]+)(?: \"(?P<text>[^\"]+)\")? -->$", re.MULTILINE)
ABSENT = '!!! note "Made by `make docs`"\n    This part is drawn by running the commands: {text}'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds cli.md, which Typer writes from the commands' help, and the figures."""
    command = [sys.executable, "-m", "typer", "tfpipe.cli", "utils", "docs", "--name", "tfpipe"]
    page = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    page = page.replace("&#x27;", "'").replace("# `tfpipe`", "# Command line", 1)
    files.append(File.generated(config, "cli.md", content=_with_whole_sentences(page)))
    for path in sorted(MADE.glob("*/*.png")):
        name = f"made/{path.parent.name}-{path.name}"
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def _with_whole_sentences(page: str) -> str:
    """Returns the page with whole sentences in its list of commands, which Typer cuts short."""
    sentences = dict(re.findall(r"^## `tfpipe ([\w-]+)`\n\n(.+)$", page, re.MULTILINE))
    return re.sub(
        r"^\* `(\w[\w-]*)`: .*$",
        lambda line: f"* [`{line[1]}`](#tfpipe-{line[1]}): {sentences[line[1]]}",
        page,
        flags=re.MULTILINE,
    )


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Puts figures and numbers where a page has `<!-- made: FOLDER/FILE "alternative text" -->`."""
    up = "../" * page.file.src_uri.count("/")

    def made(mark: re.Match[str]) -> str:
        file, text = mark["file"], mark["text"] or ""
        path = MADE / file
        if not path.is_file():
            return ABSENT.format(text=text or file)
        if path.suffix == ".md":
            return path.read_text()
        return f"![{text}]({up}made/{file.replace('/', '-')}){{ loading=lazy }}"

    return MARK.sub(made, markdown)
