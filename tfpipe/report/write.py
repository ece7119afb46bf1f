"""The report of a version: one page of HTML with what is known of its model and of its data."""

from pathlib import Path
from types import ModuleType

from tfpipe.base import files, html
from tfpipe.base.html import Html, joined, tag
from tfpipe.evaluation import metric_names
from tfpipe.report import autoencoder, classifier, report_data, sections, trees
from tfpipe.report.report_data import ReportData

KINDS = {
    "autoencoder": autoencoder,
    "classifier": classifier,
    "shallow": trees,
}


def write(version: Path, records: Path) -> Path:
    """Writes a version's report, assets.extra/report.html: one file that needs no network.

    Args:
      version: holds assets.extra/card.json and predictions.csv.
      records: the folder of records that it was trained on.

    Returns:
      The report's path.

    Raises:
      UserError: if a file it is made of is missing, or the folder cannot be written.
    """
    known = report_data.read(version, records)
    own = KINDS[known.card["kind"]]
    named = (
        ("Beside the version before", sections.compared),
        ("What a random split would have claimed", sections.random_split),
        ("Data", sections.data),
        ("Alignment of the labels", sections.alignment),
        ("Training", sections.training),
        *own.titled(known),
        ("Search", sections.search),
        ("Card", sections.card),
    )
    parts = [(title, content) for title, part in named if (content := part(known)) is not None]
    title = f"{known.card['task']}: {known.card['model']}"
    text = html.document(title, _headline(known, own, title=title), parts)
    path = version / "assets.extra" / "report.html"
    files.replace(path, text.encode("utf-8", "replace"))
    return path


def _headline(known: ReportData, own: ModuleType, *, title: str) -> Html:
    """Returns the head of the page; `own` tells what is particular to this kind of model."""
    card, photos = known.card, known.scored[known.photo].nunique()
    takes = " and ".join({"image": "pictures", "columns": "columns"}[i] for i in card["inputs"])
    kind = f"a classifier of {takes} into {', '.join(card['classes'])}"
    kind = f"an autoencoder of {takes}" if known.is_autoencoder else kind
    about = f"Version {card['version']}, {card['parameters']:,} parameters: {kind}."
    told = f"On {photos:,} {known.photo}{'s' * (photos != 1)} it had never seen, "
    return joined(
        tag("h1", title),
        tag("p", f"{about} All scores here are of the test split.", class_="soft"),
        tag("p", told + own.in_words(known), class_="lead"),
        html.tiles(own.tiles(known)),
        tag("p", _how_sure(known), class_="soft"),
    )


def _how_sure(known: ReportData) -> str:
    if known.spread is None:
        return f"The test {known.photo}s cannot tell how far others would move these scores."
    digits = 5 if known.is_autoencoder else 2
    low, high = (f"{value:.{digits}f}" for value in known.spread)
    return (
        f"With other {known.photo}s, as many and of the same kind, "
        f"{metric_names.title_of(known.first_metric).lower()} would likely lie between {low} and "
        f"{high} "
        f"(95 % of {report_data.DRAWS} draws of {known.photo}s)."
    )
