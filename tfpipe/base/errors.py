"""The one exception a user sees: what was expected, what came, where, and what to do."""


class UserError(Exception):
    """A mistake in what the user gave; the command line prints its sentence and exits with 2."""
