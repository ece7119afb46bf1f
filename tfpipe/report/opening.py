"""Opening of a report: what the model finds, how sure it is, and where it fails.

Each is a sentence in plain words and a picture of test examples or a figure.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from tfpipe.base import html, images
from tfpipe.evaluation import group_scores, metric_names
from tfpipe.evaluation import ordinal as evaluation_ordinal
from tfpipe.report import gallery, opening_figures
from tfpipe.report.opening_figures import Tile
from tfpipe.report.report_data import ReportData, TestPredictions

FINDS, SURE, FAILS = "What it finds", "How sure it is", "Where it fails"
MAX_TILES = 6
SURE_FROM = 0.9  # probability of what counts as sure in the sentence
MIN_SURE = 10  # examples that a share in the sentence is of
MIN_CLASS = 5  # test examples of a class that may be named as the worst
MAX_WINDOWS = 400  # of the core that is shown


class Panel(NamedTuple):
    """A sentence and its picture.

    Attributes:
      title: one of `FINDS`, `SURE`, `FAILS`.
      sentence: in plain words.
      picture: a figure with its caption.
    """

    title: str
    sentence: str
    picture: Markup


class _Choice(NamedTuple):
    """Test examples that a picture shows.

    Attributes:
      rows: row numbers of the test split.
      caption: below the picture.
    """

    rows: list[int]
    caption: str


def panels(data: ReportData, *, summary: str) -> list[Panel]:
    """Returns the three panels of a classifier's report.

    Args:
      data: of the report.
      summary: the result on the test split, a sentence.
    """
    is_core = "depth_top_m" in data.test.frame and len(data.test.classes) == 2
    found = _core_choice(data) if is_core else _typical(data)
    failed = _failed(data)
    keys = data.test.frame["key"]
    shown_keys = {keys.iloc[row] for row in (*found.rows, *failed.rows)}
    arrays = gallery.pixels(data.records, shown_keys, manifest=data.manifest)
    picture = _core(data, found, arrays) if is_core else _montage(data.test, found, arrays)
    return [
        Panel(FINDS, summary, picture),
        Panel(SURE, f"{_share_right(data)} {expected_score(data)}", _certainty(data)),
        Panel(FAILS, _failures(data), _montage(data.test, failed, arrays)),
    ]


def expected_score(data: ReportData) -> str:
    """Returns the sentence of what to expect of the main metric for new groups."""
    noun = data.group_column
    if data.interval is None:
        return f"The test {noun}s are too few, or too alike, for an interval."
    digits = 5 if data.is_autoencoder else 2
    low, high = (f"{value:.{digits}f}" for value in data.interval)
    metric = metric_names.title_of(data.main_metric)
    if metric[1:2].islower():  # "F1" stays
        metric = metric[0].lower() + metric[1:]
    article = "an" if metric.startswith((*"aeio", "F1")) else "a"
    return f"For other new {noun}s, expect {article} {metric} from {low} to {high} (95 % interval)."


def figure(uri: str, *, caption: str) -> Markup:
    """Returns a panel's picture with its caption; without examples, the caption says so."""
    return html.plot(uri, caption=caption)


def _share_right(data: ReportData) -> str:
    """Returns the sentence of how often a confident answer is right."""
    test, noun = data.test, data.example_noun
    if len(test.classes) == 2:
        reported, name = test.predicted == 1, test.classes[1]
        right = int((reported & test.is_right).sum())
        return f"Of {reported.sum():,} {noun}s that it reports as {name}, {right:,} are."
    ordered = np.sort(test.confidence)
    is_enough = (ordered >= SURE_FROM).sum() >= MIN_SURE
    least = SURE_FROM if is_enough else float(ordered[len(ordered) // 2])
    inside = test.confidence >= least
    return (
        f"Where its answer has a probability of {100 * least:.0f} % or more, it is right for "
        f"{test.is_right[inside].sum():,} of {inside.sum():,} {noun}s."
    )


def _certainty(data: ReportData) -> Markup:
    test, noun = data.test, data.example_noun
    if unit := data.card.ordinal_target:
        values = evaluation_ordinal.values_of(test.classes)[test.labels]
        expected = evaluation_ordinal.expected(test.probabilities, classes=test.classes)
        uri = opening_figures.ordinal(values, expected, unit=unit)
        caption = (
            f"True and predicted {unit} of the test {noun}s: the dot is the middle prediction, "
            "nine of ten lie on the line. On the dashed line, a prediction is exactly right."
        )
        return figure(uri, caption=caption)
    if len(test.classes) == 2:
        name = test.classes[1]
        probability, is_so = test.probabilities[:, 1], test.labels == 1
        uri = opening_figures.reliability(probability, is_so, of=name, is_even=True)
        which = f"The test {noun}s by their probability of {name}."
    else:
        uri = opening_figures.reliability(test.confidence, test.is_right, of="its answer")
        which = f"The test {noun}s by the probability of its answer, equally many in each dot."
    caption = (
        f"{which} On the dashed line, it is right as often as it says; below the line, it is too "
        "sure. The vertical lines are 95 % intervals."
    )
    return figure(uri, caption=caption)


def _typical(data: ReportData) -> _Choice:
    """Returns test examples that were classified rightly, of the commonest predicted classes."""
    test = data.test
    counts = np.bincount(test.predicted[test.is_right], minlength=len(test.classes))
    ranked = [label for label in np.argsort(-counts, kind="stable").tolist() if counts[label]]
    each = max(1, MAX_TILES // max(1, len(ranked)))
    rows: list[int] = []
    for label in sorted(ranked[:MAX_TILES]):
        inside = test.is_right & (test.predicted == label)
        middle = np.median(test.confidence[inside])
        order = np.where(inside, np.abs(test.confidence - middle), np.inf)
        rows += gallery.select(test.frame, order, limit=each)
    caption = (
        f"Typical test {data.example_noun}s that it classified rightly, with the probability of "
        "the class."
    )
    return _Choice(rows, caption)


def _core_choice(data: ReportData) -> _Choice:
    """Returns the windows of the test photo whose score is the middle one."""
    test, noun = data.test, data.group_column
    names = test.frame[noun].to_numpy(str)
    table = group_scores.by_group(test.labels, test.predicted, names, classes=2)
    scored = table[table["score"].notna()]
    name = scored["group"].iloc[len(scored) // 2] if len(scored) else names[0]
    rows = np.flatnonzero(names == name)
    rows = rows[np.argsort(test.frame["depth_top_m"].to_numpy()[rows], kind="stable")]
    caption = (
        f"{name}, the middle one of the test {noun}s by its score. Beside the ice is the "
        f"probability of {test.classes[1]} at each depth; shaded is what the table has there."
    )
    return _Choice(rows[:MAX_WINDOWS].tolist(), caption)


def _core(data: ReportData, choice: _Choice, arrays: dict[str, np.ndarray]) -> Markup:
    test = data.test
    frame = test.frame.iloc[choice.rows]
    windows = [
        None if key not in arrays else images.to_display(arrays[key]) for key in frame["key"]
    ]
    uri = opening_figures.core(
        windows,
        frame[["depth_top_m", "depth_bottom_m"]].to_numpy(float),
        test.probabilities[choice.rows, 1],
        test.labels[choice.rows] == 1,
        threshold=data.threshold,
        name=test.classes[1],
    )
    return figure(uri, caption=choice.caption)


def _failed(data: ReportData) -> _Choice:
    """Returns the most confident mistakes: of the worst class, or of each kind for two classes."""
    test, noun = data.test, data.example_noun
    wrong = ~test.is_right
    if not wrong.any():
        rows = gallery.select(test.frame, test.confidence, limit=MAX_TILES)
        return _Choice(rows, f"The test {noun}s that it was least sure of; all are right.")
    order = np.where(wrong, -test.confidence, np.inf)
    label = _worst_class(test)
    if len(test.classes) == 2:
        rows = []
        for label in (0, 1):
            order_of_kind = np.where(test.labels == label, order, np.inf)
            rows += gallery.select(test.frame, order_of_kind, limit=MAX_TILES // 2)
    elif label is not None:
        order = np.where(test.labels == label, order, np.inf)
        rows = gallery.select(test.frame, order, limit=MAX_TILES)
    else:
        rows = gallery.select(test.frame, order, limit=MAX_TILES)
    caption = (
        f"The mistakes it was surest of. Below each {noun}: what it is, and as what it was taken."
    )
    return _Choice(rows, caption)


def _worst_class(test: TestPredictions) -> int | None:
    """Returns the class of the lowest recall; None where each is without mistakes or too small."""
    counts = np.bincount(test.labels, minlength=len(test.classes))
    right = np.bincount(test.labels[test.is_right], minlength=len(test.classes))
    recall = np.where(counts >= MIN_CLASS, right / np.maximum(counts, 1), np.inf)
    label = int(recall.argmin())
    return label if recall[label] < 1 else None


def _failures(data: ReportData) -> str:
    """Returns the sentence of what the model takes for what, and of the worst group."""
    test, noun = data.test, data.example_noun
    if test.is_right.all():
        return f"It made no mistake on the {len(test.labels):,} test {noun}s."
    return " ".join(filter(None, (_mistakes(test, noun), _worst_group(data))))


def _mistakes(test: TestPredictions, noun: str) -> str:
    if len(test.classes) == 2:
        is_positive, name = test.labels == 1, test.classes[1]
        missed = int((is_positive & ~test.is_right).sum())
        false = int((~is_positive & ~test.is_right).sum())
        return (
            f"It missed {missed:,} of {is_positive.sum():,} {noun}s of class {name}, and took "
            f"{false:,} of {(~is_positive).sum():,} others for it."
        )
    label = _worst_class(test)
    if label is None:
        return f"It took {(~test.is_right).sum():,} {noun}s for another class."
    inside = test.labels == label
    counts = np.bincount(test.predicted[inside & ~test.is_right], minlength=len(test.classes))
    other = int(counts.argmax())
    return (
        f"It is weakest at class {test.classes[label]}: it recognised "
        f"{test.is_right[inside].sum():,} of {inside.sum():,} {noun}s, and took {counts[other]:,} "
        f"for {test.classes[other]}."
    )


def _worst_group(data: ReportData) -> str:
    """Returns the sentence of the group with the lowest score; "" where there are too few."""
    test, noun = data.test, data.group_column
    groups = test.frame[noun].to_numpy(str)
    table = group_scores.by_group(test.labels, test.predicted, groups, classes=len(test.classes))
    spread = group_scores.spread(table)
    if spread is None:
        return ""
    metric = "F1" if len(test.classes) == 2 else "accuracy"
    return (
        f"The worst {noun} is {spread.worst}, with an {metric} of {spread.lowest:.2f}; the mean of "
        f"the {noun}s is {spread.mean:.2f}."
    )


def _montage(test: TestPredictions, choice: _Choice, arrays: dict[str, np.ndarray]) -> Markup:
    keys = test.frame["key"]
    tiles = [
        Tile(
            images.to_display(arrays[keys.iloc[row]]),
            _answer(test, row),
            is_right=bool(test.is_right[row]),
        )
        for row in choice.rows
        if keys.iloc[row] in arrays
    ]
    return tiled(tiles, caption=choice.caption)


def tiled(tiles: Sequence[Tile], *, caption: str) -> Markup:
    """Returns a picture of test examples; without any, a sentence says so."""
    if not tiles:
        return html.paragraph("The images are not in the records.", style="soft")
    return figure(opening_figures.montage(tiles), caption=caption)


def _answer(test: TestPredictions, row: int) -> tuple[str, ...]:
    """Returns the lines below an example."""
    predicted = test.classes[test.predicted[row]]
    probability = f"{100 * test.confidence[row]:.0f} %"
    if test.is_right[row]:
        return (f"{predicted}, {probability}",)
    return (f"is {test.classes[test.labels[row]]}", f"as {predicted}, {probability}")


def of(items: Iterable[Panel]) -> Markup:
    """Returns the panels as they stand at the head of a report."""
    return html.render("report/templates/opening.html", panels=list(items))
