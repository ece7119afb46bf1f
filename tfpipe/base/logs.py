"""Logs in the terminal: those of other packages kept away, those of a server shown."""

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


@contextlib.contextmanager
def shown(name: str) -> Iterator[None]:
    """Prints what a logger is told with its time; a program with handlers of its own has that.

    Args:
      name: of the logger.
    """
    logger = logging.getLogger(name)
    level, handler = logger.level, logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    is_own = not logger.hasHandlers()
    logger.setLevel(logging.INFO)
    if is_own:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
