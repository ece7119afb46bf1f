"""Problems of raw files: the first one ends the work, unless all of them are collected.

with problems.collected() as sentences:
    for row in rows:
        with problems.contained():
            read(row)  # raises a UserError; the next row is read where problems are collected
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from tfpipe.base.errors import UserError

_sentences: ContextVar[list[str] | None] = ContextVar("problems", default=None)


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """Collects the problems in the block: a sentence each, in the order in which they come up.

    A problem that is not contained ends the block, and is the last one.
    """
    sentences: list[str] = []
    token = _sentences.set(sentences)
    try:
        yield sentences
    except UserError as error:
        sentences.append(str(error))
    finally:
        _sentences.reset(token)


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Ends the block at a problem, and goes on after it if problems are collected."""
    try:
        yield
    except UserError as error:
        sentences = _sentences.get()
        if sentences is None:
            raise
        sentences.append(str(error))


def add(sentence: str) -> None:
    """Adds a problem; raises it as a UserError unless problems are collected.

    The caller leaves out what it is about.
    """
    with contained():
        raise UserError(sentence)
