"""The files to review, such as core photos: which first, and what is decided about their spans."""

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfpipe.base import images
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.evaluation import whole_files
from tfpipe.registry import load
from tfpipe.review import ranking
from tfpipe.review.decision_desk import Desk
from tfpipe.review.ranking import Told
from tfpipe.review.records import Packed
from tfpipe.tasks.annotations import apply, spans
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.annotations.spans import Span, Strip
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Task

KEPT = 24  # files as they were looked at
LEAST_M = 1e-4
ACTIONS = ("accept", "label", "dubious", "move", "draw", "delete")


class Strips:
    """Files whose spans are reviewed, as a queue."""

    kind = "strips"

    def __init__(self, packed: Packed, desk: Desk, *, task: Task, version: Path, raw: Path):
        self.desk, self._packed, self._task = desk, packed, task
        self.doing, self.turn = "", 0
        assert task.whole_file and task.whole_file.review, f"{task.name} has no files to review"
        self._whole_file, self._review = task.whole_file, task.whole_file.review
        self.labels = self._review.kinds
        trained = [f"{name}={value}" for name, value in packed.card.options.items()]
        self._options = parse_options(task, trained)
        self._sources = apply.survey_with_decisions(task, raw, self._options).sources
        self._rows = whole_files.rows_of(task, packed.data)
        predictor = load.open_version(version)
        # As `predict` does: the thresholds were chosen for this inference mode.
        is_sliding = self._whole_file.sliding_window
        self._classify = predictor.predict_proba
        if is_sliding:
            self._classify = load.with_inference_mode(predictor, None)
        self._thresholds = predictor.card.thresholds
        self._looked: OrderedDict[int, Strip] = OrderedDict()
        self._lock = threading.Lock()
        self.rank(packed.told)

    def rank(self, told: Told) -> None:
        """Puts the files in order by what is known of their pictures now."""
        self._queued = self._ordered(told)
        self.notes = (*self._packed.notes, *told.notes)
        self.turn += 1

    def queue(self) -> list[dict[str, Any]]:
        """Returns the files, the most helpful first, each with how many spans are decided about."""
        held = self.desk.known().current
        counts = Counter(file for file, what in held if what != spans.WHOLE)
        found = []
        for i, why in self._queued:
            name = self._sources[i].name
            about = {"decided": counts[name], "whole": self._whole(name, held)["state"]}
            found.append({"id": i, "key": name, "why": why} | about)
        return found

    def changed(self, lines: Sequence[Decision]) -> list[dict[str, Any]]:
        """Returns the files that decisions are about, as `queue` does."""
        names = {one.file for one in lines if one.is_span}
        return [one for one in self.queue() if one["key"] in names] if names else []

    def told(self, number: int) -> dict[str, Any]:
        """Returns a file's depths, spans and what the model found, as they hold now.

        Raises:
          UserError: there is no such file, or it cannot be read.
        """
        strip = self._strip(number)
        return {
            "id": number,
            "key": self._sources[number].name,
            "height": strip.image.shape[0],
            "width": strip.image.shape[1],
            "top_m": strip.top_m,
            "bottom_m": strip.bottom_m,
            "says": strip.note,
            "spans": [_plain(one) for one in self._spans(number, strip)],
            "whole": self._whole(self._sources[number].name, self.desk.known().current),
            "found": [_plain(one) for one in strip.predicted],
        }

    def image(self, number: int) -> bytes:
        """Returns a file's picture as a PNG."""
        return images.encode_png(self._strip(number).image)

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
        """Keeps what a reviewer says of a span, and returns what holds of its file now.

        Args:
          number: of the file.
          who: the reviewer.
          action: what was done.
          label: the span's kind.
          what: what the span is known by, left aside for one that is drawn; or `spans.WHOLE`, for
            nothing but what is validated is here (accept), or that is not known (dubious).
          depths_m: of its edges, as the photo shows them; counted where it is moved or drawn.

        Raises:
          UserError: there is no such file, span, kind or action, or it could not be saved.
        """
        strip = self._strip(number)
        choose(action, ACTIONS, noun="action on a span")
        known = {span.what: span for span in self._spans(number, strip)}
        if what == spans.WHOLE:
            _check_whole(action, list(known.values()))
        span = spans.whole_file_span(strip) if what == spans.WHOLE else known.get(what)
        if action == "draw":
            span = Span("", *self._inside(strip, depths_m), self.labels[0])
            span = span._replace(what=_unique(span, known))
        elif span is None:
            raise UserError(f"There is no span {what[:60]!r} any more. Load the page again.")
        elif action == "move":
            top_m, bottom_m = self._inside(strip, depths_m)
            span = span._replace(top_m=top_m, bottom_m=bottom_m)
        thing = (self._sources[number].name, span.what)
        kind = label or span.label or self.labels[0]
        choose(kind, {**dict.fromkeys(self.labels), span.label: None}, noun="kind of span")
        is_none = action == "delete" or what == spans.WHOLE
        over = self.desk.others(who, thing)
        self.desk.decide(
            who,
            thing,
            label="" if is_none else kind,
            action=action,
            depths_m=(span.top_m, span.bottom_m),
        )
        return self.told(number) | {"over": over}

    def _ordered(self, told: Told) -> list[tuple[int, str]]:
        """Returns the files in order, and why each stands there; those not in the records first."""
        groups = self._packed.frame["group"].to_numpy(str)
        names = [source.group for source in self._sources]
        each = [
            ranking.of_groups(values, groups, names)
            for values in (told.suspected, told.uncertain, told.new)
        ]
        ordered, reason = ranking.order(each)
        there = {*groups}
        is_absent = [name not in there for name in names]
        whys = [
            "not in the records: check its table"
            if absent
            else ("suspected labels", "unsure answers", "unlike what was learnt", "")[why]
            for absent, why in zip(is_absent, reason.tolist(), strict=True)
        ]
        first = sorted(ordered.tolist(), key=lambda i: not is_absent[i])
        return [(i, whys[i]) for i in first]

    def _strip(self, number: int) -> Strip:
        if not 0 <= number < len(self._sources):
            raise UserError(f"There is no file {number}. Load the page again.")
        with self._lock:  # two pages would look at the same file twice
            if number not in self._looked:
                source = self._sources[number]
                seen = self._whole_file.infer(source, self._classify, self._options)
                said = self._whole_file.predict(seen, self._thresholds)
                row = self._rows.get(source.name)
                self._looked[number] = self._review.strip(source, seen, said, row)
                if len(self._looked) > KEPT:
                    self._looked.popitem(last=False)
            self._looked.move_to_end(number)
            return self._looked[number]

    def _spans(self, number: int, strip: Strip) -> list[Span]:
        name = self._sources[number].name
        own = [
            one for one in self.desk.known().current.values() if one.is_span and one.file == name
        ]
        return spans.review_spans(strip, own)

    @staticmethod
    def _whole(name: str, held: dict[tuple[str, str], Decision]) -> dict[str, str]:
        """Returns what holds of a file as a whole."""
        one = held.get((name, spans.WHOLE))
        return {"state": one.state if one else "predicted", "who": one.who if one else ""}

    @staticmethod
    def _inside(strip: Strip, depths_m: tuple[float, float]) -> tuple[float, float]:
        """Returns depths in the file, to 0.01 mm; a UserError where they are no span of it."""
        top_m, bottom_m = (round(min(max(m, strip.top_m), strip.bottom_m), 5) for m in depths_m)
        if not bottom_m - top_m >= LEAST_M:
            raise UserError(
                f"A span from {top_m:.5f} to {bottom_m:.5f} m has no thickness within "
                f"{strip.top_m:.4f} to {strip.bottom_m:.4f} m. Draw it again."
            )
        return top_m, bottom_m


def _check_whole(action: str, inside: list[Span]) -> None:
    """Raises a UserError where a file cannot be said to hold nothing else."""
    choose(action, ("accept", "dubious"), noun="action on a whole photo")
    left = [one for one in inside if one.label and one.state != "validated"]
    if left and action == "accept":
        raise UserError(
            f"Still open or dubious in this photo: {len(left)}. Accept or delete each, then say "
            "that nothing else is here."
        )


def _unique(span: Span, known: dict[str, Span]) -> str:
    """Returns what a drawn span is known by, which no other in its file is."""
    name = what = spans.span_name("drawn", span.top_m, span.bottom_m)
    count = 1
    while what in known:
        count += 1
        what = f"{name} ({count})"
    return what


def _plain(span: Span) -> dict[str, Any]:
    """Returns a span as JSON can hold it."""
    told = span._asdict()
    return told | {"probability": None if math.isnan(span.probability) else span.probability}
