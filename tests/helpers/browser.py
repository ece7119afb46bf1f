"""A headless chromium that a test can ask, and move the mouse in: over a pipe, with no network."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
WAIT_S = 60.0
ON_3_AND_4 = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]
for number, end in zip((3, 4), ends):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""  # which is where the protocol speaks


class Page:
    """An open page, by the DevTools protocol."""

    def __init__(self, orders: int, answers: int):
        self.orders, self.answers = os.fdopen(orders, "wb"), os.fdopen(answers, "rb")
        self.numbers, self.session = itertools.count(1), {}

    def ask(self, method: str, **params) -> dict[str, Any]:
        """Sends an order and returns its result; what else the browser tells is left aside."""
        number = next(self.numbers)
        order = {"id": number, "method": method, "params": params, **self.session}
        self.orders.write(json.dumps(order).encode() + b"\0")
        self.orders.flush()
        while True:
            told = bytearray()
            while (byte := self.answers.read(1)) != b"\0":
                assert byte, "the browser has ended"
                told += byte
            answer = json.loads(told)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, script: str) -> Any:
        """Returns what a line of JavaScript comes to."""
        told = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, script: str) -> Any:
        """Returns what a line of JavaScript comes to, as soon as that is true."""
        until = time.monotonic() + WAIT_S
        while not (value := self.value(script)):
            assert time.monotonic() < until, f"never true: {script}"
            time.sleep(0.05)
        return value

    def point(self, x: float, y: float) -> None:
        """Moves the mouse there, in px from the window's corner."""
        for step in (3, 0):
            self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x + step, y=y + step)

    def press(self, *keys: str) -> None:
        """Presses keys, one after the other, by their names such as "Enter" or "d"."""
        for key in keys:
            text = (
                {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
            )
            self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def drag(
        self, begin: tuple[float, float], end: tuple[float, float], *, modifiers: int = 0
    ) -> None:
        """Presses the mouse at one place, moves it to another and lets it go, in px; 8 is Shift."""
        held = {"button": "left", "buttons": 1, "clickCount": 1, "modifiers": modifiers}
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=begin[0], y=begin[1])
        self.ask("Input.dispatchMouseEvent", type="mousePressed", x=begin[0], y=begin[1], **held)
        for share in (0.5, 1.0):
            x, y = (a + share * (b - a) for a, b in zip(begin, end, strict=True))
            self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **held)
        self.ask("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **held)


@contextlib.contextmanager
def opened(
    path: Path | str, profile: Path, *, size: tuple[int, int] = (1200, 1000)
) -> Iterator[Page]:
    """Opens a file, or an address of this machine, in a browser whose every look-up fails."""
    told, orders = os.pipe()
    answers, said = os.pipe()

    process = subprocess.Popen(
        [
            *(sys.executable, "-c", ON_3_AND_4, str(told), str(said)),
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update"),
            *(
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--remote-debugging-pipe",
            ),
            *(f"--window-size={size[0]},{size[1]}", f"--user-data-dir={profile}", "about:blank"),
        ],
        pass_fds=(told, said),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(told)
    os.close(said)
    page = Page(orders, answers)
    try:
        address = path if isinstance(path, str) else path.as_uri()
        target = page.ask("Target.createTarget", url=address)["targetId"]
        attached = page.ask("Target.attachToTarget", targetId=target, flatten=True)
        page.session = {"sessionId": attached["sessionId"]}
        page.wait("document.readyState === 'complete'")
        yield page
    finally:
        process.terminate()
        process.wait()
        page.orders.close()
        page.answers.close()
