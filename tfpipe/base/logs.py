"""Logs of other packages, kept away from the terminal for a while."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Silences the root logger and others, and puts their levels and handlers back.

    Args:
      names: of the other loggers.
    """
    loggers = [logging.getLogger(name) for name in (None, *names)]
    before = [(logger.level, [*logger.handlers]) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, (level, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.handlers[:] = handlers  # the first message to the root logger adds one
