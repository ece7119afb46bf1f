"""Table of dependencies: each package of constraints.txt, its version and its licence."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pinned() -> dict[str, str]:
    """Returns package -> version of constraints.txt, and checks that each has hashes."""
    text = (ROOT / "constraints.txt").read_text()
    packages = re.findall(
        r"^([^#\s=]+)==([^\s;]+).*((?:\n +--hash=sha256:[0-9a-f]{64}.*)*)", text, re.M
    )
    assert not [name for name, _, hashes in packages if not hashes]
    return {name: version for name, version, _ in packages}


def test_what_is_declared_has_an_exact_version():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    declared = setup["options"]["install_requires"] + setup["options.extras_require"]["test"]
    names = re.findall(r"^\s*([A-Za-z][\w.-]*)", declared, re.M)
    assert len(names) > 40
    assert {name.lower().replace("_", "-") for name in names} <= set(pinned())


def test_the_table_has_each_package_with_version_and_licence():
    rows = re.findall(
        r"^\| (\S+) \| (\S+) \| (.+) \|$", (ROOT / "docs/dependencies.md").read_text(), re.M
    )
    table = {name: version for name, version, _ in rows if name not in ("package", "---")}
    assert table == pinned(), "Run: python docs/make_dependencies.py"
    assert not [row for row in rows if row[2] in ("unknown", "not installed here")]
