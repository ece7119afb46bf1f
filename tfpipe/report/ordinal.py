"""What a report tells of classes that are numbers, and of pictures that are set apart."""

import numpy as np

from tfpipe.base import html
from tfpipe.base.html import Html, joined, tag
from tfpipe.evaluation import ordinal
from tfpipe.evaluation.metric_names import title_of
from tfpipe.report.facts import Facts
from tfpipe.report.sections import by_split

ERRORS = (
    "mean_absolute_error",
    "mean_absolute_error_of_expected",
    "mean_absolute_error_of_median",
    "mean_absolute_error_of_others",
)


def titled(known: Facts):
    """Returns (title, function of the facts) of each section, none for cards that tell nothing."""
    return (("Classes as numbers", _values), ("Pictures set apart", _apart))


def tile(known: Facts) -> list[tuple[str, Html]]:
    """Returns (name, value) of the mean absolute error, where there is one."""
    name = ERRORS[0]
    error = known.card["scores"]["test"].get(name)
    if error is None:
        return []
    return [(f"{title_of(name)}, in {known.card['quantity']}", html.number(error))]


def _values(known: Facts) -> Html | None:
    unit = known.card.get("quantity")
    if not unit:
        return None
    judged = known.test
    classes = judged.classes
    value = ordinal.expected(judged.probabilities, classes=classes)
    said = ordinal.values_of(classes)[judged.said]
    rows = []
    for label, name in enumerate(classes):
        own = judged.labels == label
        if own.any():
            error = np.abs(said[own] - float(name)).mean()
            numbers = (value[own].mean(), value[own].std(), error)
            rows.append((name, int(own.sum()), *map(html.number, numbers)))
    text = (
        f"The classes are values of {unit}, so a neighbour is a smaller mistake than a far one. "
        "What is expected is the mean of the values by the model's probabilities."
    )
    there = [name for name in ERRORS if name in known.card["scores"]["test"]]
    headings = (f"true {unit}", f"{known.window}s", "expected", "deviation", "mean absolute error")
    return joined(tag("p", text), by_split(known, there), html.table(headings, rows))


def _apart(known: Facts) -> Html | None:
    name = known.card.get("apart")
    if not name or f"examples_{name}" not in known.card["scores"]["test"]:
        return None
    scores = known.card["scores"]["test"]
    count, total = scores[f"examples_{name}"], scores["examples"]
    text = (
        f"{count:,} of the {total:,} test {known.window}s are marked {name.replace('_', ' ')}: "
        "they are alike whatever their class, so nobody can tell them apart, and the accuracy on "
        "them is luck and habit. The others show what the model can do."
    )
    metrics = [f"examples_{name}", f"accuracy_{name}", "accuracy_of_others"]
    metrics += [ERRORS[-1]] if ERRORS[-1] in scores else []
    return joined(tag("p", text), by_split(known, metrics))
