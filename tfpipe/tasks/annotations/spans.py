"""Spans along a file, such as layers of a core, as a reviewer sees and corrects them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from tfpipe.tasks.annotations.decisions import Decision

WHOLE = "whole"  # `Decision.what` of a decision about a file: it holds nothing else


class Span(NamedTuple):
    """A span along a file.

    Attributes:
      what: its first name: its origin and its depths at that time.
      top_m: depth of its upper edge in the photo.
      bottom_m: depth of its lower edge.
      label: its kind; "" for none.
      state: one of `decisions.STATES`.
      who: the reviewer who decided last.
      probability: the model's; nan without a prediction.
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
      tabled: spans of the source's table, at their depths in the photo.
      predicted: spans of the model.
      note: what a reviewer should know about the file; "" for nothing.
    """

    image: np.ndarray
    top_m: float
    bottom_m: float
    tabled: tuple[Span, ...]
    predicted: tuple[Span, ...]
    note: str = ""


class SpanReview(NamedTuple):
    """How a task's spans are reviewed: `WholeFile.review`.

    Attributes:
      kinds: labels that a span may have; the first is that of a drawn one.
      strip: (source, outputs of `WholeFile.infer`, FilePrediction of `WholeFile.predict`, the
        source's row of the source table or None) -> Strip.
    """

    kinds: tuple[str, ...]
    strip: Callable[[Any, Any, Any, dict[str, Any] | None], Strip]


def span_name(origin: str, top_m: float, bottom_m: float) -> str:
    """Returns the first name of a span, such as "found 120.11720-120.12010"."""
    return f"{origin} {top_m:.5f}-{bottom_m:.5f}"


def whole_file_span(strip: Strip) -> Span:
    """Returns the span of a decision about a file as a whole: all of its depths, no kind."""
    return Span(WHOLE, strip.top_m, strip.bottom_m, "")


def review_spans(strip: Strip, decisions: Iterable[Decision]) -> list[Span]:
    """Returns the spans that a reviewer decides about, from the top.

    These are the spans of the table and all spans with a decision, each as it was decided last;
    then predicted spans that touch none of them. A prediction on a span of the table is not a
    second span, and a decision about the whole file is no span.

    Args:
      strip: the file.
      decisions: about its spans, the last about each.
    """
    spans = {span.what: span for span in strip.tabled}
    predicted = {span.what: span for span in strip.predicted}
    for decision in decisions:
        if decision.what == WHOLE:
            continue
        before = spans.get(decision.what) or predicted.get(decision.what)
        spans[decision.what] = Span(
            decision.what,
            decision.top_m,
            decision.bottom_m,
            decision.label,
            decision.state,
            decision.who,
            before.probability if before else float("nan"),
        )
    reviewed = list(spans.values())
    reviewed += [
        span for span in predicted.values() if not any(span.touches(other) for other in reviewed)
    ]
    return sorted(reviewed, key=lambda span: (span.top_m, span.bottom_m))
