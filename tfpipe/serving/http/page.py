"""Pages of the server: the front page that predicts dropped images, and the API's description."""

import json
from typing import Any

from tfpipe.base import html

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'"
)
STYLES = (html.STYLE, "serving/http/assets/front.css")
SCRIPTS = tuple(f"serving/http/assets/{name}.js" for name in ("explain", "analyze", "front"))


def front(models: dict[str, dict[str, Any]], *, has_token: bool) -> str:
    """Returns the page that predicts the images and raw files which are dropped on it.

    Args:
      models: name -> what the page must know of a model, see `analyze.describe`.
      has_token: whether the server requires a bearer token.
    """
    return html.page(
        "serving/http/templates/front.html",
        title="tfpipe",
        styles=STYLES,
        scripts=[html.asset(path) for path in SCRIPTS],
        data=models,
        policy=POLICY,
        models=list(models),
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
    url = f"{base}{path.replace('{name}', 'NAME')}"
    if "multipart/form-data" in operation["requestBody"]["content"]:
        return f"curl -F file=@core.png -F table=@photos.csv -H 'Accept: text/csv' {url}"
    example = json.dumps(operation["requestBody"]["content"]["application/json"]["example"])
    return f"curl -d '{example}' {url}"
