"""Class files (.cla): the class of each particle, as sorted by hand in VisualSpreadsheet."""

from pathlib import Path
from typing import NamedTuple

from tfpipe.base import files, table_formats
from tfpipe.base.errors import UserError


class ClassMember(NamedTuple):
    """One particle of a class: its id, the class, and its line in the file."""

    particle: int
    label: str
    line: int


def read(path: Path) -> list[ClassMember]:
    """Returns the members of all classes, in the file's order.

    Lines are: a version ("v3"), a number, a title, how many classes; then for each class its name,
    AND or OR, how many filters, how many particles, and their ids.

    Raises:
      UserError: naming the line, where the file is cut short, a count in it is wrong, a class has
        no name or occurs twice, or a class has filters, whose format is not documented.
    """
    lines = _Lines(path)
    version = lines.next("a version such as v3")
    if not (version[:1] == "v" and version[1:].isdecimal()):
        raise lines.wrong(version, "a version such as v3")
    lines.number("a number")
    lines.next("the title")
    members: list[ClassMember] = []
    first: dict[str, int] = {}
    for _ in range(lines.number("the number of classes")):
        name = " ".join(lines.next("the name of a class").split())
        if not name:
            raise lines.wrong(name, "the name of a class")
        if name in first:
            raise lines.wrong(name, f"a class other than that of line {first[name]}")
        first[name] = lines.line
        word = lines.next(f"AND or OR for class {name!r}")
        if word not in ("AND", "OR"):
            raise lines.wrong(word, f"AND or OR after the name of class {name!r}")
        if lines.number(f"the number of filters of class {name!r}"):
            raise lines.wrong("a class made by filters", "0 filters, particles sorted by hand")
        count = lines.number(f"the number of particles of class {name!r}")
        for i in range(count):
            particle = lines.number(f"particle {i + 1} of the {count} of class {name!r}")
            members.append(ClassMember(particle, name, lines.line))
    lines.end()
    return members


class _Lines:
    """The lines of a class file one by one; `expected` is what messages call the next one."""

    def __init__(self, path: Path):
        self.name = files.shown(path.name)
        self.lines = table_formats.text_of(path, expected="a class file (.cla)").splitlines()
        self.line = 0

    def next(self, expected: str) -> str:
        if self.line == len(self.lines):
            raise UserError(
                f"{self.name} ends after line {self.line}, expected {expected}: it is cut short. "
                "Copy it again, or remove it to have no labels."
            )
        self.line += 1
        return self.lines[self.line - 1].strip()

    def number(self, expected: str) -> int:
        text = self.next(expected)
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise self.wrong(text, expected)
        return int(text)

    def end(self) -> None:
        if any(line.strip() for line in self.lines[self.line :]):
            raise UserError(
                f"{self.name} line {self.line + 1}: there is more after the last class, expected "
                "the end: the number of classes in line 4 is too small. Export the file again."
            )

    def wrong(self, came: str, expected: str) -> UserError:
        return UserError(
            f"{self.name} line {self.line}: this is {came[:60]!r}, expected {expected}. A number "
            "above it may be wrong; export the file again."
        )
