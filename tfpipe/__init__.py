"""tfpipe: from raw pictures to a served model and back."""

__version__ = "0.1.0"
