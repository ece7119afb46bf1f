"""Names of the package: the field's words, unique classes, docstrings, files of readable size."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from keyword import iskeyword
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("tfpipe", "tuning")
NAMED_TUPLE_METHODS = ("_asdict", "_fields", "_replace")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
# Use summary, prediction, worker_pool, handle_exit, warm_start, cache, consecutive_failures,
# wait, ambiguous, abstain, from_scratch, probabilities, fit.
# fmt: off
STOP_WORDS = frozenset({
    "told", "said", "crew", "mourn", "beginnings", "kept", "vain", "linger", "apart", "unsure",
    "afresh", "likely", "learnt", "wanted", "judged", "seen",
})
# fmt: on
MAX_LINES = 600
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# Keys of files that older releases wrote, where they are read.
OLD_KEYS = {("tfpipe/registry/card.py", "apart")}


def file_name(path: Path) -> str:
    """Returns a path relative to the repository."""
    return path.relative_to(ROOT).as_posix()


def words(name: str) -> set[str]:
    """Returns the words of a name: `_is_told` and `IsTold` have "is" and "told"."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def defined_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields (line, name) of each variable, function, argument, class, attribute and key."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield 0, node.asname
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.lineno, node.name
        elif isinstance(node, ast.Dict):
            for key in node.keys:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.lineno, key.value
        elif isinstance(node, ast.Subscript):
            key = node.slice
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.lineno, key.value


class ModuleFacts(NamedTuple):
    """What the tests look at of a module, which is parsed once for all of them."""

    stop_words: list[str]
    classes: list[str]
    docstring: str | None
    n_lines: int
    splats: list[int]
    private_names: list[str]


@cache
def facts(path: Path) -> ModuleFacts:
    text = path.read_text()
    tree = ast.parse(text)
    return ModuleFacts(
        stop_words_of(path, tree),
        [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)],
        ast.get_docstring(tree),
        len(text.splitlines()),
        splats(tree),
        private_names(tree) if path in TESTS else [],
    )


def stop_words_of(path: Path, tree: ast.AST) -> list[str]:
    """Returns "file:line name" of each name of a module that has a stop word."""
    places = [file_name(path)] if words(path.stem) & STOP_WORDS else []
    for line, name in defined_names(tree):
        is_old_key = (file_name(path), name) in OLD_KEYS
        if name.isidentifier() and words(name) & STOP_WORDS and not is_old_key:
            places.append(f"{file_name(path)}:{line} {name}")
    return places


def test_names_have_none_of_the_stop_words():
    assert MODULES
    assert not [place for path in MODULES for place in facts(path).stop_words]


def test_class_names_are_unique():
    counts = Counter(name for path in MODULES for name in facts(path).classes)
    assert not [name for name, count in counts.items() if count > 1]


def test_a_module_has_a_docstring_and_a_readable_size():
    assert not [file_name(path) for path in MODULES if not facts(path).docstring]
    assert not [file_name(path) for path in MODULES if facts(path).n_lines > MAX_LINES]


def splats(tree: ast.AST) -> list[int]:
    """Returns the lines that unpack a literal: `*("a", "b")` or `**{"a": 1}`."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Starred) and isinstance(node.value, ast.Tuple | ast.List):
            lines.append(node.lineno)
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            lines += [
                value.lineno for key, value in pairs if key is None and isinstance(value, ast.Dict)
            ]
        elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Dict):
            lines += [node.value.lineno] if node.arg is None and is_unneeded(node.value) else []
    return lines


def is_unneeded(keywords: ast.Dict) -> bool:
    """Returns whether the keys of `**{...}` could be written as keywords."""
    names = [key.value if isinstance(key, ast.Constant) else "" for key in keywords.keys]
    return all(str(name).isidentifier() and not iskeyword(str(name)) for name in names)


def test_literals_are_not_unpacked():
    found = [(path, line) for path in [*MODULES, *TESTS] for line in facts(path).splats]
    assert not [f"{file_name(path)}:{line}" for path, line in found]


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("f(*(1, 2)); g(**{'a': 1}); {**{'a': 1}, 'b': 2}; [*[1, 2], *[3]]", 5),
        ("f(*rows); g(**{'class': 1, 'Content-Type': 2}); [*(i for i in x)]; {**x, 'b': 2}", 0),
    ],
)
def test_unpacked_literals_are_found(code, count):
    assert len(splats(ast.parse(code))) == count


def private_names(tree: ast.AST) -> list[str]:
    """Returns "line name" of each private name of the package that a module reads or patches."""
    modules = set()
    places = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(ROOMS):
            modules |= {name.asname or name.name for name in node.names}
            places += [f"{node.lineno} {name.name}" for name in node.names if is_private(name.name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            if owner.split(".")[0] in modules | set(ROOMS) and "(" not in owner:
                places.append(f"{node.lineno} {owner}.{node.attr}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            names = [part for word in strings(node) for part in word.split(".")]
            places += [f"{node.lineno} {name}" for name in names if is_private(name)]
    return places


def is_private(name: str) -> bool:
    """Returns whether a name has one leading underscore and is no method of a named tuple."""
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLE_METHODS


def strings(call: ast.Call) -> list[str]:
    """Returns the strings among a call's first two arguments."""
    values = [word.value for word in call.args[:2] if isinstance(word, ast.Constant)]
    return [value for value in values if isinstance(value, str)]


def test_tests_use_public_names_only():
    assert TESTS
    assert not [
        f"{file_name(path)}:{place}" for path in TESTS for place in facts(path).private_names
    ]


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("from tfpipe.data import pack\npack._jobs()", 1),
        ("from tfpipe.data.pack import _jobs", 1),
        ("from tfpipe.training import loop\nloop._Run._keep = 1", 2),
        ("import tfpipe\ntfpipe._x", 1),
        ("patch.setattr('tfpipe.models.pretrained._made', 1)", 1),
        ("patch.setattr(export, '_image', 1)", 1),
        ("from tfpipe.base import x\nx.Row._fields; x.row(1)._replace(a=1); self._x", 0),
    ],
)
def test_private_names_are_found_in_every_form(code, count):
    assert len(private_names(ast.parse(code))) == count


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("def mourn(crew, *, told): pass", ["mourn", "crew", "told"]),
        ("class IsUnsure: kept: int = 0", ["IsUnsure", "kept"]),
        ("self.is_kept = x", ["is_kept"]),
        ("d = {'said': 1}; d['likely']", ["said", "likely"]),
        ("import json as told", ["told"]),
        ("skept = unlikely = tolds = 'told'; print(told)", []),
    ],
)
def test_stop_words_are_found_in_every_kind_of_name(code, names):
    defined = [name for _, name in defined_names(ast.parse(code))]
    assert sorted(name for name in defined if words(name) & STOP_WORDS) == sorted(names)
