"""Jobs of a pool: each worker answers for the jobs of all.

A job is in the memory of one worker, and its identifier begins with that worker's name. Each worker
listens at a Unix socket of that name, too, in a folder that this user alone can enter; the others
send requests for its jobs there.
"""

import asyncio
import contextlib
import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fastapi import Request, Response

from tfpipe.serving import sockets
from tfpipe.serving.errors import RequestError
from tfpipe.serving.http.response import BudgetedResponse
from tfpipe.serving.limits import Admission, RequestBudget

THREADS = 4  # that wait for other workers
TIMEOUT_S = 10.0  # for a worker, which has the answer in its memory
SEPARATOR = "."  # between a worker's name and the rest of an identifier
PASSED_ON = ("Content-Type", "Retry-After")


class SiblingAnswer(NamedTuple):
    """What another worker answers."""

    status: int
    headers: dict[str, str]
    content: bytes


class Siblings:
    """The workers of a pool, as one of them sees them.

    Attributes:
      prefix: of the identifiers of this worker's jobs.
      listener: the socket of this worker, which does not listen yet.
    """

    def __init__(self, folder: Path, name: str):
        """Binds the socket of this worker.

        Args:
          folder: that all workers have.
          name: of this worker, digits.

        Raises:
          UserError: it cannot be made there.
        """
        self._folder, self._name = folder, name
        self.prefix = self._name + SEPARATOR
        self.listener = sockets.bind_unix(folder / f"{self._name}.sock", option="TMPDIR")
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="sibling")

    def close(self) -> None:
        """Closes the socket of this worker."""
        self.listener.close()
        self._executor.shutdown(wait=False)

    def socket_of(self, identifier: str) -> Path | None:
        """Returns the socket of the other worker that has a job; None if no other has it."""
        name, separator, _ = identifier.partition(SEPARATOR)
        if not (separator and name.isascii() and name.isdecimal()) or name == self._name:
            return None
        path = self._folder / f"{name[:20]}.sock"
        return path if path.is_socket() else None

    async def ask(self, path: Path, request: Request, admission: Admission) -> Response:
        """Returns the answer of another worker to a request for one of its jobs.

        Args:
          path: the socket of the worker.
          request: for the job.
          admission: counts the bytes of the answer until the client has taken them.

        Raises:
          RequestError: the worker does not answer, or the answer is too large now.
        """
        budget = admission.budget()
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._executor, _ask, path, request, budget)
        except BaseException:
            budget.release()
            raise
        if answer.status == 200:
            return BudgetedResponse(answer.content, budget, headers=answer.headers)
        budget.release()
        return Response(answer.content, answer.status, headers=answer.headers)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path):
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = sockets.connect_unix(self._path, timeout_s=self.timeout)


def _ask(path: Path, request: Request, budget: RequestBudget) -> SiblingAnswer:
    where = f"/v1/jobs/{quote(request.path_params['identifier'], safe='')}"
    headers = {"Connection": "close"}
    if "authorization" in request.headers:
        headers["Authorization"] = request.headers["authorization"]
    with _answering(), contextlib.closing(_UnixConnection(path)) as connection:
        connection.request(request.method, where, headers=headers)
        response = connection.getresponse()
        budget.add_answer(int(response.headers.get("Content-Length", "0")))
        passed_on = {name: response.headers[name] for name in PASSED_ON if name in response.headers}
        return SiblingAnswer(response.status, passed_on, response.read())


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise RequestError(
            404, "There is no such job: the process that had it does not answer."
        ) from error
