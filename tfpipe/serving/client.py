"""A server's answers as a table: `tfpipe.Client("http://127.0.0.1:8501").predict(paths)`."""

import base64
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import requests

from tfpipe.base import files
from tfpipe.base.errors import UserError

AT_ONCE = 32  # pictures of one request


class Client:
    """What a server can be asked from Python, without TensorFlow."""

    def __init__(self, url: str, *, model: str = "", token: str = "", patience_s: float = 60.0):
        """Finds out nothing yet.

        Args:
          url: of the server.
          model: as its URLs have it; "" for the only one it has.
          token: that it asks for, if it does.
          patience_s: how long an answer is waited for, busy times included.
        """
        self._url, self._model, self._patience_s = url.rstrip("/"), model, patience_s
        self._session = requests.Session()
        self._session.headers.update({"Authorization": f"Bearer {token}"} if token else {})

    @property
    def models(self) -> list[str]:
        """What the server's models are called."""
        return self._asked("GET", "/v1/models")["models"]

    def predict(self, paths: Iterable[Path | str]) -> pd.DataFrame:
        """Returns a row for each picture: file, label, unsure, novelty, p_<class>.

        An autoencoder's rows have `error` in place of classes.

        Args:
          paths: of PNG, JPEG, GIF or BMP files.

        Raises:
          UserError: a file cannot be read, or the server refuses or does not answer.
        """
        paths, rows = [Path(path) for path in paths], []
        where = f"/v1/models/{self._name()}:explain"
        for begin in range(0, len(paths), AT_ONCE):
            some = paths[begin : begin + AT_ONCE]
            encoded = [_encoded(path) for path in some]
            answers = self._asked("POST", where, {"instances": encoded})["explanations"]
            rows += [_row(path, told) for path, told in zip(some, answers, strict=True)]
        return pd.DataFrame(rows)

    def _name(self) -> str:
        if not self._model:
            there = self.models
            if len(there) != 1:
                raise UserError(f"Say which model, by Client(url, model=...): {', '.join(there)}.")
            (self._model,) = there
        return self._model

    def _asked(self, method: str, path: str, told: Any = None) -> dict[str, Any]:
        """Returns what the server answers; while it is busy it is asked again."""
        until = time.monotonic() + self._patience_s
        while True:
            try:
                answer = self._session.request(
                    method, self._url + path, json=told, timeout=self._patience_s
                )
                content = answer.json()
            except (requests.RequestException, ValueError) as error:
                raise UserError(f"{self._url} gives no answer: {error}") from error
            if answer.ok:
                return content
            wait_s = float(answer.headers.get("Retry-After", 0))
            if not wait_s or time.monotonic() + wait_s > until:
                raise UserError(f"{self._url} refuses: {content.get('error', answer.reason)}")
            time.sleep(wait_s)


def _encoded(path: Path) -> dict[str, str]:
    data = files.contents(path, expected="a picture (PNG, JPEG, GIF or BMP)")
    return {"b64": base64.b64encode(data).decode()}


def _row(path: Path, told: dict[str, Any]) -> dict[str, Any]:
    likely = told.pop("probabilities", {})
    return {"file": str(path), **told} | {f"p_{name}": share for name, share in likely.items()}
