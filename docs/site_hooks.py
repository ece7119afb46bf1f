"""Pages of the site that are made from the code: the command line."""

import subprocess
import sys

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds cli.md, which Typer writes from the commands' help."""
    command = [sys.executable, "-m", "typer", "tfpipe.cli", "utils", "docs", "--name", "tfpipe"]
    page = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    page = page.replace("&#x27;", "'").replace("# `tfpipe`", "# Command line", 1)
    files.append(File.generated(config, "cli.md", content=page))
    return files
