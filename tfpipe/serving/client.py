"""HTTP client of the server: `tfpipe.Client("http://127.0.0.1:8501").predict(paths)`."""

import base64
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import requests

from tfpipe.base import files
from tfpipe.base.errors import UserError

BATCH_SIZE = 32  # images of one request


class Client:
    """Client of a server; it does not import TensorFlow."""

    def __init__(self, url: str, *, model: str = "", token: str = "", timeout_s: float = 60.0):
        """Prepares a session; the first request connects.

        Args:
          url: of the server.
          model: its name in URLs; "" if the server has only one.
          token: bearer token, if the server requires one.
          timeout_s: for an answer, including the time in which the server is busy.
        """
        self._url, self._model, self._timeout_s = url.rstrip("/"), model, timeout_s
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    @property
    def models(self) -> list[str]:
        """Names of the server's models in URLs."""
        return self._request("GET", "/v1/models")["models"]

    def predict(self, paths: Iterable[Path | str]) -> pd.DataFrame:
        """Returns a row for each image: file, label, abstain, novelty, p_<class>.

        Rows of an autoencoder have `error` instead of classes.

        Args:
          paths: PNG, JPEG, GIF or BMP files.

        Raises:
          UserError: a file cannot be read, or the server refuses or does not answer.
        """
        images, rows = [Path(path) for path in paths], []
        url_path = f"/v1/models/{self._model_name()}:explain"
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE]
            instances = [_encode(path) for path in batch]
            answer = self._request("POST", url_path, {"instances": instances})
            for path, explanation in zip(batch, answer["explanations"], strict=True):
                rows.append(_row(path, explanation))
        return pd.DataFrame(rows)

    def _model_name(self) -> str:
        if not self._model:
            names = self.models
            if len(names) != 1:
                raise UserError(
                    "The server has several models. Choose one with Client(url, model=...): "
                    f"{', '.join(names)}."
                )
            (self._model,) = names
        return self._model

    def _request(self, method: str, path: str, content: Any = None) -> dict[str, Any]:
        """Returns the server's answer; repeats the request while the server is busy."""
        end = time.monotonic() + self._timeout_s
        while True:
            try:
                response = self._session.request(
                    method, self._url + path, json=content, timeout=self._timeout_s
                )
                answer = response.json()
            except (requests.RequestException, ValueError) as error:
                raise UserError(f"{self._url} gives no answer: {error}") from error
            if response.ok:
                return answer
            wait_s = float(response.headers.get("Retry-After", 0))
            if not wait_s or time.monotonic() + wait_s > end:
                reason = answer.get("error", response.reason)
                raise UserError(f"{self._url} refuses the request: {reason}")
            time.sleep(wait_s)


def _encode(path: Path) -> dict[str, str]:
    data = files.contents(path, expected="an image (PNG, JPEG, GIF or BMP)")
    return {"b64": base64.b64encode(data).decode()}


def _row(path: Path, explanation: dict[str, Any]) -> dict[str, Any]:
    probabilities = explanation.pop("probabilities", {})
    columns = {f"p_{name}": probability for name, probability in probabilities.items()}
    return {"file": str(path), **explanation, **columns}
