"""The loop after the first model: served, corrected in a browser, trained again, and swapped in."""

import json
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import browser
import cv2
import numpy as np
import pytest
import subprocesses
from run_command import run

import tfpipe
from tfpipe.tasks.annotations import decisions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium on this machine to review in"),
]
NAME = "melt-layer"
RAW = Path("data") / "raw" / NAME
WAIT_S = 120.0  # enough for the slowest machine; nothing here waits that long
REVIEWED = 20


@contextmanager
def started(*words: str):
    """Starts a command that goes on; gives what it tells first."""
    process = subprocesses.Process("tfpipe", *words, "--json")
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()
        process.close()


def served(url: str) -> dict[str, str]:
    """Returns version -> state, as the server tells it."""
    with urllib.request.urlopen(f"{url}/v1/models/{NAME}") as answer:
        told = json.load(answer)["model_version_status"]
    return {one["version"]: one["state"] for one in told}


def reviewed(page: browser.Page) -> None:
    """Accepts all layers of one photo after the other, until enough are decided about."""
    page.wait("typeof photo !== 'undefined' && !!photo")
    seen, until = set(), time.monotonic() + WAIT_S
    while len(decisions.read(RAW).current) < REVIEWED:
        assert time.monotonic() < until
        key = page.value("photo.key")
        before, spans = len(decisions.read(RAW).lines), page.value("photo.spans.length")
        if spans and key not in seen:
            page.press("a")
            while len(decisions.read(RAW).lines) < before + spans:
                assert time.monotonic() < until
                time.sleep(0.05)
        seen.add(key)
        page.press("ArrowRight")
        page.wait(f"!!photo && photo.key !== {json.dumps(key)}")


def test_served_reviewed_retrained_and_swapped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("sample", NAME, "--photos", "17", "--px-per-m", "600", "--seed", "4")
    table = (RAW / "photos.csv").read_text().splitlines(keepends=True)
    (RAW / "photos.csv").write_text("".join(table[:-5]))
    later = [line.partition(",")[0] for line in table[-5:]]
    for photo in later:
        (RAW / "photos" / photo).rename(photo)

    strides = ("-o", "stride_px=40", "-o", "predict_stride_px=40")
    shares = ("--split", "50/25/25", "--salt", "a", *strides, "--no-random-split")
    quick = ("--quick", "--algorithm", "random", "--trials", "1", "--trial-epochs", "1")
    first = run("tune", NAME, *quick, "--epochs", "1", *shares)
    assert first["version"] == 1
    window = np.full((50, 200, 3), 90, np.uint8)
    cv2.imwrite("window.png", window)

    with started("serve", NAME, "--port", "0", "--poll", "0.2") as server:
        url = server["url"]
        client = tfpipe.Client(url)
        before = client.predict(["window.png"])
        assert served(url) == {"1": "AVAILABLE"}
        with (
            started("review", NAME, "--port", "0", "--no-open") as told,
            browser.opened(told["address"], tmp_path / "profile") as page,
        ):
            reviewed(page)
        for photo in later:
            Path(photo).rename(RAW / "photos" / photo)
        (RAW / "photos.csv").write_text("".join(table))

        made = run("retrain", NAME, "--epochs", "1", "--force")
        assert made["version"] == 2 and made["comparison"]
        until = time.monotonic() + WAIT_S
        while served(url).get("2") != "AVAILABLE":
            assert time.monotonic() < until
            time.sleep(0.1)
        after = client.predict(["window.png"])
    columns = ["p_no-layer", "p_melt-layer"]
    assert not np.allclose(before[columns], after[columns], atol=1e-6)
    manifest = json.loads((Path("data") / "records" / NAME / "manifest.json").read_text())
    packed = {name for own in manifest["sources"].values() for name in own}
    assert set(later) <= packed
    assert any("are validated" in note for note in manifest["notes"])
    told = run("versions", NAME)["versions"]
    assert [one["version"] for one in told if one["served"]] == [2]
