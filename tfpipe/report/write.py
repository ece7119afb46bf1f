"""Report of a version: writes one HTML page about its model and its data."""

from pathlib import Path
from typing import Protocol

from markupsafe import Markup

from tfpipe.base import files, html
from tfpipe.evaluation import group_intervals, metric_names
from tfpipe.report import autoencoder, classifier, opening, report_data, sections, trees
from tfpipe.report.opening import Panel
from tfpipe.report.report_data import ReportData
from tfpipe.report.sections import Section


class ReportKind(Protocol):
    """What a module reports of its kind of model."""

    def titled_sections(self, data: ReportData) -> tuple[Section, ...]:
        """Returns (title, function of the data) of each section."""

    def tiles(self, data: ReportData) -> list[tuple[str, Markup]]:
        """Returns (name, value) of the most important scores."""

    def panels(self, data: ReportData, *, summary: str) -> list[Panel]:
        """Returns what the model finds, how sure it is, and where it fails."""

    def summary(self, data: ReportData) -> str:
        """Returns the result on the test split, the end of a sentence."""


KINDS: dict[str, ReportKind] = {
    "autoencoder": autoencoder,
    "classifier": classifier,
    "boosted-trees": trees,
}
INPUTS = {"image": "images", "columns": "columns"}


def write(version: Path, records: Path) -> Path:
    """Writes a version's report, assets.extra/report.html: one file that needs no network.

    Args:
      version: folder with assets.extra/card.json and predictions.csv.
      records: folder of the records that it was trained on.

    Returns:
      The report's path.

    Raises:
      UserError: if a file that it needs is missing, or the folder cannot be written.
    """
    data = report_data.read(version, records)
    kind = KINDS[data.card.kind]
    titled_sections: tuple[Section, ...] = (
        ("Comparison with the previous version", sections.comparison),
        ("Score of a random split", sections.random_split),
        ("Data", sections.counts),
        ("Alignment of the labels", sections.alignment),
        ("Training", sections.training),
        *kind.titled_sections(data),
        ("Search", sections.search),
        ("Card", sections.card),
    )
    contents = [(title, section(data)) for title, section in titled_sections]
    title = f"{data.card.task}: {data.card.model}"
    text = html.document(
        title,
        _headline(data, kind, title=title),
        [(name, content) for name, content in contents if content is not None],
        is_folded=True,
    )
    path = version / "assets.extra" / "report.html"
    files.replace(path, text.encode("utf-8", "replace"))
    return path


def _headline(data: ReportData, kind: ReportKind, *, title: str) -> Markup:
    card, groups = data.card, data.scored[data.group_column].nunique()
    inputs = " and ".join(INPUTS[name] for name in card.inputs)
    model = f"a classifier of {inputs} into {', '.join(card.classes)}"
    if data.is_autoencoder:
        model = f"an autoencoder of {inputs}"
    about = f"Version {card.version}, {card.parameters:,} parameters: {model}."
    plural = "s" * (groups != 1)
    lead = f"On {groups:,} new {data.group_column}{plural}, {kind.summary(data)}"
    return html.joined(
        html.title(title),
        opening.of(kind.panels(data, summary=lead)),
        html.tiles(kind.tiles(data)),
        html.paragraph(f"{about} All scores here are of the test split.", style="soft"),
        html.paragraph(_interval(data), style="soft"),
    )


def _interval(data: ReportData) -> str:
    if data.interval is None:
        return (
            f"The test {data.group_column}s cannot tell how far other {data.group_column}s would "
            f"move these scores: there are fewer than {group_intervals.MIN_GROUPS}, or they score "
            "alike, or one of them alone has a class."
        )
    digits = 5 if data.is_autoencoder else 2
    low, high = (f"{value:.{digits}f}" for value in data.interval)
    metric = metric_names.title_of(data.main_metric)
    return (
        f"{metric}: {low} to {high} is the 95 % interval for new {data.group_column}s: each test "
        f"{data.group_column} is left out in turn."
    )
