"""Nothing in the package runs what a file says, hides an error, or trusts the wall clock.

Nor does it print past the command line.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("tfpipe/**/*.py"), *ROOT.glob("tuning/**/*.py")])
MAY_PRINT = "tfpipe/cli/"
# They write a date for people to read; whatever waits or compares takes time.monotonic.
WRITE_DATES = {"tfpipe/registry/store.py", "tfpipe/tasks/annotations/decisions.py"}

UNPICKLE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
RUNS_TEXT = {"eval", "exec", "read_pickle", "to_pickle"}
SHELL = {"system", "popen"}
RUNS_PYTHON = {"py_function", "numpy_function", "py_func", "Lambda"}
UNSAFE = {"enable_unsafe_deserialization"}
ONLY = {"allow_pickle": False, "shell": False, "safe_mode": True, "trust_remote_code": False}
BROAD = {"Exception", "BaseException"}
WALL_CLOCK = re.compile(
    r"from time import .*\btime(_ns)?\b.*|time\.time(_ns)?|(datetime\.)?datetime\.(utc)?now"
    r"|(datetime\.)?(datetime|date)\.today"
)


def findings(source: str, *, may_print: bool = False, writes_dates: bool = False) -> list[str]:
    """Returns a sentence for each thing in a module that must not be."""
    tree = ast.parse(source)
    printed_by_main = {
        node
        for block in tree.body
        if isinstance(block, ast.If) and "__main__" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        wrong = _wrong(node)
        if wrong is None and _called(node) == "print":
            wrong = None if may_print or node in printed_by_main else "print outside cli/"
        if not writes_dates and WALL_CLOCK.fullmatch(_text(node)):
            wrong = "the wall clock may jump; take time.monotonic"
        if wrong:
            found.append(f"line {node.lineno}: {wrong}")
    return found


def _text(node: ast.AST) -> str:
    """Returns an import or the name of an attribute as it is written; "" for other nodes."""
    return ast.unparse(node) if isinstance(node, ast.ImportFrom | ast.Attribute) else ""


def _wrong(node: ast.AST) -> str | None:
    match node:
        case ast.Import(names=names) if UNPICKLE & {one.name.split(".")[0] for one in names}:
            return "unpickling runs code"
        case ast.ImportFrom(module=str(module), names=names):
            if module.split(".")[0] in UNPICKLE:
                return "unpickling runs code"
            if module == "os" and SHELL & {one.name for one in names}:
                return "a shell"
            if {(module, one.name) for one in names} & {("numpy", "load"), ("yaml", "load")}:
                return "import the module, so that this test sees how load is called"
            return _forbidden(*(one.name for one in names))
        case ast.Attribute(attr=name) | ast.Name(id=name) if name in RUNS_PYTHON | UNSAFE:
            return _forbidden(name)
        case ast.Call():
            return _wrong_call(node)
        case ast.ExceptHandler(type=None):
            return "except without a type"
        case ast.ExceptHandler(type=kind, body=body) if _broad(kind) and all(map(_nothing, body)):
            return "an exception of any kind passes unseen"
    return None


def _wrong_call(node: ast.Call) -> str | None:
    name, whole = _called(node), ast.unparse(node.func)
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in RUNS_TEXT:
        return _forbidden(name)
    if whole in {f"os.{one}" for one in SHELL}:
        return "a shell"
    if whole.startswith("yaml.") and "load" in name and "safe" not in name.replace("unsafe", ""):
        return "yaml.safe_load is the one that runs no code"
    if whole in ("np.load", "numpy.load") and "allow_pickle" not in given:
        return "np.load without allow_pickle=False"
    if name in ("isdigit", "isnumeric"):
        return "'²' is a digit that int does not read; take isdecimal"
    if name == "suppress" and any(map(_broad, node.args)):
        return "an exception of any kind passes unseen"
    for argument, only in ONLY.items():
        value = given.get(argument)
        if value is not None and not (isinstance(value, ast.Constant) and value.value is only):
            return f"{argument} other than {only}"
    return None


def _forbidden(*names: str) -> str | None:
    bad = sorted({*names} & (RUNS_TEXT | RUNS_PYTHON | UNSAFE))
    return f"{', '.join(bad)} runs code" if bad else None


def _called(node: ast.AST) -> str | None:
    """Returns the last name of what is called: "load" of np.load(...); but not a method's print."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name
        case ast.Call(func=ast.Attribute(attr=name)) if name != "print":
            return name
    return None


def _broad(kind: ast.AST | None) -> bool:
    return bool(kind) and any(isinstance(n, ast.Name) and n.id in BROAD for n in ast.walk(kind))


def _nothing(statement: ast.stmt) -> bool:
    """Returns whether a statement does nothing: pass, continue, ... or a string."""
    is_constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_constant or isinstance(statement, ast.Pass | ast.Continue)


def test_nothing_unsafe():
    assert FILES
    names = {path.relative_to(ROOT).as_posix(): path for path in FILES}
    found = {
        name: findings(
            path.read_text(),
            may_print=name.startswith(MAY_PRINT),
            writes_dates=name in WRITE_DATES,
        )
        for name, path in names.items()
    }
    assert {name: sentences for name, sentences in found.items() if sentences} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import load",
        "import joblib.numpy_pickle",
        "frame.to_pickle(path)",
        "eval('1')",
        "def one():\n    exec(text)",
        "os.system('ls')",
        "from os import system",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "from yaml import load",
        "np.load(path)",
        "from numpy import load",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=setting)",
        "dict(allow_pickle=True)",
        "subprocess.run(line, shell=True)",
        "keras.models.load_model(path, safe_mode=False)",
        "load(path, trust_remote_code=True)",
        "dataset.map(lambda x: tf.py_function(f, [x], tf.int64))",
        "function = tf.numpy_function",
        "from tensorflow import numpy_function",
        "layers.Lambda(f)",
        "keras.config.enable_unsafe_deserialization()",
        "try:\n    one()\nexcept:\n    two()",
        "try:\n    one()\nexcept Exception:\n    pass",
        "try:\n    one()\nexcept (OSError, BaseException) as error:\n    ...",
        "with suppress(Exception):\n    one()",
        "print(1)",
        "begin = time.time()",
        "from time import sleep, time",
        "end = datetime.now(UTC) + limit",
        "datetime.datetime.utcnow()",
        "if __name__ == 'nobody':\n    print(1)",
    ],
)
def test_what_is_unsafe_is_seen(source):
    assert len(findings(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path, allow_pickle=False)",
        "yaml.safe_load(text)",
        "console.print(1)",
        "platform.system()",
        "time.monotonic()",
        "from time import sleep",
        "file.time",
        "model.compile(optimizer='sgd')",
        "subprocess.run([python, '-c', text], check=False)",
        "keras.models.load_model(path, safe_mode=True)",
        "try:\n    one()\nexcept OSError:\n    pass",
        "try:\n    one()\nexcept Exception as error:\n    raise UserError from error",
        "if __name__ == '__main__':\n    print(1)",
    ],
)
def test_what_is_safe_passes(source):
    assert findings(source) == []
