"""The report of a version: one page of HTML with what is known of its model and of its data."""

from pathlib import Path

from tfpipe import facts, files, gallery, page, sections
from tfpipe.facts import Facts
from tfpipe.page import Html, joined, tag


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
    known = facts.read(version, records)
    named = (
        ("What a random split would have claimed", sections.random_split),
        ("Data", sections.data),
        ("Alignment of the labels", sections.alignment),
        ("Training", sections.training),
        (f"Scores of single {known.window}s", sections.curves),
        ("Scores of whole layers", sections.layers),
        (f"Mistakes by what the {known.window} shows", gallery.by_kind),
        (f"The most wrong {known.window}s", gallery.gallery),
        ("Search", sections.search),
        ("Card", sections.card),
    )
    parts = [(title, content) for title, part in named if (content := part(known)) is not None]
    title = f"{known.card['task']}: {known.card['model']}"
    text = page.document(title, _headline(known, title=title), parts)
    path = version / "assets.extra" / "report.html"
    files.replace(path, text.encode("utf-8", "replace"))
    return path


def _headline(known: Facts, *, title: str) -> Html:
    card, scores = known.card, known.card["scores"]["test"]
    number = f"Version {card['version']}, "
    if "layer_f1" in scores:
        rest = ("layer_f1", "layer_precision", "layer_recall", "layer_depth_error_mm")
    else:
        rest = ("f1", "precision", "recall")
    first = f"Average precision of {known.window}s"
    named = [(first, sections.score("average_precision", scores))]
    named += [
        (sections.METRICS[name][0], sections.score(name, scores)) for name in rest if name in scores
    ]
    if len(card["classes"]) == 2:
        named.append(("Threshold, chosen on validation", page.number(known.threshold)))
    about = f"{number}{card['parameters']:,} parameters, classes {' and '.join(card['classes'])}."
    return joined(
        tag("h1", title),
        tag("p", f"{about} All scores here are of the test split.", class_="soft"),
        tag("p", _in_plain_words(known), class_="lead"),
        page.tiles(named),
        tag("p", _how_sure(known), class_="soft"),
    )


def _in_plain_words(known: Facts) -> str:
    scores, judged = known.card["scores"]["test"], known.test
    photos = judged.frame[known.photo].nunique()
    told = f"On {photos:,} {known.photo}{'s' * (photos != 1)} it had never seen,"
    if scores.get("layers_tabled") is not None:
        return f"{told} {_layers_in_words(scores)}"
    if len(judged.classes) != 2:
        right = int((judged.said == judged.labels).sum())
        return f"{told} it named {right:,} of {len(judged.labels):,} {known.window}s rightly."
    name, holding = judged.classes[1], judged.labels == 1
    found, false = int(judged.said[holding].sum()), int(judged.said[~holding].sum())
    return (
        f"{told} it found {found:,} of the {holding.sum():,} {known.window}s of class {name}, and "
        f"took {false:,} of the {(~holding).sum():,} others for it."
    )


def _how_sure(known: Facts) -> str:
    if known.spread is None:
        return f"The test {known.photo}s cannot tell how far others would move these scores."
    low, high = known.spread
    return (
        f"With other {known.photo}s, as many and of the same kind, average precision would likely "
        f"lie between {low:.2f} and {high:.2f} (95 % of {facts.DRAWS} draws of {known.photo}s)."
    )


def _layers_in_words(scores: dict) -> str:
    tabled, found = scores["layers_tabled"], scores["layers_found"]
    hits = round(tabled * scores["layer_recall"]) if tabled else 0
    error = scores["layer_depth_error_mm"]
    where = f", half of them within {error:.1f} mm of their depth" if hits else ""
    return (
        f"it found {hits:,} of the {tabled:,} layers in the table{where}; it also reported "
        f"{found - hits:,} where the table has none."
    )
