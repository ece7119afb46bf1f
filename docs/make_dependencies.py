"""Writes docs/dependencies.md: what constraints.txt names, with licences.

python docs/make_dependencies.py
"""

import re
import sys
from importlib import metadata
from pathlib import Path

DOCS = Path(__file__).parent
PAGE = DOCS / "dependencies.md"
HEAD = """# Dependencies

The exact versions that tfpipe is tested with, and the licence that each names. `constraints.txt`
has the hashes of their files, too, and pip installs no other file:

```sh
pip install --require-hashes -r constraints.txt
pip install --no-deps --no-build-isolation .   # elsewhere: the wheel from `make wheel`, in dist/
```

It also names what only the tests need. `pip-audit -r constraints.txt` lists known vulnerabilities;
it asks a server on the internet, so no test runs it. `python docs/make_dependencies.py` writes this
page.

| package | version | licence |
|---|---|---|
"""
# Of packages whose metadata has the whole text or none: read from the files that they bring.
# And of those that only other systems or interpreters need.
READ = {
    "appnope": "BSD-2-Clause",
    "cffi": "MIT-0",
    "cleanlab": "Apache-2.0",
    "namex": "Apache-2.0",
    "pycparser": "BSD-3-Clause",
    "simple-parsing": "MIT",
}


def page() -> str:
    """Returns the page's text."""
    return HEAD + "".join(
        f"| {name} | {version} | {licence_of(name)} |\n" for name, version in constraints()
    )


def constraints() -> list[tuple[str, str]]:
    """Returns name and version of each package of constraints.txt."""
    text = (DOCS.parent / "constraints.txt").read_text()
    return re.findall(r"^([\w.-]+)==([^\s;]+)", text, flags=re.MULTILINE)


def licence_of(name: str) -> str:
    """Returns the licence that an installed package names, as SPDX where it does."""
    if name in READ:
        return READ[name]
    try:
        fields = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "not installed here"
    if expression := fields.get("License-Expression"):
        return expression
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in fields.get_all("Classifier") or []
        if line.startswith("License ::") and line.count("::") > 1
    ]
    text = (fields.get("License") or "").strip()
    return ", ".join(classifiers) or (text if text and len(text) < 60 else "") or "unknown"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE.name}: {len(constraints())} packages.", file=sys.stderr)
