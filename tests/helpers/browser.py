"""A headless chromium without network: tests run scripts in it, and use its mouse and keys."""

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

import cv2

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
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, end in zip((3, 4), ends):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""  # the descriptors of the DevTools protocol


def screenshot(page: Path, folder: Path, *options: str, width_px: int, height_px: int) -> Any:
    """Returns a screenshot of an HTML file, [height, width, 3] uint8 BGR.

    Args:
      page: the file.
      folder: for the browser's own files.
      options: further ones of chromium.
      width_px: of the window.
      height_px: of the window.
    """
    shot = folder / "shot.png"
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--window-size={width_px},{height_px}",
        f"--user-data-dir={folder / 'profile'}",
        f"--screenshot={shot}",
        *options,
        page.as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return cv2.imread(str(shot))


class Navigated(AssertionError):
    """The page was left while it was asked."""


class Page:
    """An open page, controlled by the DevTools protocol."""

    def __init__(self, commands: int, answers: int):
        self.commands, self.answers = os.fdopen(commands, "wb"), os.fdopen(answers, "rb")
        self.numbers, self.session = itertools.count(1), {}

    def ask(self, method: str, **params) -> dict[str, Any]:
        """Sends a command and returns its result; other messages of the browser are ignored."""
        number = next(self.numbers)
        command = {"id": number, "method": method, "params": params, **self.session}
        self.commands.write(json.dumps(command).encode() + b"\0")
        self.commands.flush()
        while True:
            message = bytearray()
            while (byte := self.answers.read(1)) != b"\0":
                assert byte, "the browser has ended"
                message += byte
            answer = json.loads(message)
            if answer.get("id") == number:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise Navigated(answer)
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, script: str) -> Any:
        """Returns the value of a JavaScript expression."""
        evaluation = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in evaluation, evaluation
        return evaluation["result"].get("value")

    def wait(self, script: str) -> Any:
        """Returns the value of a JavaScript expression once it is true."""
        end, value = time.monotonic() + WAIT_S, None
        while not value:
            assert time.monotonic() < end, f"never true: {script}"
            with contextlib.suppress(Navigated):  # the page is being loaded again
                value = self.value(script)
            time.sleep(0 if value else 0.05)
        return value

    def point(self, x: float, y: float) -> None:
        """Moves the mouse to a point, in px from the corner of the window."""
        for step in (3, 0):
            self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x + step, y=y + step)

    def wheel(self, x: float, y: float, by: float) -> None:
        """Turns the mouse's wheel at a point, in px; negative is away from the user."""
        self.ask("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=by)

    def press(self, *keys: str) -> None:
        """Presses keys one after the other, by names such as "Enter" or "d"."""
        for key in keys:
            text = (
                {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
            )
            self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def attach(self, selector: str, paths: list[Path]) -> None:
        """Chooses files, or a folder, in the file input that a selector names."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def drag(
        self, begin: tuple[float, float], end: tuple[float, float], *, modifiers: int = 0
    ) -> None:
        """Drags the mouse from a point to another, in px; modifier 8 is Shift."""
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
    """Opens a file, or an address of this machine, in a browser that finds no other host."""
    command_end, commands = os.pipe()
    answers, answer_end = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            ON_3_AND_4,
            str(command_end),
            str(answer_end),
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--remote-debugging-pipe",
            f"--window-size={size[0]},{size[1]}",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        pass_fds=(command_end, answer_end),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(command_end)
    os.close(answer_end)
    page = Page(commands, answers)
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
        page.commands.close()
        page.answers.close()
