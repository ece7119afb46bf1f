"""The container file: it copies what an installation needs, and installs as the Makefile does."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "Containerfile").read_text().splitlines()


def test_what_it_copies_is_there_and_sent_to_the_builder():
    copied = {name for line in LINES if line.startswith("COPY") for name in line.split()[1:-1]}
    sent = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)


def test_it_copies_every_file_that_the_wheel_is_built_from():
    settings = (ROOT / "setup.cfg").read_text()
    named = re.findall(r"= file: (\S+)", settings)
    packages = re.search(r"include =\n((?: +\S+\*\n)+)", settings)
    assert packages
    wanted = {*named, *(name.rstrip("*") for name in packages[1].split()), "pyproject.toml"}
    assert wanted <= {name for line in LINES if line.startswith("COPY") for name in line.split()}


def test_it_installs_by_the_lock_file_and_not_as_the_administrator():
    text = "\n".join(LINES)
    assert "--require-hashes -r constraints.txt" in text
    assert "--no-deps --no-build-isolation ." in text
    assert text.index("USER 1000") < text.index("ENTRYPOINT")
    base = re.search(r"FROM python:3\.(\d+)-slim", text)
    assert base and 11 <= int(base[1]) <= 13
