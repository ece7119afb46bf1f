"""Pages of the server: the front page that predicts dropped images, and the API's description."""

import json
from typing import Any

from tfpipe.base import html

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'"
)
STYLES = (html.STYLE, "serving/http/assets/front.css")
SCRIPT = "serving/http/assets/front.js"


def front(names: list[str], *, has_token: bool) -> str:
    """Returns the page that predicts the images which are dropped on it.

    Args:
      names: names of the models.
      has_token: whether the server requires a bearer token.
    """
    return html.page(
        "serving/http/templates/front.html",
        title="tfpipe",
        styles=STYLES,
        scripts=[html.asset(SCRIPT)],
        policy=POLICY,
        models=names,
        has_token=has_token,
    )


def docs(api: dict[str, Any], *, base: str) -> str:
    """Returns the page that describes the API.

    Args:
      api: the OpenAPI document.
      base: the server's address, for examples.
    """
    requests, examples = [], []
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            requests.append([f"{method.upper()} {path}", operation["summary"]])
            if method == "post" and "/versions/" not in path and "/labels/" not in path:
                examples.append((operation["summary"], _curl(path, operation, base=base)))
    predict = next(methods for path, methods in api["paths"].items() if ":predict" in path)
    errors = [
        [status, response["description"]]
        for status, response in predict["post"]["responses"].items()
        if status >= "400"
    ]
    return html.page(
        "serving/http/templates/docs.html",
        title="tfpipe: API for programs",
        styles=STYLES,
        policy=POLICY,
        requests=requests,
        examples=examples,
        errors=errors,
    )


def _curl(path: str, operation: dict[str, Any], *, base: str) -> str:
    """Returns a shell command that sends the example of an operation."""
    example = json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
    return f"curl -d '{example}' {base}{path.replace('{name}', 'NAME')}"
