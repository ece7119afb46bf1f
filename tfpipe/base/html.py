"""Fragments of a page of HTML: whatever is not yet markup is escaped, once, here."""

import base64
import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from tfpipe.base import files

# Nothing may be fetched or run, even if an escape were forgotten.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

LOOKS = """
:root { --ink: #1d2a33; --soft: #5c6b75; --line: #dde4e8; --pale: #f4f7f8; --first: #2f6690 }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1.1rem 4rem; color: var(--ink);
  background: #fff; 
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .3rem }
h2 { font-size: 1.25rem; margin: 2.8rem 0 .6rem; padding-top: 1rem;
  border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem }
p { max-width: 46rem; margin: .5rem 0 } ul { max-width: 46rem; padding-left: 1.2rem }
a { color: var(--first) } .soft, figcaption { color: var(--soft) } .lead { font-size: 1.1rem }
nav { font-size: .9rem; margin: 1rem 0 } nav a { margin-right: 1rem; white-space: nowrap }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .92rem; margin: .6rem 0 }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { padding: .32rem 1.3rem .32rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: anywhere } thead th { color: var(--soft); font-weight: 600;
  overflow-wrap: break-word; vertical-align: bottom }
tbody th { font-weight: 500 } td, .tile b { font-variant-numeric: tabular-nums }
td.number, th.number { text-align: right; overflow-wrap: normal }
.tiles { display: grid; gap: .7rem; margin: 1.1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(9.2rem, 1fr)) }
.tile { background: var(--pale); border-radius: .5rem; padding: .7rem .9rem }
.tile b { display: block; font-size: 1.55rem; line-height: 1.3; font-weight: 600 }
.tile span { font-size: .85rem; color: var(--soft) }
.plots { display: grid; gap: 1.2rem 2rem; margin: 1.2rem 0; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)) }
.plots > div { min-width: 0 }
figure { margin: 0; min-width: 0 } figure.plot img { width: 100%; max-width: 34rem; height: auto }
figcaption { font-size: .85rem; line-height: 1.4; overflow-wrap: anywhere }
.gallery { display: grid; gap: 1rem .9rem; margin: .6rem 0 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(14rem, 100%), 1fr)) }
.gallery img { width: 100%; display: block; margin-bottom: .3rem; border-radius: .25rem; background: var(--pale) }
.bar { display: inline-block; height: .7rem; background: var(--first); border-radius: 2px;
  min-width: 2px } td.bars { min-width: 8.5rem }
.blocks { display: grid; gap: 0 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)) }
@media print { body { max-width: none; padding: 0; font-size: 10pt } nav { display: none }
  figure, tr, .tiles, .tile { break-inside: avoid } h2, h3, caption { break-after: avoid }
  .tile, .bar { print-color-adjust: exact } .gallery { grid-template-columns: repeat(4, 1fr) } }
"""


class Html(str):
    """Markup, as opposed to text that has yet to be escaped."""


class Number(Html):
    """A number as it is shown, which stands to the right in a table."""


def escaped(content: Any) -> Html:
    """Returns markup as it is, and anything else as text."""
    if isinstance(content, Html):
        return content
    return Html(html.escape(files.shown(str(content))))


def tag(name: str, *content: Any, **attributes: Any) -> Html:
    """Returns an element; `class_` stands for the attribute `class`, and None leaves one out."""
    told = "".join(
        f' {key.rstrip("_")}="{html.escape(files.shown(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name == "img":
        return Html(f"<{name}{told}>")
    return Html(f"<{name}{told}>{''.join(map(escaped, content))}</{name}>\n")


def joined(*parts: Any) -> Html:
    """Returns fragments one after the other; None is left out."""
    return Html("".join(escaped(part) for part in parts if part is not None))


def data_uri(data: bytes, *, kind: str) -> str:
    """Returns bytes as an address that holds them; `kind` is such as "image/png"."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def number(value: Any, *, digits: int = 3, why: str = "not measured") -> Number:
    """Returns a number as a reader wants it; for a missing one or nan, a dash and the reason."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return Number(f"\N{EM DASH} {tag('span', f'({why})', class_='soft')}")
    if isinstance(value, int):
        return Number(f"{value:,}")
    return Number(f"{value:.{digits}f}")


def table(headings: Sequence[Any], rows: Iterable[Sequence[Any]], *, caption: str = "") -> Html:
    """Returns a table whose first column names the rows; numbers stand to the right.

    Args:
      headings: one for each column.
      rows: cells; int and float are formatted, other values are text unless they are `Html`.
      caption: what the table shows, or "".
    """
    rows = [list(row) for row in rows]
    numeric = [
        bool(rows) and all(_is_number(row[i]) or row[i] is None for row in rows)
        for i in range(len(headings))
    ]

    def cell(i: int, value: Any) -> Html:
        shown = number(value) if isinstance(value, int | float | None) else value
        if i == 0:
            return tag("th", shown, scope="row", class_="number" if numeric[0] else None)
        has_bar = isinstance(value, Html) and 'class="bar"' in value
        return tag("td", shown, class_="number" if numeric[i] else "bars" if has_bar else None)

    head = [
        tag("th", heading, scope="col", class_="number" if numeric[i] else None)
        for i, heading in enumerate(headings)
    ]
    body = [tag("tr", *(cell(i, value) for i, value in enumerate(row))) for row in rows]
    title = tag("caption", caption) if caption else ""
    inside = tag("table", title, tag("thead", tag("tr", *head)), tag("tbody", *body))
    return tag("div", inside, class_="wide")


def bar(share: float) -> Html:
    """Returns a horizontal bar, `share` (0..1) of the longest; a number may follow it."""
    return tag("span", class_="bar", style=f"width: {70 * share:.1f}%") if share else Html()


def tiles(named: Iterable[tuple[str, Any]]) -> Html:
    """Returns the page's few large numbers, each over its name."""
    return tag(
        "div",
        *(tag("div", tag("b", value), tag("span", name), class_="tile") for name, value in named),
        class_="tiles",
    )


def plot(uri: str, *, says: str) -> Html:
    """Returns a figure with its caption, which is also what is read aloud for it."""
    return tag("figure", tag("img", src=uri, alt=says), tag("figcaption", says), class_="plot")


def document(
    title: str, lead: Html, sections: Sequence[tuple[str, Html]], *, policy: str = POLICY
) -> str:
    """Returns the whole page: a lead, a list of the sections, and the sections.

    Args:
      title: of the page.
      lead: what stands above all sections.
      sections: (heading, content) of each.
      policy: what the page may load and run, as a Content-Security-Policy.
    """
    anchors = [f"part-{i}" for i in range(1, len(sections) + 1)]
    links = [
        tag("a", name, href=f"#{anchor}")
        for anchor, (name, _) in zip(anchors, sections, strict=True)
    ]
    parts = [
        tag("section", tag("h2", name), content, id=anchor)
        for anchor, (name, content) in zip(anchors, sections, strict=True)
    ]
    head = Html(
        '<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"{tag('title', title)}<style>{LOOKS}</style></head>\n"
    )
    body = tag("body", tag("header", lead, tag("nav", *links)), tag("main", *parts))
    return f'<!doctype html>\n<html lang="en">\n{head}{body}</html>\n'


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Number) and not isinstance(value, bool)
