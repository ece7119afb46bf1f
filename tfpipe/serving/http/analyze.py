"""HTTP of whole files: `:analyze` answers at once, with progress, or by a job to come back for."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from tfpipe.registry.card import CLASSIFIER
from tfpipe.serving import analyze, jobs, uploads
from tfpipe.serving import metadata as serving_metadata
from tfpipe.serving.errors import CLIENT_CLOSED, RequestError
from tfpipe.serving.http.body import read_body
from tfpipe.serving.http.recording import recording
from tfpipe.serving.http.response import BudgetedResponse
from tfpipe.serving.http.siblings import Siblings
from tfpipe.serving.jobs import Job, JobAnswer, JobQueue
from tfpipe.serving.limits import Admission, Limits
from tfpipe.serving.metrics import ServerMetrics
from tfpipe.serving.model.store import ModelStore, ServedVersion

METHOD = "analyze"
EVENTS = "text/event-stream"
POLL_S, BEAT_S = 0.1, 10.0  # between looks at a job, and between signs of life without progress


class UploadConfig(NamedTuple):
    """Where uploaded files are analyzed.

    Attributes:
      folder: for the files.
      queue: of jobs.
      siblings: other workers, which may have the job that a client comes back for; None for none.
    """

    folder: Path
    queue: JobQueue
    siblings: Siblings | None = None


class AnalysisContext(NamedTuple):
    """What the endpoints of whole files need.

    Attributes:
      models: the served versions.
      limits: of requests.
      admission: of all requests.
      metrics: of the server.
      uploads: where files are analyzed.
    """

    models: ModelStore
    limits: Limits
    admission: Admission
    metrics: ServerMetrics
    uploads: UploadConfig


def add_routes(api: FastAPI, context: AnalysisContext, *, paths: list[str]) -> None:
    """Adds `:analyze` at the paths of a model, and the jobs.

    Args:
      api: the application.
      context: what the endpoints need.
      paths: of a model, of a version of it, and of a label.
    """
    for path in paths:
        api.post(
            f"{path}:{METHOD}",
            summary="Returns what `tfpipe predict` writes for raw files, such as core photos.",
            openapi_extra=serving_metadata.upload_body(path),
            responses=serving_metadata.ERROR_RESPONSES,
        )(_endpoint(context))

    @api.get(
        "/v1/jobs/{identifier}", openapi_extra=serving_metadata.path_parameters("/{identifier}")
    )
    async def get(request: Request) -> Response:
        """Returns the answer of a job, or its progress with status 202."""
        if other := await _of_sibling(context, request):
            return other
        job = context.uploads.queue.get(request.path_params["identifier"])
        if not job.future.done():
            content = {"state": job.state, **job.progress}
            return JSONResponse(content, 202, headers={"Retry-After": "1"})
        return _response(jobs.answer_of(job), context.admission)

    @api.delete(
        "/v1/jobs/{identifier}",
        status_code=204,
        openapi_extra=serving_metadata.path_parameters("/{identifier}"),
    )
    async def delete(request: Request) -> Response:
        """Cancels a job and forgets it."""
        if other := await _of_sibling(context, request):
            return other
        context.uploads.queue.remove(request.path_params["identifier"])
        return Response(status_code=204)


def describe(models: ModelStore, name: str, *, has_uploads: bool) -> dict[str, Any]:
    """Returns what the page must know of a model.

    Its `kind` is "photos" for whole files such as core photos, "images" for other raw files, and
    "windows" where only images of the model's own size can be predicted; `image_shape` is that
    size, and `expects` says in a sentence what raw files there are.
    """
    description: dict[str, Any] = {"kind": "windows", "image_shape": [], "expects": ""}
    if not has_uploads:
        return description
    with contextlib.suppress(RequestError):  # no version yet, or a task that no server reads
        card = models.get(name).servable.card
        if card.kind == CLASSIFIER:
            task = analyze.task_of(card)
            description = {
                "kind": "photos" if task.whole_file else "images",
                "image_shape": list(card.network_spec.image_shape),
                "expects": f"{task.title}: {task.expects}",
            }
    return description


def _endpoint(context: AnalysisContext) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        name = request.path_params["name"]
        job: Job | None = None
        with recording(context.metrics, name, METHOD) as outcome:
            try:
                place = {key: request.path_params.get(key, "") for key in ("version", "label")}
                version = context.models.get(name, **place)
                analyze.task_of(version.servable.card)
                is_asynchronous = _prefers_async(request)
                if is_asynchronous:
                    context.uploads.queue.check_room()
                job = await _submitted(context, request, version)
                if is_asynchronous:
                    identifier = context.uploads.queue.hold(job)
                    outcome.status = 202
                    headers = {
                        "Location": f"/v1/jobs/{identifier}",
                        "Preference-Applied": "respond-async",
                    }
                    content = {"job": identifier, "state": job.state}
                    return JSONResponse(content, 202, headers=headers)
                if _wants_events(request):
                    outcome.status = 200
                    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
                    return StreamingResponse(_events(job), media_type=EVENTS, headers=headers)
                answer = await _wait(job, request, deadline_s=context.limits.deadline_s)
                outcome.status = 200
                return _response(answer, context.admission)
            except ClientDisconnect:
                return Response(status_code=CLIENT_CLOSED)
            finally:
                outcome.n_instances = job.progress["images"] if job else 0

    return endpoint


async def _submitted(context: AnalysisContext, request: Request, version: ServedVersion) -> Job:
    """Returns the job of a request whose body is read; it counts in the limits until it ends."""
    with contextlib.ExitStack() as stack:
        budget = context.admission.budget()
        stack.callback(budget.release)
        body = await read_body(request.headers, request.receive, budget, limits=context.limits)
        client = request.client.host if request.client else ""
        context.admission.enter(client)
        stack.callback(context.admission.leave, client)
        name, content_type = (
            request.query_params.get("name", ""),
            request.headers.get("content-type", ""),
        )

        def prepare() -> analyze.AnalysisRequest:
            upload = uploads.parse(body, content_type, name=name, limits=context.limits)
            accept = analyze.JSON if _wants_events(request) else request.headers.get("accept", "")
            return analyze.parse_request(upload, request.query_params, accept)

        analysis = await asyncio.to_thread(prepare)

        def work(job: Job) -> JobAnswer:
            return analyze.analyze(
                version, analysis, job, folder=context.uploads.folder, limits=context.limits
            )

        return context.uploads.queue.submit(work, on_end=stack.pop_all().close)


def _wants_events(request: Request) -> bool:
    return EVENTS in request.headers.get("accept", "").lower()


def _prefers_async(request: Request) -> bool:
    preferences = request.headers.get("prefer", "").lower().replace(";", ",").split(",")
    return "respond-async" in (preference.strip() for preference in preferences)


async def _of_sibling(context: AnalysisContext, request: Request) -> Response | None:
    """Returns the answer of the worker that has a job; None if it is this one or none."""
    siblings = context.uploads.siblings
    path = siblings.socket_of(request.path_params["identifier"]) if siblings else None
    return await siblings.ask(path, request, context.admission) if siblings and path else None


async def _wait(job: Job, request: Request, *, deadline_s: float) -> JobAnswer:
    """Returns the answer of a job, and cancels it where the client leaves or time is over.

    Raises:
      RequestError: it failed, or took too long.
      ClientDisconnect: the client has left.
    """
    end, wait = time.monotonic() + deadline_s, _waiter(job)
    try:
        while not job.future.done():
            await wait()
            if await request.is_disconnected():
                raise ClientDisconnect
            if time.monotonic() > end and not job.future.done():
                raise RequestError(
                    503,
                    f"This takes longer than {deadline_s:g} s. Ask for its progress (Accept: "
                    f"{EVENTS}) or for a job (Prefer: respond-async).",
                )
        return jobs.answer_of(job)
    finally:
        job.cancel()


async def _events(job: Job) -> AsyncIterator[bytes]:
    """Yields server-sent events: "progress" whenever there is some, then "result" or "error".

    The result is the answer in JSON. A client that leaves cancels the job.
    """
    sent: dict[str, Any] = {}
    beat, wait = time.monotonic(), _waiter(job)
    try:
        while not job.future.done():
            progress = {"state": job.state, **job.progress}
            if progress != sent:
                sent, beat = progress, time.monotonic()
                yield _event("progress", json.dumps(progress))
            elif time.monotonic() - beat > BEAT_S:
                beat = time.monotonic()
                yield b": still at work\n\n"
            await wait()
        try:
            answer = jobs.answer_of(job)
            yield _event("result", answer.content.decode())
        except RequestError as error:
            yield _event("error", json.dumps({"error": str(error), "status": error.status}))
    finally:
        job.cancel()


def _waiter(job: Job) -> Callable[[], Awaitable[None]]:
    """Returns a function that waits for the end of a job, at most `POLL_S`."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def notify(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the server has stopped
            loop.call_soon_threadsafe(ended.set)

    job.future.add_done_callback(notify)

    async def wait() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), POLL_S)

    return wait


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def _response(answer: JobAnswer, admission: Admission) -> Response:
    """Returns the response of an answer, whose bytes count until the client has taken them."""
    budget = admission.budget()
    try:
        budget.add_answer(len(answer.content))
    except RequestError:
        budget.release()
        raise
    return BudgetedResponse(answer.content, budget, headers={"Content-Type": answer.media_type})
