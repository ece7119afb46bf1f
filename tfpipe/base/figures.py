"""Style of all figures: colours, fonts, grid."""

from typing import Any

# Distinct for people who do not see red and green, and in a grey print.
COLOURS = ("#2f6690", "#e07a1f", "#3a9d78", "#8d5a97", "#c8ab1f", "#7a8790")


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
