"""Screenshots of the page Start, from what the tutorial on ice cores left."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import drawing

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH_PX, HEIGHT_PX = 1280, 800


def draw(folder: Path) -> None:
    """Draws into build/figures/start/; without a chromium there are no screenshots."""
    work = folder.parent / "ice-cores" / "work"
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        print("start: there is no chromium here, so the page has no screenshots")
        return
    (report,) = (work / "saved_models" / "melt-layer").glob("*/1/assets.extra/report.html")
    _screenshot(browser, report.as_uri(), folder / "report.png")
    command = (sys.executable, "-m", "tfpipe", "review", "melt-layer")
    options = ("--port", "0", "--no-open", "--json")
    with subprocess.Popen((*command, *options), cwd=work, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            page = json.loads(server.stdout.readline())
            _screenshot(browser, page["address"], folder / "review.png")
        finally:
            server.terminate()


def _screenshot(browser: str, address: str, path: Path) -> None:
    """Writes a screenshot of a page, as wide as a picture of the site."""
    with tempfile.TemporaryDirectory() as scratch:
        shot = Path(scratch, "shot.png")
        command = (
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--virtual-time-budget=20000",
            f"--window-size={WIDTH_PX},{HEIGHT_PX}",
            f"--user-data-dir={scratch}/profile",
            f"--screenshot={shot}",
            address,
        )
        subprocess.run(command, check=True, capture_output=True, timeout=180)
        drawing.reduce(shot, path)
