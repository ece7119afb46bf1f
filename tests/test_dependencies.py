"""Table of dependencies: each package of constraints.txt, its version and its licence."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_table_has_each_package_with_version_and_licence():
    rows = re.findall(
        r"^\| (\S+) \| (\S+) \| (.+) \|$", (ROOT / "docs/dependencies.md").read_text(), re.M
    )
    table = {name: version for name, version, _ in rows if name not in ("package", "---")}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    assert table == pinned, "Run: python docs/make_dependencies.py"
    assert not [row for row in rows if row[2] in ("unknown", "not installed here")]
