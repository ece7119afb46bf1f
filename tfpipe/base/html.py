"""HTML pages: Jinja2 templates, packaged scripts and styles, and the parts that pages share.

A page is one file that needs no network. Whatever is not markup is escaped by Jinja2.
"""

import base64
import functools
import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tfpipe.base import files

PACKAGE = Path(__file__).parents[1]  # templates and assets are named by their path in it
PARTS = "base/templates/parts.html"
STYLE = "base/assets/style.css"

# Nothing is fetched or run, even if a value were not escaped.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Number(Markup):
    """A formatted number. It is aligned right in a table."""


def page(
    template: str,
    *,
    title: str,
    styles: Sequence[str] = (STYLE,),
    scripts: Sequence[str] = (),
    data: Any = None,
    policy: str = POLICY,
    may_compile: bool = False,
    **context: Any,
) -> str:
    """Returns a whole page.

    Args:
      template: path of a template in the package that extends base/templates/page.html.
      title: title of the page.
      styles: paths of style sheets in the package.
      scripts: texts of scripts, see `asset` and `plotly_script`. No other script can run.
      data: what the scripts read as JSON from the element "page-data"; None for nothing.
      policy: Content-Security-Policy without its script-src.
      may_compile: whether the scripts may make functions from text.
      **context: what the template uses besides.
    """
    return str(
        render(
            template,
            title=title,
            styles=[Markup(asset(path)) for path in styles],
            scripts=[Markup(script) for script in scripts],
            data=data,
            policy=security_policy(scripts, policy=policy, may_compile=may_compile),
            **context,
        )
    )


def document(
    title: str, lead: Markup, sections: Sequence[tuple[str, Markup]], *, is_folded: bool = False
) -> str:
    """Returns a page of sections with a table of contents.

    Args:
      title: title of the page.
      lead: what comes before the sections.
      sections: (heading, content) of each.
      is_folded: whether a section shows its content only when its heading is clicked, or printed.
    """
    template = "base/templates/document.html"
    return page(template, title=title, lead=lead, sections=sections, is_folded=is_folded)


def render(template: str, **context: Any) -> Markup:
    """Returns a template of the package, filled in. A name that is missing is an error."""
    return Markup(_environment().get_template(template).render(context))


@functools.cache
def asset(path: str) -> str:
    """Returns the text of a script or style sheet of the package.

    Args:
      path: such as "explore/assets/map.js".
    """
    return (PACKAGE / path).read_text(encoding="utf-8")


def plotly_script() -> str:
    """Returns plotly.js, for pages with figures that readers can zoom and turn."""
    from plotly.offline import get_plotlyjs  # 5 MB: only such pages need it

    return get_plotlyjs()


def security_policy(
    scripts: Sequence[str], *, policy: str = POLICY, may_compile: bool = False
) -> Markup:
    """Returns the Content-Security-Policy of a page: only these scripts run.

    Args:
      scripts: texts of the page's scripts, of which the hashes are computed.
      policy: the policy without its script-src.
      may_compile: whether the scripts may make functions from text.
    """
    if not scripts:
        return Markup(policy)
    sources = [f"'sha256-{_sha256(script)}'" for script in scripts]
    if may_compile:
        sources.append("'unsafe-eval'")
    return Markup(f"{policy}; script-src {' '.join(sources)}")


def data_uri(data: bytes, *, kind: str) -> str:
    """Returns bytes as an address that contains them; `kind` is such as "image/png"."""
    return f"data:{kind};base64,{base64_text(data)}"


def base64_text(data: bytes) -> str:
    """Returns bytes as base64, for addresses and for JSON."""
    return base64.b64encode(data).decode()


def escaped(content: Any) -> Markup:
    """Returns markup unchanged, and anything else as text of HTML."""
    return content if isinstance(content, Markup) else Markup.escape(_printable(content))


def joined(*parts: Any) -> Markup:
    """Returns parts one after the other. None is left out."""
    return Markup("").join(escaped(part) for part in parts if part is not None)


def paragraph(*content: Any, style: str | None = None) -> Markup:
    """Returns a paragraph; `style` is "lead", "soft" or None."""
    return _parts().paragraph(joined(*content), style)


def title(text: str) -> Markup:
    """Returns the heading of a page."""
    return _parts().title(text)


def heading(text: str) -> Markup:
    """Returns a heading within a section."""
    return _parts().heading(text)


def bullets(items: Iterable[Any]) -> Markup:
    """Returns a bulleted list."""
    return _parts().bullets(list(items))


def code(text: str) -> Markup:
    """Returns text in a typewriter's font."""
    return _parts().code(text)


def number(value: Any, *, digits: int = 3, why: str = "not measured") -> Number:
    """Returns a formatted number. A missing or infinite one is a dash and the reason `why`."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return Number(_parts().missing(why))
    if isinstance(value, int):
        return Number(f"{value:,}")
    return Number(f"{value:.{digits}f}")


def table(headings: Sequence[Any], rows: Iterable[Sequence[Any]], *, caption: str = "") -> Markup:
    """Returns a table whose first column names the rows. Columns of numbers are aligned right.

    Args:
      headings: one for each column.
      rows: cells; int and float are formatted, other values are text unless they are markup.
      caption: what the table shows, or "".
    """
    rows = [list(row) for row in rows]
    numeric = [
        bool(rows) and all(_is_number(row[i]) or row[i] is None for row in rows)
        for i in range(len(headings))
    ]
    cells = [[_cell(value) for value in row] for row in rows]
    return _parts().table(list(headings), cells, numeric, caption)


def bar(share: float) -> Markup:
    """Returns a horizontal bar, `share` (0..1) of the longest; a number may follow it."""
    return _parts().bar(round(70 * share, 1)) if share else Markup("")


def tiles(values: Iterable[tuple[str, Any]]) -> Markup:
    """Returns a page's few large numbers from (name, value)."""
    return _parts().tiles(list(values))


def plot(uri: str, *, caption: str) -> Markup:
    """Returns a figure with its caption, which is its alternative text, too."""
    return _parts().plot(uri, caption)


def plots(figures: Iterable[Any]) -> Markup:
    """Returns figures or tables beside each other where the page is wide enough."""
    return _parts().grid(list(figures), "plots")


def blocks(tables: Iterable[Any]) -> Markup:
    """Returns narrow tables beside each other where the page is wide enough."""
    return _parts().grid(list(tables), "blocks")


def gallery(title: str, figures: Iterable[Any]) -> Markup:
    """Returns small images in rows under a title."""
    return _parts().gallery(title, list(figures))


def image(uri: str | None, *, lines: Sequence[Any]) -> Markup:
    """Returns an image of a gallery over its caption; without an image, the page says so.

    Args:
      uri: the image's address, see `data_uri`, or None.
      lines: the caption.
    """
    return _parts().image(uri, list(lines))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {}  # keep the order of keys
    return environment


def _parts() -> Any:
    """Returns the macros of parts.html."""
    return _environment().get_template(PARTS).module


def _printable(value: Any) -> Any:
    """Returns markup unchanged, and any other value as valid text."""
    return value if isinstance(value, Markup) else files.shown(str(value))


def _sha256(script: str) -> str:
    return base64_text(hashlib.sha256(script.encode()).digest())


def _cell(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return value
    return number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Number) and not isinstance(value, bool)
