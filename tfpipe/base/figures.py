"""Figures: their style, and how they are drawn and written without matplotlib's global state."""

import io
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Okabe & Ito (2008): distinct for all kinds of colour blindness, also by simulation.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


INK, GRID = "#33424d", "#e3e9ec"


WIDTH_IN, HEIGHT_IN = 5.2, 3.5


STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a class may be called "$x"
    "svg.hashsalt": "tfpipe",  # the same numbers give the same bytes
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}


PNG_DPI = 130
_SVG_STYLE = '<style type="text/css">'
_SVG_COLOURS = (
    f"svg{{color: {INK}}}@media screen and (prefers-color-scheme: dark){{svg{{color: #d5dde2}}}}"
)


class StyledFigure(Figure):
    """A figure in the style of the package, of no window. Notebooks show it."""

    def draw(self, renderer: Any) -> None:
        """Draws the figure; what matplotlib makes only now, such as ticks, has the style too."""
        with matplotlib.rc_context(STYLE):
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        return png(self)


def styled(
    draw: Callable[[Figure], None], *, size: tuple[float, float] = (WIDTH_IN, HEIGHT_IN)
) -> StyledFigure:
    """Returns the figure that `draw` draws.

    Args:
      draw: draws on the figure that it is given.
      size: width and height in inches.
    """
    with matplotlib.rc_context(STYLE):
        figure = StyledFigure(figsize=size, layout="constrained")
        draw(figure)
    return figure


def svg(figure: Figure) -> bytes:
    """Returns a figure as an SVG, the same bytes for the same numbers."""
    return _encoded(
        figure, format="svg", metadata={"Date": None, "Creator": None}, transparent=True
    )


def for_pages(svg: bytes) -> bytes:
    """Returns an SVG by `svg` in the colour of a page's text, light where the page is dark."""
    text = svg.decode()
    text = text.replace(f"stroke: {GRID}", "stroke: currentColor; stroke-opacity: 0.14")
    text = text.replace(INK, "currentColor")
    return text.replace(_SVG_STYLE, _SVG_STYLE + _SVG_COLOURS, 1).encode()


def png(figure: Figure, *, dpi: int = PNG_DPI) -> bytes:
    """Returns a figure as a PNG of so many dots per inch, the same bytes for the same numbers."""
    return _encoded(figure, format="png", metadata={"Software": None}, dpi=dpi)


def _encoded(figure: Figure, **how: Any) -> bytes:
    file = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, **how)
    return file.getvalue()
