"""tfpipe: from raw pictures to a served model and back."""

from importlib import import_module

__version__ = "0.1.0"


def __getattr__(name: str):
    """Gives `tfpipe.Client`; only then is imported what it needs."""
    if name == "Client":
        return import_module("tfpipe.serving.client").Client
    raise AttributeError(f"module 'tfpipe' has no attribute {name!r}")
