"""Extras: packages that few users need, which `pip install 'tfpipe[EXTRA]'` adds."""

import importlib.util

from tfpipe.base.errors import UserError


def require_beam() -> None:
    """Raises a UserError if Apache Beam is not installed, which `--runner` needs."""
    if importlib.util.find_spec("apache_beam") is None:
        raise UserError(
            "--runner needs Apache Beam, which is not installed. Run `pip install 'tfpipe[beam]'`."
        )
