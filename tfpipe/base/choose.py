"""Choice by name; for an unknown name the error offers the nearest one."""

import difflib
from collections.abc import Iterable

from tfpipe.base.errors import UserError


def choose(name: str, table: Iterable[str], *, noun: str) -> str:
    """Returns `name` if the table has it, else raises a UserError that offers the nearest one."""
    names = list(table)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"No {noun} called {name!r}.{hint} There are: {', '.join(names)}.")
