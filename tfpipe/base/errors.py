"""Errors of the user: what was expected, what came, where, and what to do."""

from typing import Any


class UserError(Exception):
    """A mistake in the user's input; the command line prints the sentence and exits with 2.

    Attributes:
      summary: what was done nevertheless, printed beside the sentence with `--json`.
    """

    summary: dict[str, Any] = {}
