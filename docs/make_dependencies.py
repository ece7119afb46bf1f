"""Writes docs/dependencies.md: what constraints.txt names, with licences.

python docs/make_dependencies.py
"""

import sys
from importlib import metadata
from pathlib import Path

DOCS = Path(__file__).parent
PAGE = DOCS / "dependencies.md"
HEAD = """# Dependencies

The exact versions that tfpipe is tested with (`constraints.txt`), and the licence that each names.
Written by `python docs/make_dependencies.py`. `pip-audit -r constraints.txt` lists known
vulnerabilities; it asks a server on the internet, so no test runs it.

| package | version | licence |
|---|---|---|
"""
# Of packages whose metadata has the whole text or none, and of those that only one runtime or one
# Python needs: read from the files that they bring.
READ = {
    "ai-edge-litert": "Apache-2.0",
    "backports.strenum": "MIT",
    "cleanlab": "Apache-2.0",
    "namex": "Apache-2.0",
    "onnx": "Apache-2.0",
    "onnxruntime": "MIT",
    "simple-parsing": "MIT",
    "tf2onnx": "Apache-2.0",
}


def page() -> str:
    """Returns the page's text."""
    return HEAD + "".join(
        f"| {name} | {version} | {licence_of(name)} |\n" for name, version in constraints()
    )


def constraints() -> list[tuple[str, str]]:
    """Returns name and version of each line of constraints.txt."""
    lines = (DOCS.parent / "constraints.txt").read_text().splitlines()
    parts = [line.partition("==") for line in lines]
    return [(name, version) for name, _, version in parts if version]


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
