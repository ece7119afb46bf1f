"""A queue of pictures to review that needs no network, and its page as a process or a thread."""

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from tfpipe.review import app as review_app
from tfpipe.review.app import Queue
from tfpipe.review.decision_desk import DecisionDesk
from tfpipe.tasks.annotations.decisions import Decision


class Plain:
    """Three pictures that are all dust until somebody says otherwise."""

    kind, labels, notes = "images", ("ash", "dust"), ()
    progress, n_rankings, is_blind = "", 1, False

    def __init__(self, raw: Path):
        self.desk = DecisionDesk(raw, "labels.csv", "simple-cnn/1")

    def queue(self) -> list[dict]:
        held = self.desk.log().current
        return [{"id": i, "label": held[one].label} for i, one in enumerate(held)]

    def changed(self, lines: list[Decision]) -> list[dict]:
        return [{"id": int(one.what.partition(".")[0])} for one in lines]

    def decide(self, row: int, *, who: str, action: str, label: str) -> dict:
        self.desk.decide(who, (f"{row}.png", f"{row}.png"), label=label, action=action)
        return {"id": row}


@contextlib.contextmanager
def served(queue: Queue) -> Iterator[str]:
    """Serves a queue on a real socket from a thread, and gives its address."""
    taken = review_app.bind(0)
    secret, port = review_app.create_secret(), taken.getsockname()[1]
    app = review_app.create_app(queue, secret=secret, port=port, title="dust: review", who="Ada")
    running = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [taken]})
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://{review_app.HOST}:{port}/{secret}/"
    finally:
        running.should_exit = True
        thread.join()
        taken.close()


def answered(port: int, request: bytes) -> tuple[int, bytes]:
    """Sends bytes to a port of this machine, and returns status and body of the answer."""
    with socket.create_connection((review_app.HOST, port), timeout=60) as line:
        line.sendall(request)
        answer = b""
        while piece := line.recv(1 << 16):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


if __name__ == "__main__":
    taken = review_app.bind(0)
    port = taken.getsockname()[1]
    print(port, flush=True)
    queue = Plain(Path(sys.argv[1]))
    review_app.run(
        review_app.create_app(queue, secret="secret", port=port, title="t", who="Ada"), taken
    )
