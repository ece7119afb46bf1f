"""Errors of the user: what was expected, what came, where, and what to do."""


class UserError(Exception):
    """A mistake in the user's input; the command line prints the sentence and exits with 2."""
