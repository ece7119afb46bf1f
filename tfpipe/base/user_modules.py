"""Python files of the user: a task or a search space. Only a file that the user names is run."""

import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tfpipe.base import files
from tfpipe.base.errors import UserError


def load(path: Path, *, expected: str) -> ModuleType:
    """Runs a Python file and returns its module; the same file is run once.

    Args:
      path: the file.
      expected: what it should be, such as "a search space", for the sentences.

    Raises:
      UserError: it is missing or not readable, or raises something, with its line.
    """
    name = str(path.resolve())
    if name in sys.modules:
        return sys.modules[name]
    files.contents(path, expected=expected)
    loader = importlib.machinery.SourceFileLoader(name, name)
    spec = importlib.machinery.ModuleSpec(name, loader, origin=name)
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    try:
        loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(_blame(error, path)) from error
    return module


def is_loaded(path: Path) -> bool:
    """Returns whether a Python file was run already, because the user named it."""
    return str(path.resolve()) in sys.modules


def called(function: Callable[..., Any], *arguments: Any, path: Path) -> Any:
    """Returns the result of a function of the user's file; its exceptions become UserErrors."""
    try:
        return function(*arguments)
    except MemoryError:
        raise  # not a mistake of the file
    except Exception as error:
        raise UserError(_blame(error, path)) from error


def _blame(error: Exception, path: Path) -> str:
    """Returns a sentence that names the file's line where something went wrong."""
    file = str(path.resolve())
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines, error = [error.lineno], SyntaxError(error.msg)
    where = f"{files.shown(path.name)} line {lines[-1]}" if lines else files.shown(path.name)
    first_line = str(error).strip().splitlines()[:1]
    return f"{where}: {': '.join([type(error).__name__, *first_line])}. Correct the file."
