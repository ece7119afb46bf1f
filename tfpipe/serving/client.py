"""HTTP client of the server: `tfpipe.Client("http://127.0.0.1:8501").analyze(paths)`."""

import base64
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import requests

from tfpipe.base import files
from tfpipe.base.errors import UserError

LOG = logging.getLogger(__name__)
BATCH_SIZE = 32  # images of one request
EVENTS = "text/event-stream"
MAX_UPLOAD_BYTES, MAX_FILES = 12_000_000, 400  # of one request of several paths


class Client:
    """Client of a server; it does not import TensorFlow."""

    def __init__(
        self, url: str, *, model: str = "", token: str | None = None, timeout_s: float = 60.0
    ):
        """Prepares a session; the first request connects.

        Args:
          url: of the server.
          model: its name in URLs; "" if the server has only one.
          token: bearer token, if the server requires one; None for that of TFPIPE_TOKEN.
          timeout_s: for an answer, including the time in which the server is busy.
        """
        self._url, self._model, self._timeout_s = url.rstrip("/"), model, timeout_s
        self._session = requests.Session()
        if token is None:
            token = os.environ.get("TFPIPE_TOKEN", "")
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    @property
    def models(self) -> list[str]:
        """Names of the server's models in URLs."""
        return self._request("GET", "/v1/models")["models"]

    def predict(self, paths: Iterable[Path | str]) -> pd.DataFrame:
        """Returns a row for each image: file, label, abstain, novelty, new, p_<class>.

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

    def analyze(
        self,
        paths: Iterable[Path | str] | Path | str,
        *,
        table: Path | str | None = None,
        inference_mode: str | None = None,
        min_precision: float = 0.9,
        conformal: float = 0.0,
        min_sharpness: float = 0.0,
        embedding: bool = False,
    ) -> pd.DataFrame:
        """Returns the rows that `Version.predict` gives for raw files, such as core photos.

        Args:
          paths: raw files, or folders of them; together they may be larger than one request.
          table: table that describes the files, such as photos.csv.
          inference_mode: how windows are slid; None for the version's own.
          min_precision: precision below which a class is not named (abstain).
          conformal: share of images whose set of classes may lack the true one; 0 for no sets.
          min_sharpness: images that are less sharp are marked as blurred and not counted.
          embedding: whether the table holds embeddings, too.

        Returns:
          The table, with the files that could not be read in `attrs["skipped"]` and the notes in
          `attrs["notes"]`.

        Raises:
          UserError: a file cannot be read, or the server refuses or does not answer.
        """
        roots = [Path(paths)] if isinstance(paths, Path | str) else [Path(path) for path in paths]
        url_path = f"/v1/models/{self._model_name()}:analyze"
        fields = {
            "inference_mode": inference_mode or "",
            "min_precision": str(min_precision),
            "conformal": str(conformal),
            "min_sharpness": str(min_sharpness),
            "embedding": str(embedding).lower(),
        }
        tables = []
        if table is not None:
            content = files.contents(Path(table), expected="a table of the files")
            tables = [("table", (Path(table).name, content))]
        frames = []
        skipped: dict[str, str] = {}
        notes: list[str] = []
        for batch in _uploads(roots):
            parts = [("file", part) for part in batch] + tables
            answer = self._analysis(url_path, fields, parts)
            frames.append(pd.DataFrame(answer["rows"], columns=answer["columns"]))
            skipped |= answer["skipped"]
            notes += answer["notes"]
        with_rows = [frame for frame in frames if len(frame)] or frames[:1]
        result = pd.concat(with_rows, ignore_index=True).infer_objects()
        result.attrs = {"skipped": skipped, "notes": list(dict.fromkeys(notes))}
        for name, reason in skipped.items():
            LOG.warning("%s was skipped: %s", name, reason)
        return result

    def _analysis(
        self,
        path: str,
        fields: dict[str, str],
        parts: list[tuple[str, tuple[str, bytes]]],
    ) -> dict[str, Any]:
        """Returns the answer of :analyze, which reports its progress until then."""
        response = self._send(
            "POST", path, data=fields, files=parts, headers={"Accept": EVENTS}, stream=True
        )
        name = ""
        try:
            with response:
                for line in response.iter_lines(chunk_size=1_000_000):
                    key, _, value = line.decode().partition(": ")
                    if key == "event":
                        name = value
                    elif key == "data" and name == "result":
                        return json.loads(value)
                    elif key == "data" and name == "error":
                        reason = json.loads(value)["error"]
                        raise UserError(f"{self._url} refuses the request: {reason}")
        except (requests.RequestException, ValueError) as error:
            raise UserError(f"{self._url} gives no answer: {error}") from error
        raise UserError(f"{self._url} ended before its answer was complete. Try again.")

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
        """Returns the server's answer in JSON."""
        try:
            return self._send(method, path, json=content).json()
        except (requests.RequestException, ValueError) as error:
            raise UserError(f"{self._url} gives no answer: {error}") from error

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Returns the server's response; repeats the request while the server is busy."""
        end = time.monotonic() + self._timeout_s
        while True:
            try:
                response = self._session.request(
                    method, self._url + path, timeout=self._timeout_s, **arguments
                )
                if response.ok:
                    return response
                reason = response.json().get("error", response.reason)
            except (requests.RequestException, ValueError) as error:
                raise UserError(f"{self._url} gives no answer: {error}") from error
            wait_s = float(response.headers.get("Retry-After", 0))
            if not wait_s or time.monotonic() + wait_s > end:
                raise UserError(f"{self._url} refuses the request: {reason}")
            time.sleep(wait_s)


def _uploads(roots: list[Path]) -> Iterator[list[tuple[str, bytes]]]:
    """Yields the (name, bytes) of the files of some paths, those of one request at a time."""
    batch: list[tuple[str, bytes]] = []
    for root in roots:
        paths = [root]
        if root.is_dir():
            paths = sorted(path for path in root.rglob("*") if _is_visible(path, root))
            if not paths:
                raise UserError(f"{files.shown(root)} holds no file. Give files, or folders.")
        folder = root.resolve().name
        parts = [
            (
                f"{folder}/{path.relative_to(root)}" if root.is_dir() else path.name,
                files.contents(path, expected="a raw file"),
            )
            for path in paths
        ]
        n_bytes = sum(len(data) for _, data in (*batch, *parts))
        if batch and (n_bytes > MAX_UPLOAD_BYTES or len(batch) + len(parts) > MAX_FILES):
            yield batch
            batch = []
        batch += parts
    if not batch:
        raise UserError("There is no file to analyze. Give files, or folders of them.")
    yield batch


def _is_visible(path: Path, root: Path) -> bool:
    return path.is_file() and not any(name[0] == "." for name in path.relative_to(root).parts)


def _encode(path: Path) -> dict[str, str]:
    data = files.contents(path, expected="an image (PNG, JPEG, GIF or BMP)")
    return {"b64": base64.b64encode(data).decode()}


def _row(path: Path, explanation: dict[str, Any]) -> dict[str, Any]:
    probabilities = explanation.pop("probabilities", {})
    columns = {f"p_{name}": probability for name, probability in probabilities.items()}
    return {"file": str(path), **explanation, **columns}
