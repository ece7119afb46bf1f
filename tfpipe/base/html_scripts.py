"""Pages of HTML with figures that a reader can move in: their scripts, and that no others run."""

import base64
import hashlib
import json
from typing import Any

from plotly.offline import get_plotlyjs

from tfpipe.base import html
from tfpipe.base.html import Html


def scripts(told: Any, draw: str) -> list[Html]:
    """Returns plotly.js, and a script of its own for the page.

    Args:
      told: what `draw` finds as `told`; goes through JSON.
      draw: JavaScript.
    """
    text = json.dumps(told).replace("<", "\\u003c")  # no text can end the script
    return [Html(get_plotlyjs()), Html(f"const told = {text};\n{draw}")]


def policy(scripts: list[Html], *, may_compile: bool = False) -> str:
    """Returns a page's policy that lets these scripts run and nothing be fetched.

    Args:
      scripts: those in it.
      may_compile: whether they may make functions from text.
    """
    if not scripts:
        return html.POLICY
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    sources = [*(f"'sha256-{digest}'" for digest in digests), *["'unsafe-eval'"] * may_compile]
    return f"{html.POLICY}; script-src {' '.join(sources)}"
