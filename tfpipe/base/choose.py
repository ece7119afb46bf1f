"""Choice by name, for an unknown name the error offers the nearest one; and long lists of names."""

import difflib
from collections.abc import Iterable

from tfpipe.base import files
from tfpipe.base.errors import UserError


def choose(name: str, table: Iterable[str], *, noun: str) -> str:
    """Returns `name` if the table has it, else raises a UserError that offers the nearest one."""
    names = list(table)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"No {noun} called {name!r}.{hint} There are: {listed(names)}.")


def listed(names: Iterable[object], *, most: int = 30) -> str:
    """Returns names for a sentence, such as "a, b, c and 97 more".

    Args:
      names: in order.
      most: how many are written out.
    """
    shown = [files.shown(str(name)) for name in names]
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")
