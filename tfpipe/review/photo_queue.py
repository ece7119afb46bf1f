"""Photo queue: the photos to review, in their order, and the decisions about their spans."""

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tfpipe.base import images
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.evaluation import whole_files
from tfpipe.registry import load
from tfpipe.review import ranking
from tfpipe.review.decision_desk import DecisionDesk
from tfpipe.review.ranking import ImageScores
from tfpipe.review.records import ReviewRecords
from tfpipe.tasks.annotations import apply, spans
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.annotations.spans import Span, Strip
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Task

CACHED_PHOTOS = 24
MIN_THICKNESS_M = 1e-4
ACTIONS = ("accept", "label", "dubious", "move", "draw", "delete")


class PhotoQueue:
    """Photos whose spans are reviewed, as a queue."""

    kind: Literal["photos"] = "photos"
    is_blind = False

    def __init__(
        self, records: ReviewRecords, desk: DecisionDesk, *, task: Task, version: Path, raw: Path
    ):
        self.desk, self._records = desk, records
        self.progress, self.n_rankings = "", 0
        self.notes: tuple[str, ...] = ()
        assert task.whole_file and task.whole_file.review, f"{task.name} has no files to review"
        self._whole_file, self._review = task.whole_file, task.whole_file.review
        self.labels = self._review.kinds
        trained = [f"{name}={value}" for name, value in records.card.options.items()]
        self._options = parse_options(task, trained)
        self._sources = apply.survey_with_decisions(task, raw, self._options).sources
        self._rows = whole_files.rows_of(task, records.data)
        predictor = load.open_version(version)
        # As `predict` does: the thresholds were chosen for this inference mode.
        is_sliding = self._whole_file.sliding_window
        self._classify = predictor.predict_proba
        if is_sliding:
            self._classify = load.with_inference_mode(predictor, None)
        self._thresholds = predictor.card.thresholds
        self._cache: OrderedDict[int, Strip] = OrderedDict()
        self._lock = threading.Lock()
        self.rank(records.scores)

    def rank(self, scores: ImageScores) -> None:
        """Puts the photos in order by new scores of their windows."""
        self._order = self._ordered(scores)
        self.notes = (*self._records.notes, *scores.notes)
        self.n_rankings += 1

    def queue(self) -> list[dict[str, Any]]:
        """Returns the photos, the most helpful first, each with its number of decided spans."""
        current = self.desk.log().current
        counts = Counter(file for file, what in current if what != spans.WHOLE)
        entries = []
        for number, why in self._order:
            name = self._sources[number].name
            entries.append(
                {
                    "id": number,
                    "key": name,
                    "why": why,
                    "decided": counts[name],
                    "whole": self._whole(name, current)["state"],
                }
            )
        return entries

    def changed(self, lines: Sequence[Decision]) -> list[dict[str, Any]]:
        """Returns the photos that decisions are about, as `queue` does."""
        names = {line.file for line in lines if line.is_span}
        return [entry for entry in self.queue() if entry["key"] in names] if names else []

    def photo(self, number: int) -> dict[str, Any]:
        """Returns a photo's depths, spans and predictions, as they are decided now.

        Raises:
          UserError: there is no such photo, or it cannot be read.
        """
        strip = self.strip(number)
        name = self._sources[number].name
        return {
            "id": number,
            "key": name,
            "height": strip.image.shape[0],
            "width": strip.image.shape[1],
            "top_m": strip.top_m,
            "bottom_m": strip.bottom_m,
            "note": strip.note,
            "spans": [_as_json(span) for span in self._spans(number, strip)],
            "whole": self._whole(name, self.desk.log().current),
            "predicted": [_as_json(span) for span in strip.predicted],
        }

    def image(self, number: int) -> bytes:
        """Returns a photo as a PNG."""
        return images.encode_png(self.strip(number).image)

    def decide(
        self,
        number: int,
        *,
        who: str,
        action: str,
        label: str,
        what: str,
        depths_m: tuple[float, float],
    ) -> dict[str, Any]:
        """Saves a decision about a span, and returns the photo as it is decided now.

        Args:
          number: of the photo.
          who: the reviewer.
          action: one of `ACTIONS`.
          label: the span's kind.
          what: the span's name, ignored for one that is drawn; or `spans.WHOLE`, for a photo that
            holds nothing but what is validated (accept), or of which that is unknown (dubious).
          depths_m: of its edges, as the photo shows them; for a span that is moved or drawn.

        Raises:
          UserError: there is no such photo, span, kind or action, or it could not be saved.
        """
        strip = self.strip(number)
        choose(action, ACTIONS, noun="action on a span")
        current = {span.what: span for span in self._spans(number, strip)}
        if what == spans.WHOLE:
            _check_whole(action, list(current.values()))
        span = spans.whole_file_span(strip) if what == spans.WHOLE else current.get(what)
        if action == "draw":
            span = Span("", *self._inside(strip, depths_m), self.labels[0])
            span = span._replace(what=_unique_name(span, current))
        elif span is None:
            raise UserError(f"There is no span {what[:60]!r} any more. Load the page again.")
        elif action == "move":
            top_m, bottom_m = self._inside(strip, depths_m)
            span = span._replace(top_m=top_m, bottom_m=bottom_m)
        target = (self._sources[number].name, span.what)
        kind = label or span.label or self.labels[0]
        choose(kind, {**dict.fromkeys(self.labels), span.label: None}, noun="kind of span")
        is_none = action == "delete" or what == spans.WHOLE
        other = self.desk.other_decision(who, target)
        self.desk.decide(
            who,
            target,
            label="" if is_none else kind,
            action=action,
            depths_m=(span.top_m, span.bottom_m),
        )
        return self.photo(number) | {"other": other}

    def strip(self, number: int) -> Strip:
        """Returns a photo with its spans and predictions; a UserError if it cannot be read."""
        if not 0 <= number < len(self._sources):
            raise UserError(f"There is no photo {number}. Load the page again.")
        with self._lock:  # two pages would predict the same photo twice
            if number not in self._cache:
                source = self._sources[number]
                outputs = self._whole_file.infer(source, self._classify, self._options)
                prediction = self._whole_file.predict(outputs, self._thresholds)
                row = self._rows.get(source.name)
                self._cache[number] = self._review.strip(source, outputs, prediction, row)
                if len(self._cache) > CACHED_PHOTOS:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(number)
            return self._cache[number]

    def _ordered(self, scores: ImageScores) -> list[tuple[int, str]]:
        """Returns the photos in order with the reason; those not in the records come first."""
        groups = self._records.frame["group"].to_numpy(str)
        names = [source.group for source in self._sources]
        lists = [
            ranking.mean_of_groups(values, groups, names)
            for values in (scores.label_suspicion, scores.uncertainty, scores.novelty)
        ]
        numbers, reasons = ranking.order(lists)
        in_records = {*groups}
        is_missing = [name not in in_records for name in names]
        whys = [
            "not in the records: check its table"
            if missing
            else ("suspected labels", "uncertain predictions", "unlike the training images", "")[i]
            for missing, i in zip(is_missing, reasons.tolist(), strict=True)
        ]
        ordered = sorted(numbers.tolist(), key=lambda number: not is_missing[number])
        return [(number, whys[number]) for number in ordered]

    def _spans(self, number: int, strip: Strip) -> list[Span]:
        name = self._sources[number].name
        current = self.desk.log().current.values()
        return spans.review_spans(strip, [d for d in current if d.is_span and d.file == name])

    @staticmethod
    def _whole(name: str, current: Mapping[tuple[str, str], Decision]) -> dict[str, str]:
        """Returns the decision about a photo as a whole."""
        decision = current.get((name, spans.WHOLE))
        if decision is None:
            return {"state": "predicted", "who": ""}
        return {"state": decision.state, "who": decision.who}

    @staticmethod
    def _inside(strip: Strip, depths_m: tuple[float, float]) -> tuple[float, float]:
        """Returns depths within the photo, to 0.01 mm; a UserError if they are no span of it."""
        top_m, bottom_m = (round(min(max(m, strip.top_m), strip.bottom_m), 5) for m in depths_m)
        if not bottom_m - top_m >= MIN_THICKNESS_M:
            raise UserError(
                f"A span from {top_m:.5f} to {bottom_m:.5f} m has no thickness within "
                f"{strip.top_m:.4f} to {strip.bottom_m:.4f} m. Draw it again."
            )
        return top_m, bottom_m


def _check_whole(action: str, current: list[Span]) -> None:
    """Raises a UserError if a photo still has spans without a final decision."""
    choose(action, ("accept", "dubious"), noun="action on a whole photo")
    left = [span for span in current if span.label and span.state != "validated"]
    if left and action == "accept":
        raise UserError(
            f"Still open or dubious in this photo: {len(left)}. Accept or delete each, then say "
            "that nothing else is here."
        )


def _unique_name(span: Span, current: dict[str, Span]) -> str:
    """Returns a name for a drawn span that no other span of its photo has."""
    name = what = spans.span_name("drawn", span.top_m, span.bottom_m)
    count = 1
    while what in current:
        count += 1
        what = f"{name} ({count})"
    return what


def _as_json(span: Span) -> dict[str, Any]:
    """Returns a span as JSON can hold it."""
    probability = None if math.isnan(span.probability) else span.probability
    return span._asdict() | {"probability": probability}
