"""The one exception a user sees: a sentence that says what was expected, what came, where, what to do."""


class UserError(Exception):
    """A mistake in what the user gave; the command line prints it as one sentence and exits with 2."""
