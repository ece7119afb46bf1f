"""The review page: what comes first, who may ask, and in a browser what is decided and kept."""

import dataclasses
import errno
import json
import os
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import browser
import cv2
import numpy as np
import pandas as pd
import pytest
import review_queue
import small_records as drawn
import subprocesses
from made_card import made_card
from made_manifest import made_manifest
from review_queue import Plain, answered, served
from typer.testing import CliRunner

from tfpipe.base.errors import UserError
from tfpipe.cli import app
from tfpipe.data.dataset import Dataset
from tfpipe.explore import embeddings
from tfpipe.explore.novelty import ModelOutputs
from tfpipe.review import app as review_app
from tfpipe.review import open as review_open
from tfpipe.review import photo_queue, ranking
from tfpipe.review.decision_desk import DecisionDesk
from tfpipe.review.image_queue import ImageQueue
from tfpipe.review.photo_queue import PhotoQueue
from tfpipe.review.records import ReviewRecords
from tfpipe.tasks.annotations import decisions
from tfpipe.tasks.annotations.spans import WHOLE
from tfpipe.tasks.melt_layer import TASK as MELT_LAYER

CLASSES = ("ash", "dust", "pollen")
COUNT, WRONG = 120, (5, 40, 77)
JSON = {"Content-Type": "application/json"}
SAYS = "document.querySelector('#message')?.textContent"
NO_BROWSER = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no chromium on this machine to open it with"
)


@pytest.fixture(scope="module")
def known() -> ReviewRecords:
    """Three clusters in ten groups; three pictures are labelled as what they are not."""
    rng = np.random.default_rng(0)
    truth = np.arange(COUNT) % 3
    embedding = np.eye(3)[truth] * 6 + rng.normal(size=(COUNT, 3))
    given = truth.copy()
    given[list(WRONG)] = (truth[list(WRONG)] + 1) % 3
    groups = np.array([f"g{i // 12}" for i in range(COUNT)])
    seen = ModelOutputs(embedding.astype(np.float32), embedding.astype(np.float32))
    held_out = ranking.out_of_fold(seen.embedding, labels=given, groups=groups)
    told = ranking.score_images(seen, held_out, labels=given, is_training=given >= 0)
    frame = pd.DataFrame(
        {"split": "train", "key": [f"<b>{i}.png" for i in range(COUNT)], "group": groups}
    ).assign(label=given)
    data = Dataset(Path(), made_manifest(classes=CLASSES), "accuracy")
    return ReviewRecords(data, frame, told, made_card())


@pytest.fixture
def pictures(known, tmp_path, monkeypatch) -> ImageQueue:
    white = cv2.imencode(".jpg", np.full((8, 8), 200, np.uint8))[1].tobytes()
    monkeypatch.setattr(embeddings, "thumbnails", lambda data, rows: dict.fromkeys(rows, white))
    return ImageQueue(known, DecisionDesk(tmp_path, decisions.NAME, "simple-cnn/1"))


def test_wrong_labels_are_suspected_and_told_as_what_they_look_like(known):
    told = known.scores
    assert {*np.argsort(-told.label_suspicion)[:3]} == {*WRONG}
    assert (told.label_suspicion > 0).sum() <= 6
    assert [told.suggested_label[i] for i in WRONG] == [i % 3 for i in WRONG]


def test_held_out_probabilities_are_by_models_that_never_saw_the_group():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 4)
    labels = np.repeat(rng.permutation([0, 1] * 30), 4)
    # Only the group can be told by these, and of one that was never seen nothing follows.
    embedding = rng.normal(size=(60, 40))[groups] + rng.normal(0, 0.01, (240, 40))
    likely = ranking.out_of_fold(embedding, labels=labels, groups=groups)
    assert 0.3 < (likely.argmax(axis=1) == labels).mean() < 0.7
    assert ranking.out_of_fold(embedding, labels=labels, groups=groups * 0) is None


def test_pictures_without_a_label_are_no_one_s_mistake():
    given = np.array([0, 1] * 20)
    given[3] = -1
    likely = ranking.out_of_fold(np.eye(2)[given] + 0.0, labels=given, groups=np.arange(40) // 4)
    assert np.isnan(likely[3]).all() and np.isfinite(np.delete(likely, 3, axis=0)).all()


def test_the_queue_takes_the_first_of_each_list_in_turn():
    ordered, reason = ranking.order([np.array([0, 0, 9, 8.0]), None, np.array([7, 5, 0, 6.0])])
    assert ordered.tolist() == [2, 0, 3, 1] and reason.tolist() == [2, 2, 0, 0]
    assert ranking.order([np.zeros(2)])[1].tolist() == [-1, -1]


def test_undo_takes_back_one_s_own_last_decision_and_no_one_else_s(tmp_path):
    desk = DecisionDesk(tmp_path, decisions.NAME, "m/1")
    about = ("a.png", "a.png")

    def holds():
        return {thing: (one.label, one.state) for thing, one in desk.log().current.items()}

    desk.decide("Ada", about, label="ash", action="label")
    desk.decide("Ada", about, label="dust", action="label")
    desk.decide("Ada", ("b.png", "b.png"), label="ash", action="dubious")
    desk.undo("Ada")
    assert holds() == {("", "a.png"): ("dust", "validated")}
    desk.undo("Ada")
    assert holds() == {("", "a.png"): ("ash", "validated")}
    desk.undo("Ada")
    assert holds() == {}
    with pytest.raises(UserError, match="no decision of Ada"):
        desk.undo("Ada")
    desk.decide("Ada", about, label="ash", action="label")
    desk.decide("Bo", about, label="dust", action="label")
    with pytest.raises(UserError, match="Bo has decided about a.png since"):
        desk.undo("Ada")
    assert holds() == {("", "a.png"): ("dust", "validated")}
    assert len(desk.log().lines) == 8, "every undoing is a line of its own"


def asked(address: str, path: str, body=None, **headers) -> tuple[int, dict | str]:
    """Returns status and answer of a request to a served queue."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, (JSON if data else {}) | headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]


SAID = {"who": "Ada", "id": 1, "action": "label", "label": "dust"}


def test_only_the_page_itself_is_answered(tmp_path):
    queue = Plain(tmp_path)
    with served(queue) as address:
        port = int(address.split(":")[2].split("/")[0])
        secret = address.rstrip("/").rpartition("/")[2]
        none = {"items": [], "notes": [], "lines": 0, "n_rankings": 1, "progress": ""}
        assert asked(address, "queue") == (200, none)
        for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1:{port + 1}", ""):
            assert asked(address, "queue", Host=host)[0] in (400, 403), host
        wrong = address.replace(secret, "x" * len(secret))
        assert asked(wrong, "queue")[0] == 404
        assert asked(address.replace(f"{secret}/", ""), "docs")[0] == 404
        for foreign in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Content-Type": "text/plain"},
        ):
            assert asked(address, "decide", SAID, **foreign)[0] == 403, foreign
        assert asked(address, "decide", SAID | {"who": "x" * 70_000})[0] == 413
        for bad in ({"who": ""}, {"id": "../../etc"}, {"depths_m": [0]}, {"action": 3}):
            status, said = asked(address, "decide", SAID | bad)
            assert status == 422 and "Traceback" not in said
            assert ("Type your name as reviewer" in said) == ("who" in bad)
        begin = f"POST /{secret}/decide HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        for rest in (
            "Content-Type: application/json\r\nContent-Length: 3\r\n\r\n{{{",
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ):
            assert answered(port, (begin + rest).encode())[0] in (413, 422)
        decision = json.dumps(SAID | {"label": "x" * 3000})  # longer than its Content-Length
        both = "Content-Type: application/json\r\nContent-Length: 20\r\nTransfer-Encoding: chunked"
        chunk = f"{len(decision):x}\r\n{decision}\r\n0\r\n\r\n"
        assert answered(port, f"{begin}{both}\r\n\r\n{chunk}".encode())[0] == 400
        assert not queue.desk.log().lines
        own = {"Origin": address[: address.index(secret) - 1], "Sec-Fetch-Site": "same-origin"}
        assert asked(address, "decide", SAID, **own)[0] == 200
    assert [one.what for one in queue.desk.log().lines] == ["1.png"]


def test_a_picture_or_class_that_is_not_there_is_refused(pictures):
    with served(pictures) as address:
        told = {"who": "Ada", "id": 0, "action": "label", "label": "ash"}
        for wrong in ({"id": -1}, {"id": COUNT}, {"label": "ashes"}, {"action": "draw"}):
            status, said = asked(address, "decide", told | wrong)
            assert status == 409 and said.startswith(("There is no image", "No ")), said
        assert asked(address, "thumbnails?ids=5000")[0] == 409
        assert asked(address, "thumbnails?ids=../x,2")[1].keys() == {"2"}
        assert asked(address, "decide", told)[1]["state"] == "validated"
    assert len(pictures.desk.log().lines) == 1


def test_two_reviewers_see_one_another_s_decisions(known, pictures):
    other = ImageQueue(known, DecisionDesk(pictures.desk.raw, decisions.NAME, "simple-cnn/2"))
    with served(pictures) as first, served(other) as second:
        for address, who, row in ((first, "Ada", 3), (second, "Bo", 4)):
            told = {"who": who, "id": row, "action": "accept", "label": "ash"}
            assert asked(address, "decide", told)[0] == 200
        seen = [asked(address, "queue")[1]["items"] for address in (first, second)]
        assert seen[0] == seen[1]
        assert {one["id"]: one["who"] for one in seen[0] if one["who"]} == {3: "Ada", 4: "Bo"}
        news = asked(first, "news?lines=1")[1]
        assert [one["id"] for one in news["items"]] == [4] and news["lines"] == 2
        assert news["decisions"] == [{"who": "Bo", "what": "<b>4.png"}]
        for address, who, label in ((first, "Bo", "dust"), (second, "Ada", "pollen")):
            told = {"who": who, "id": 3, "action": "label", "label": label}
            status, said = asked(address, "decide", told)
            assert status == 200 and said["label"] == label
        assert said["other"] == "Bo had decided dust (validated)"
        news = [asked(address, "news?lines=2")[1] for address in (first, second)]
        assert news[0] == news[1], "the page that decided first is told, too"
        assert [(one["id"], one["label"], one["who"]) for one in news[0]["items"]] == [
            (3, "pollen", "Ada")
        ]
        assert news[0]["decisions"] == [{"who": "Ada", "what": "<b>3.png"}]
        pictures.rank(known.scores)
        turns = asked(first, "news?lines=4")[1]["n_rankings"], news[0]["n_rankings"]
        assert turns[0] == turns[1] + 1, "the page is told of a new order"
    thing = ("", "<b>3.png")
    assert pictures.desk.other_decision("Ada", thing) == "", "one's own is nobody else's"
    assert pictures.desk.other_decision("Bo", thing) == "Ada had decided pollen (validated)"
    lines = pictures.desk.log().lines
    assert [one.label for one in lines if one.what == "<b>3.png"] == ["ash", "dust", "pollen"]
    assert [one.version for one in lines[:2]] == ["simple-cnn/1", "simple-cnn/2"]


def test_a_port_that_is_taken_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with review_app.bind(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} cannot be used.*--port"):
            CliRunner().invoke(
                app, ["review", "melt-layer", "--port", str(port)], catch_exceptions=False
            )
    with pytest.raises(UserError, match="no such port"):
        review_app.bind(70_000)


def full_disk(monkeypatch) -> None:
    """Makes every line of labels.csv fail as on a full disk."""
    write = os.write

    def fails(file: int, data: bytes) -> int:
        if b"simple-cnn/1" in data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data)

    monkeypatch.setattr(os, "write", fails)


@pytest.mark.slow
def test_what_was_told_to_be_saved_outlives_a_kill(tmp_path):
    process = subprocesses.Process(review_queue.__file__, tmp_path)
    address = f"http://127.0.0.1:{int(process.stdout.readline())}/secret/"
    for row in range(5):
        assert asked(address, "decide", SAID | {"id": row})[0] == 200
    process.kill()
    process.wait()
    process.close()
    found = decisions.read(tmp_path)
    assert [one.what for one in found.lines] == [f"{row}.png" for row in range(5)]
    with served(Plain(tmp_path)) as again:
        assert len(asked(again, "queue")[1]["items"]) == 5


@pytest.fixture(scope="module")
def melt(tmp_path_factory) -> Path:
    return drawn.draw_melt(tmp_path_factory.mktemp("melt"))


@pytest.fixture
def strips(melt, tmp_path, monkeypatch) -> PhotoQueue:
    """The drawn cores, by a model that calls dark middles layers; core_003.png is unpacked."""

    def classify(images):
        dark = images[:, 20:30].mean((1, 2, 3)) < images.mean((1, 2, 3)) - 8
        return np.stack([1 - dark, dark], axis=1).astype(np.float32)

    thresholds = {"decision": 0.5, "confident": 0.9}
    card = made_card(options={"predict_stride_px": 20}, thresholds=thresholds)
    monkeypatch.setattr(
        photo_queue.load,
        "open_version",
        lambda version: SimpleNamespace(predict_proba=classify, card=card),
    )
    names = [path.name for path in sorted((melt / "photos").iterdir()) if "003" not in path.name]
    rows = {name: {"status": "aligned", "shift_mm": 0.0} for name in names}
    monkeypatch.setattr(photo_queue.whole_files, "rows_of", lambda task, data: rows)
    groups = np.repeat(names, 2)
    unsure = (groups == "core_005.png") + 0.01
    told = ranking.ImageScores(np.zeros((len(groups), 2)), unsure, None, None, unsure, ("a note",))
    packed = ReviewRecords(None, pd.DataFrame({"group": groups}), told, card)
    desk = DecisionDesk(melt, decisions.NAME, "simple-cnn/1")
    yield PhotoQueue(packed, desk, task=MELT_LAYER, version=Path("1"), raw=melt)
    desk.path.unlink(missing_ok=True)


def test_files_of_which_nothing_is_known_come_first_then_the_least_certain(strips):
    assert [one["key"] for one in strips.queue()[:2]] == ["core_003.png", "core_005.png"]
    assert "not in the records" in strips.queue()[0]["why"]


def test_spans_are_decided_about_within_their_file_only(strips):
    number = strips.queue()[1]["id"]
    top_m = strips.photo(number)["top_m"]

    def decide(action, what="", depths_m=(0.0, 0.0), label=""):
        told = {"who": "Ada", "action": action, "label": label, "what": what}
        return strips.decide(number, depths_m=depths_m, **told)["spans"]

    for wrong in (
        {"action": "draw", "depths_m": (top_m - 2, top_m - 1)},
        {"action": "draw", "depths_m": (top_m + 0.2, top_m + 0.1)},
        {"action": "move", "what": "drawn 1.00000-2.00000"},
        {"action": "label", "what": strips.photo(number)["spans"][0]["what"], "label": "crack"},
        {"action": "paint"},
    ):
        with pytest.raises(UserError):
            decide(**wrong)
    assert not strips.desk.log().lines
    spans = decide("draw", depths_m=(top_m - 1, top_m + 0.01))
    made = next(one for one in spans if one["what"].startswith("drawn"))
    assert made["top_m"] == pytest.approx(top_m) and made["state"] == "validated"
    decide("dubious", made["what"])
    decide("move", made["what"], (top_m + 0.3, top_m + 0.31))
    decide("delete", made["what"])
    states = [(o.action, o.label, o.state, o.what) for o in strips.desk.log().lines]
    assert [one[:3] for one in states] == [
        ("draw", "meltLayer", "validated"),
        ("dubious", "meltLayer", "dubious"),
        ("move", "meltLayer", "validated"),
        ("delete", "", "validated"),
    ]
    assert {one[3] for one in states} == {made["what"]}


def test_a_photo_is_settled_as_a_whole_once_nothing_in_it_is_open(strips):
    number = next(one["id"] for one in strips.queue() if strips.photo(one["id"])["spans"])

    def decide(action, what=WHOLE, label="meltLens"):
        told = {"who": "Ada", "action": action, "label": label, "what": what}
        return strips.decide(number, depths_m=(0.0, 0.0), **told)

    def state():
        return next(one["whole"] for one in strips.queue() if one["id"] == number)

    with pytest.raises(UserError, match="Still open or dubious"):
        decide("accept")
    for wrong in ("delete", "move", "draw all"):
        with pytest.raises(UserError, match="action on a "):
            decide(wrong)
    for span in strips.photo(number)["spans"]:
        decide("delete", span["what"])
    before = strips.photo(number)["spans"]
    assert state() == "predicted"
    told = decide("accept")
    assert told["spans"] == before, "it is no span itself"
    assert told["whole"] == {"state": "validated", "who": "Ada"} and state() == "validated"
    last = strips.desk.log().lines[-1]
    assert (last.what, last.label, last.state) == (WHOLE, "", "validated")
    assert (last.top_m, last.bottom_m) == pytest.approx((told["top_m"], told["bottom_m"]))
    assert decide("dubious")["whole"]["state"] == "dubious"
    strips.desk.undo("Ada")
    assert strips.photo(number)["whole"]["state"] == "validated"
    strips.desk.undo("Ada")
    assert state() == "predicted"


@pytest.mark.slow
@NO_BROWSER
def test_a_photo_that_cannot_be_read_is_said_and_the_others_are_shown(strips, melt, tmp_path):
    photo = melt / "photos" / "core_003.png"
    whole = photo.read_bytes()
    photo.write_bytes(whole[:100])
    with served(strips) as address, browser.opened(address, tmp_path / "profile") as page:
        page.wait(f"{SAYS}?.includes('core_003.png')")
        page.value("document.querySelectorAll('#photos li')[1].click()")
        page.wait("!!photo && photo.key === 'core_005.png'")
    photo.write_bytes(whole)


def test_a_task_whose_files_have_no_spans_says_so(monkeypatch):
    monkeypatch.setattr(review_open.load, "check_kind", lambda version: None)
    whole_file = dataclasses.replace(MELT_LAYER.whole_file, review=None)
    task = dataclasses.replace(MELT_LAYER, whole_file=whole_file)
    with pytest.raises(UserError, match="does not define how their parts are reviewed"):
        review_open.open_queue(task, Path("nowhere/1"), Path(), raw=Path())


@pytest.mark.slow
@NO_BROWSER
def test_pictures_are_labelled_from_the_keyboard(known, pictures, tmp_path, monkeypatch):
    lines = lambda: pictures.desk.log().lines  # noqa: E731
    with served(pictures) as address, browser.opened(address, tmp_path / "profile") as page:
        page.wait("document.querySelectorAll('figure img[src^=\"data:image\"]').length === 24")
        assert page.value("document.querySelectorAll('figure b')[0].children.length") == 0
        first = page.value("document.querySelector('figure').id").removeprefix("item-")
        assert int(first) in WRONG, "suspected labels come first"
        page.press("3", "Enter", "d")
        page.wait(f"{SAYS}?.includes('dubious')")
        assert [(o.action, o.state) for o in lines()] == [
            ("label", "validated"),
            ("accept", "validated"),
            ("dubious", "dubious"),
        ]
        assert lines()[0].label == "pollen" and lines()[0].what == f"<b>{first}.png"
        page.wait(f"document.getElementById('item-{first}').className === 'validated'")
        page.press("u")
        page.wait(f"{SAYS}?.startsWith('Undone')")
        assert lines()[-1].action == "undo" and len(pictures.desk.log().current) == 2
        page.wait("document.querySelectorAll('figure.dubious').length === 0")
        page.value("window.isOld = true; setTimeout(() => location.reload())")
        page.wait("!window.isOld && document.querySelectorAll('figure').length === 24")
        page.wait("document.getElementById('count')?.textContent.startsWith('2 of')")
        page.value("window.dispatchEvent(new Event('focus'))")  # as a browser may, at any time
        pictures.desk.decide("Bo", ("x", f"<b>{WRONG[0]}.png"), label="ash", action="label")
        queues = "performance.getEntriesByType('resource').filter(e => e.name.endsWith('/queue'))"
        n_queues = page.value(f"{queues}.length")
        page.press("r")
        page.wait(f"{queues}.length > {n_queues}")  # or the queue comes after its new order
        page.wait("document.getElementById('count').textContent.match(/^[23] of/)")
        shown = "[...document.querySelectorAll('figure')].map(one => +one.id.slice(5))"
        now = page.value(shown)
        told = known.scores._replace(
            label_suspicion=None, novelty=None, uncertainty=np.arange(COUNT) + 1.0
        )
        pictures.rank(told)
        page.wait(f"{SAYS}?.includes('in its new order now')")
        assert page.value(shown) == now, "nothing moves that is being looked at"
        page.value("document.getElementById('next').click()")
        done = {f"<b>{i}.png" for i in now} | {what for _, what in pictures.desk.log().current}
        later = [i for i in range(COUNT)[::-1] if f"<b>{i}.png" not in done][:24]
        page.wait(f"JSON.stringify({shown}) === '{json.dumps(later, separators=(',', ':'))}'")
        page.press("1")
        page.wait(f"document.getElementById('item-{later[0]}').className === 'validated'")
        pictures.desk.decide("Bo", ("x", f"<b>{later[0]}.png"), label="dust", action="label")
        page.wait(f"{SAYS}?.includes('Bo decided about <b>{later[0]}.png after you')")
        page.wait(f"document.getElementById('item-{later[0]}').textContent.includes('by Bo')")
        page.value("document.getElementById('previous').click()")
        before = len(lines())
        with monkeypatch.context() as patch:
            full_disk(patch)
            page.press("1")
            page.wait(f"{SAYS}?.includes('No space left on device')")
            assert page.value("document.getElementById('message').className") == "error"
        assert len(lines()) == before
        assert page.value("document.querySelectorAll('figure.validated').length") <= 3


@pytest.mark.slow
@NO_BROWSER
def test_layers_are_drawn_and_moved_with_the_mouse(strips, tmp_path, monkeypatch):
    lines = lambda: strips.desk.log().lines  # noqa: E731
    size = {"size": (1400, 4000)}
    with served(strips) as address, browser.opened(address, tmp_path / "p", **size) as page:
        page.wait("document.querySelector('#core-image')?.naturalWidth === 200")
        page.press("ArrowRight")
        page.wait("!!photo && photo.key === 'core_005.png'")
        page.wait("document.querySelectorAll('.span').length === photo.spans.length")
        page.value("document.querySelectorAll('.span').forEach(one => one.hidden = true)")
        x, y = page.value("(b => [b.x + 150, b.y])(core.getBoundingClientRect())")
        page.drag((x, y + 400), (x, y + 430))
        page.wait(f"{SAYS}?.includes('draw')")
        drawn_m = lines()[0].top_m, lines()[0].bottom_m
        told = strips.photo(strips.queue()[1]["id"])
        px_per_m = told["height"] * 1.5 / (told["bottom_m"] - told["top_m"])
        expected = [told["top_m"] + at / px_per_m for at in (400, 430)]
        assert drawn_m == pytest.approx(expected, abs=1.1 / px_per_m)
        assert " m" in page.value("depthLabel.textContent")
        own = (
            "[...document.querySelectorAll('.span')].find(e => e.dataset.name.startsWith('drawn'))"
        )
        page.wait(f"{own}.className.includes('validated')")
        page.drag((x, y + 415), (x, y + 445))
        page.wait(f"{SAYS}?.includes('move')")
        moved_m = lines()[1].top_m, lines()[1].bottom_m
        by = [after - before for after, before in zip(moved_m, drawn_m, strict=True)]
        assert by == pytest.approx([30 / px_per_m] * 2, abs=1.1 / px_per_m)
        page.press("2")
        page.wait(f"{SAYS}?.includes('label')")
        page.press("d")
        page.wait(f"{own}.className.includes('dubious')")
        page.press("x")
        page.wait(f"{own}.className.includes('none')")
        page.press("u")
        page.wait(f"{SAYS}?.startsWith('Undone')")
        page.wait(f"{own}.className.includes('dubious')")
        told = [(one.action, one.label, one.state) for one in lines()]
        assert told[2:] == [
            ("label", "meltLens", "validated"),
            ("dubious", "meltLens", "dubious"),
            ("delete", "", "validated"),
            ("undo", "meltLens", "dubious"),
        ]
        before = {one["what"]: one["top_m"] for one in page.value("photo.spans")}
        page.value("draw()")  # and all are there again
        first = "(b => [b.x + 20, b.y + b.height / 2])(%s.getBoundingClientRect())"
        x, y = page.value(first % "document.querySelector('.span.tabled.predicted')")
        page.drag((x, y), (x, y + 60), modifiers=8)
        decided = "originOf(one) !== 'tabled' || one.state !== 'predicted'"
        page.wait(f"photo.spans.every(one => {decided})")
        moved = [one for one in lines()[6:] if one.what.startswith("tabled")]
        assert len(moved) == len([what for what in before if what.startswith("tabled")])
        by = [one.top_m - before[one.what] for one in moved]
        assert by == pytest.approx([60 / px_per_m] * len(by), abs=1.1 / px_per_m)
        page.press("n")
        page.wait(f"{SAYS}?.includes('Still open')")
        page.press("a")
        done = "one.state === 'validated' || originOf(one) === 'drawn'"
        page.wait(f"photo.spans.every(one => {done})")
        page.value("selectSpan(photo.spans.find(one => one.state === 'dubious').what)")
        page.press("x")
        page.wait("photo.spans.every(one => one.state === 'validated')")
        page.press("n")
        page.wait("document.getElementById('count').textContent.includes('nothing else is here')")
        assert lines()[-1].what == WHOLE and lines()[-1].label == ""
        page.wait("!!document.querySelector('.files li.validated[aria-current=true]')")
        page.press("u")
        page.wait("photo.whole.state === 'predicted'")
        empty = strips.queue()[-1]["id"]
        without_spans = strips.strip(empty)._replace(tabled=(), predicted=())
        monkeypatch.setattr(strips, "strip", lambda number: without_spans)
        page.value(f"openPhoto({empty}).then(() => 1)")
        page.wait(f"photo.id === {empty} && document.querySelectorAll('.span').length === 0")
        page.press("n")
        page.wait("document.getElementById('count').textContent.includes('nothing else is here')")
        page.press("d")
        page.wait("document.getElementById('count').textContent.includes('dubious as a whole')")
        states = [(one.what, one.state) for one in lines()[-2:]]
        assert states == [(WHOLE, "validated"), (WHOLE, "dubious")]


@NO_BROWSER
def test_the_first_order_is_not_called_a_new_one(pictures, tmp_path):
    """The window may get the focus, for which the queue is read, before it has been read at all."""
    with served(pictures) as address, browser.opened(address, tmp_path / "profile") as page:
        page.wait("document.querySelectorAll('figure').length === 24")
        page.value(
            "serverState.n_rankings = null;"
            "window.isDone = false;"
            "enqueue(() => load(true)).then(() => window.isDone = true)"
        )
        page.wait("window.isDone")
        assert "new order" not in page.value(SAYS)
