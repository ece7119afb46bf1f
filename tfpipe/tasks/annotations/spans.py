"""Spans along a file, such as layers of a core, as a reviewer sees and corrects them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from tfpipe.tasks.annotations.decisions import Decision

WHOLE = "whole"  # what a decision is about that says of a file: nothing else is here


class Span(NamedTuple):
    """A span along a file.

    Attributes:
      what: what it was first known by: where it came from, and its depths then.
      top_m: depth of its upper edge as the photo shows it.
      bottom_m: of its lower edge.
      label: its kind; "" for none.
      state: of `decisions.STATES`.
      who: the reviewer who decided last.
      probability: of a model, nan where none was asked.
    """

    what: str
    top_m: float
    bottom_m: float
    label: str
    state: str = "predicted"
    who: str = ""
    probability: float = float("nan")

    def touches(self, other: "Span") -> bool:
        """Returns whether the two share some depth."""
        return self.top_m < other.bottom_m and other.top_m < self.bottom_m


class Strip(NamedTuple):
    """A file as it is reviewed.

    Attributes:
      image: [height, width, 3] uint8 RGB, depth downwards.
      top_m: depth of its first row.
      bottom_m: depth below its last row.
      tabled: what the source's table says, as the photo shows it.
      found: what the model says.
      says: what a reviewer should know of the file, "" for nothing.
    """

    image: np.ndarray
    top_m: float
    bottom_m: float
    tabled: tuple[Span, ...]
    found: tuple[Span, ...]
    says: str = ""


class SpanReview(NamedTuple):
    """How a task's spans are reviewed: `WholeFile.review`.

    Attributes:
      kinds: labels that a span may have, that of a drawn one first.
      strip: (source, outputs of `WholeFile.infer`, FilePrediction of `WholeFile.predict`, the
        source's row of the source table or None) -> Strip.
    """

    kinds: tuple[str, ...]
    strip: Callable[[Any, Any, Any, dict[str, Any] | None], Strip]


def named(origin: str, top_m: float, bottom_m: float) -> str:
    """Returns what a span is known by, such as "found 120.11720-120.12010"."""
    return f"{origin} {top_m:.5f}-{bottom_m:.5f}"


def whole(strip: Strip) -> Span:
    """Returns what a decision about a file as a whole is about: all of its depths, and no kind."""
    return Span(WHOLE, strip.top_m, strip.bottom_m, "")


def reviewed(strip: Strip, decided: Iterable[Decision]) -> list[Span]:
    """Returns the spans that a reviewer decides about, from the top.

    These are the table's and all that was decided about, each as it was decided last, and those
    found that touch none of them. What the model finds on a span of the table is no second one, and
    what is said of the file as a whole is none.

    Args:
      strip: the file.
      decided: the decisions about its spans, the last about each.
    """
    spans = {span.what: span for span in strip.tabled}
    found = {span.what: span for span in strip.found}
    for one in decided:
        if one.what == WHOLE:
            continue
        before = spans.get(one.what) or found.get(one.what)
        likely = before.probability if before else float("nan")
        spans[one.what] = Span(
            one.what, one.top_m, one.bottom_m, one.label, one.state, one.who, likely
        )
    taken = list(spans.values())
    taken += [span for span in found.values() if not any(span.touches(one) for one in taken)]
    return sorted(taken, key=lambda span: (span.top_m, span.bottom_m))
