"""Model card: MODEL_CARD.md of a version, made of card.json alone.

Its headings are those of Mitchell et al. (2019), "Model Cards for Model Reporting",
doi:10.1145/3287560.3287596.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfpipe.base import files
from tfpipe.evaluation import version_comparison
from tfpipe.registry import store
from tfpipe.registry.card import AUTOENCODER, BOOSTED_TREES, CLASSIFIER, VersionCard

NOUNS = {
    CLASSIFIER: "classifier",
    AUTOENCODER: "autoencoder",
    BOOSTED_TREES: "model of boosted trees",
}
_MARKS = re.compile(r"([\\`*_\[\]<>#|~])")


def write(version: Path) -> Path:
    """Writes assets.extra/MODEL_CARD.md of a version, or of a draft, and returns its path."""
    path = version / "assets.extra" / "MODEL_CARD.md"
    files.replace(path, text(store.read_card(version)).encode("utf-8", "replace"))
    return path


def text(card: VersionCard) -> str:
    """Returns a card as Markdown; a card of an earlier release lacks some sections."""
    parts = [
        [f"# {_plain(card.task)}: {_plain(card.model)}, version {card.version}"],
        _headline(card),
        _section("Intended use", _use(card)),
        _section("Data", _data(card)),
        _section("Scores", _scores(card)),
        _section("Comparison with the previous version", _comparison(card)),
        _section("Leak check", _pairs(card.leak_check)),
        _section("Limits", [f"- {_plain(sentence)}" for sentence in card.limitations]),
        _section("How it was trained", _training(card)),
        _section("Made with", _environment(card)),
        _section("Files", _table(("file", "sha256"), card.sha256.items())),
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []


def _headline(card: VersionCard) -> list[str]:
    facts = [f"A {NOUNS[card.kind]} of {' and '.join(card.inputs)}"]
    facts += [f"{card.parameters:,} parameters"] if card.parameters else []
    facts += [f"{card.size_bytes / 1e6:.1f} MB"] if card.size_bytes else []
    facts += [f"made {card.date}"] if card.date else []
    lines = ["", f"{', '.join(facts)}."]
    if card.copied_from:
        lines += ["", f"A copy of version {card.copied_from}: the task was rolled back to it."]
    elif card.initialized_from:
        lines += ["", f"It went on from the weights of version {card.initialized_from}."]
    return lines


def _use(card: VersionCard) -> list[str]:
    use = card.intended_use
    if not use:
        return []
    classes = ", ".join(_plain(name) for name in use["classes"])
    return [
        f"- Question: {_plain(use['question'])}",
        f"- Input: {_plain(use['input'])}",
        f"- Classes: {classes}",
        f"- {_plain(use['note'])}",
    ]


def _data(card: VersionCard) -> list[str]:
    data = card.data
    if not data.counts:
        return []
    classes = list(dict.fromkeys(name for split in data.counts.values() for name in split))
    rows = [
        (split, data.groups.get(split), *(counts.get(name, 0) for name in classes))
        for split, counts in data.counts.items()
    ]
    where = f"groups.csv has every group and its images. Fingerprint: `{data.fingerprint}`."
    return [*_table(("split", "groups", *classes), rows), "", where]


def _scores(card: VersionCard) -> list[str]:
    splits = card.metrics
    names = list(dict.fromkeys(name for metrics in splits.values() for name in metrics))
    if not names:
        return []
    rows = [
        (name, *(metrics.get(name) for metrics in splits.values()), _interval(card, name))
        for name in names
    ]
    lines = [
        *_table(("metric", *splits, "95 % interval"), rows),
        "",
        "Intervals are of the test split, for new groups: each group is left out in turn.",
    ]
    by_class = card.class_metrics.get("test", {})
    if by_class and "precision" in next(iter(by_class.values())):
        columns = ("precision", "recall", "f1", "support")
        classes = [
            (name, *(metrics.get(n) for n in columns), _interval(card, f"recall of {name}"))
            for name, metrics in by_class.items()
        ]
        headings = ("class (test)", *columns, "95 % interval of the recall")
        lines += ["", *_table(headings, classes)]
    thresholds = {f"threshold {name}": value for name, value in card.thresholds.items()}
    return [*lines, "", *_pairs(thresholds)]


def _interval(card: VersionCard, name: str) -> str:
    two = card.confidence_intervals.get(name)
    return f"{two[0]:.4g} to {two[1]:.4g}" if two else ""


def _comparison(card: VersionCard) -> list[str]:
    comparison = card.comparison
    if not comparison:
        return []
    forced = "It was published although it is worse." if comparison.get("forced") else ""
    lines = [
        f"The previous version is {comparison['with']}.",
        *version_comparison.in_words(comparison),
        forced,
    ]
    return [f"- {_plain(line)}" for line in lines if line]


def _training(card: VersionCard) -> list[str]:
    kinds = {
        "hyperparameters": card.hyperparameters,
        "training": card.training,
        "task options": card.options,
    }
    rows = [(kind, name, value) for kind, values in kinds.items() for name, value in values.items()]
    return _table(("", "name", "value"), rows) if rows else []


def _environment(card: VersionCard) -> list[str]:
    values = {**card.hardware, **card.packages}
    if card.python:
        values["python"] = card.python
    speed = card.speed
    if speed:
        values["one image"] = f"{speed['one_ms']:.3g} ms"
        values[f"a batch of {speed['batch']}"] = f"{speed['batch_ms']:.3g} ms"
    return _pairs(values)


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [
        f"- {_plain(name.replace('_', ' '))}: {_plain(value)}" for name, value in values.items()
    ]


def _table(headings: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    lines = [[_plain(heading) for heading in headings]]
    lines += [["---"] * len(lines[0]), *([_plain(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _plain(value: Any) -> str:
    """Returns a value as text that Markdown shows as it is: a class may be called `<b>`."""
    if value is None:
        return "not defined"
    plain = f"{value:.4g}" if isinstance(value, float) else str(value)
    return _MARKS.sub(r"\\\1", " ".join(plain.split()))
