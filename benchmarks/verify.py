"""Verifies each number that tfpipe prints against simulated or independent truth.

    python benchmarks/verify.py            prints the table
    python benchmarks/verify.py intervals  only the checks of that subject
    python benchmarks/verify.py --write    writes the table into docs/verification.md

A subject is a module of `benchmarks/verification/` with a function `check() -> list[Row]`. All of
them together take less than ten minutes on two cores. The exit code is 1 where a claim fails.
"""

import argparse
import importlib
import sys
import time
from pathlib import Path

import machine
from verification.row import Row

SUBJECTS: tuple[str, ...] = (
    "copies",
    "gate",
    "intervals",
    "melt_layers",
    "melt_layer_faults",
    "probabilities",
    "tracks",
)
PAGE = Path(__file__).parent.parent / "docs" / "verification.md"
BEGIN, END = "<!-- table: python benchmarks/verify.py --write -->", "<!-- end of table -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subject", nargs="*", help=f"some of: {', '.join(SUBJECTS)}")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.subject) - set(SUBJECTS)):
        parser.error(f"there is no subject {unknown[0]}; there are {', '.join(SUBJECTS)}")
    if arguments.write and arguments.subject:
        parser.error("--write needs all subjects, so name none")
    began, rows = time.monotonic(), []
    for subject in arguments.subject or SUBJECTS:
        start = time.monotonic()
        rows += importlib.import_module(f"verification.{subject}").check()
        print(f"{subject}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    table = format_table(rows)
    print(table)
    if arguments.write:
        text = PAGE.read_text()
        head, rest = text.split(BEGIN)
        foot = rest.split(END)[1]
        about = machine.about()
        seconds = time.monotonic() - began
        took = f"Took {seconds:.0f} s on {about['cores']} cores of {about['processor']}."
        PAGE.write_text(f"{head}{BEGIN}\n{took}\n\n{table}\n{END}{foot}")
    return 0 if all(row.holds for row in rows) else 1


def format_table(rows: list[Row]) -> str:
    """Returns the rows as a Markdown table."""
    lines = ["| number | truth | claimed | measured | holds |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (row.number, row.truth, row.nominal, row.measured, "yes" if row.holds else "**no**")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
