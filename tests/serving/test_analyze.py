"""Whole files over HTTP: the rows of `tfpipe predict`, by every form of request and answer."""

import base64
import io
import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import browser
import cv2
import numpy as np
import pandas as pd
import pytest
import requests
import served_tasks
import server_process

import tfpipe
from tfpipe.base.errors import UserError

pytestmark = pytest.mark.slow

TASKS = tuple(served_tasks.CLASSES)
EVENTS = {"Accept": "text/event-stream"}
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for task in TASKS:
        served_tasks.publish(task, folder)
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Task -> its raw files, without labels, as a server gets none to draw beside its answers."""
    folder = tmp_path_factory.mktemp("raw")
    paths = {task: served_tasks.draw(task, folder) for task in TASKS}
    for table in folder.rglob("layers.csv"):
        table.unlink()
    return paths


@pytest.fixture(scope="module")
def temporary(tmp_path_factory):
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(models, temporary):
    with server_process.running(models, TMPDIR=str(temporary)) as running:
        yield running


@pytest.fixture(scope="module")
def written(models, raw, tmp_path_factory):
    """Task -> the table that `tfpipe predict` writes; overlays are in the folder beside it."""
    tables = {}
    for task in TASKS:
        tables[task] = tmp_path_factory.mktemp(task) / "out.csv"
        version = tfpipe.Version(models / task / "simple-cnn" / "1")
        version.predict(raw[task], out=tables[task], table=served_tasks.table_of(raw[task]))
    return tables


def url(server, task: str, query: str = "") -> str:
    return f"{server.url}/v1/models/{task}:analyze{query}"


def parts(paths: list[Path]) -> list[tuple]:
    """Returns the parts of a form with files, with the files of folders, and with their table."""
    form = [
        ("file", (str(inside.relative_to(path.parent)), inside.read_bytes()))
        for path in paths
        for inside in (sorted(path.iterdir()) if path.is_dir() else [path])
    ]
    if table := served_tasks.table_of(paths):
        form.append(("table", (table.name, table.read_bytes())))
    return form


def post(server, task: str, files: list, query: str = "", **headers) -> requests.Response:
    return requests.post(url(server, task, query), files=files, headers=headers, timeout=120)


def tables_agree(answered: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Compares cell by cell; probabilities of layers are rounded to four digits.

    Names of single images are paths as the user gives them, which are other ones here.
    """
    assert answered.columns.tolist() == expected.columns.tolist()
    assert len(answered) == len(expected)
    for name in expected:
        if expected[name].isna().all():  # a CSV does not say of what kind its empty cells are
            assert answered[name].replace("", None).isna().all()
        elif pd.api.types.is_numeric_dtype(expected[name]) and expected[name].dtype != bool:
            np.testing.assert_allclose(
                answered[name].astype(float), expected[name], atol=1.1e-4, err_msg=name
            )
        else:
            pairs = zip(answered[name].fillna(""), expected[name].fillna(""), strict=True)
            assert all(Path(str(a)).name == Path(str(b)).name for a, b in pairs), name


@pytest.mark.parametrize("task", TASKS)
def test_the_rows_are_those_of_tfpipe_predict_in_every_form(server, raw, written, task):
    expected = pd.read_csv(written[task])
    assert len(expected) > 2
    files = parts(raw[task])
    answer = post(server, task, files).json()
    tables_agree(pd.DataFrame(answer["rows"], columns=answer["columns"]), expected)
    assert answer["task"] == task and answer["version"] == 1 and answer["skipped"] == {}
    csv = post(server, task, files, Accept="text/csv")
    assert csv.headers["content-type"].startswith("text/csv")
    tables_agree(pd.read_csv(io.StringIO(csv.text)), expected)
    parquet = post(server, task, files, Accept=PARQUET)
    tables_agree(pd.read_parquet(io.BytesIO(parquet.content)), expected)
    client = tfpipe.Client(server.url, model=task)
    table = client.analyze(raw[task], table=served_tasks.table_of(raw[task]))
    tables_agree(table, expected)
    assert table.attrs["skipped"] == {}


@pytest.mark.parametrize("task", TASKS)
def test_overlays_are_those_of_tfpipe_predict(server, raw, written, task):
    answer = post(server, task, parts(raw[task]), "?overlay=true", Accept="application/json").json()
    folder = written[task].with_suffix("")
    assert {f"{name}.png" for name in answer["overlays"]} == {p.name for p in folder.glob("*.png")}
    for name, encoded in answer["overlays"].items():
        image = decoded(encoded["b64"])
        expected = cv2.imread(str(folder / f"{name}.png"))
        assert image.shape == expected.shape
        assert np.abs(image.astype(int) - expected).mean() < 0.1


def decoded(base64_png: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(base64_png), np.uint8), cv2.IMREAD_COLOR)


def test_one_photo_as_the_body_has_its_overlay_as_a_png(server, raw, written):
    (photo, _), folder = raw["melt-layer"], written["melt-layer"].with_suffix("")
    where = url(server, "melt-layer", "?overlay=true&name=" + photo.name)
    response = requests.post(where, data=photo.read_bytes(), timeout=60)
    assert response.headers["content-type"] == "image/png"
    image = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[1] == cv2.imread(str(folder / f"{photo.stem}.png")).shape[1]


def test_depths_come_from_a_table_or_from_two_fields(server, raw, models, tmp_path):
    photo, table = raw["melt-layer"][0], raw["melt-layer"][0].parents[1] / "photos.csv"
    version = tfpipe.Version(models / "melt-layer" / "simple-cnn" / "1")
    expected = version.predict([photo], table=table)
    assert expected["depth_from_m"].notna().all()
    answer = post(server, "melt-layer", parts([photo]), "?windows=true").json()
    tables_agree(pd.DataFrame(answer["rows"]), expected)
    windows = tmp_path / "windows.csv"
    version.predict([photo], table=table, out=tmp_path / "out.csv", windows=windows)
    tables_agree(pd.DataFrame(answer["windows"]), pd.read_csv(windows))
    row = pd.read_csv(table).set_index("photo").loc[photo.name]
    where = url(
        server, "melt-layer", f"?name={photo.name}&top_m={row.top_m}&bottom_m={row.bottom_m}"
    )
    answer = requests.post(where, data=photo.read_bytes(), timeout=60).json()
    tables_agree(pd.DataFrame(answer["rows"]), expected)
    analyzed = tfpipe.Client(server.url, model="melt-layer").analyze(photo, table=table)
    tables_agree(analyzed, expected)


def test_modes_and_numbers_of_a_form_are_those_of_the_command(server, raw, models):
    photos, version = raw["melt-layer"], tfpipe.Version(models / "melt-layer" / "simple-cnn" / "1")
    answer = requests.post(
        url(server, "melt-layer"),
        files=parts(photos),
        data={"inference_mode": "windows"},
        timeout=60,
    ).json()
    table = served_tasks.table_of(photos)
    expected = version.predict(photos, inference_mode="windows", table=table)
    tables_agree(pd.DataFrame(answer["rows"], columns=answer["columns"]), expected)
    version = tfpipe.Version(models / "insolubles" / "simple-cnn" / "1")
    chosen = {"min_precision": 0.5, "conformal": 0.2, "embedding": True}
    expected = version.predict(raw["insolubles"], **chosen)
    analyzed = tfpipe.Client(server.url, model="insolubles").analyze(raw["insolubles"], **chosen)
    tables_agree(analyzed, expected)
    assert {"classes", "embedding_0"} <= {*analyzed.columns}


def test_files_that_cannot_be_read_are_named_and_never_left_out_silently(server, raw):
    files = [*parts(raw["melt-layer"]), ("file", ("bad.png", b"no image"))]
    answer = post(server, "melt-layer", files).json()
    assert answer["rows"] and "bad.png is damaged" in answer["skipped"]["bad.png"]
    refused = post(server, "melt-layer", files, Accept="text/csv")
    assert refused.status_code == 400
    assert "1 of 3 files could not be read" in refused.json()["error"]
    assert post(server, "melt-layer", files[-1:]).status_code == 400


PNG = server_process.png(np.zeros((60, 60), np.uint8))
BIG = server_process.png(np.zeros((5000, 5000), np.uint8))
OUTSIDE = b"photo,top_m,bottom_m\n../../../etc/passwd,1,2\n"
REFUSED = {  # files, query, headers -> status, words of the sentence
    "no file": ([("file", ("a.png", b""))], "", {}, 400, "empty"),
    "up": ([("file", ("../a.png", PNG))], "", {}, 400, "no name of a file"),
    "hidden up": ([("file", ("a/../../a.png", PNG))], "", {}, 400, "no name of a file"),
    "absolute": ([("file", ("/etc/a.png", PNG))], "", {}, 400, "no name of a file"),
    "windows": ([("file", ("C:\\a.png", PNG))], "", {}, 400, "no name of a file"),
    "turned": ([("file", ("gnp.\u202ea.png", PNG))], "", {}, 400, "no name of a file"),
    "deep": ([("file", ("a/" * 9 + "a.png", PNG))], "", {}, 400, "no name of a file"),
    "twice": ([("file", ("a.png", PNG))] * 2, "", {}, 400, "Two files are called a.png"),
    "both": (
        [("file", ("a", PNG)), ("file", ("a/b", PNG))],
        "",
        {},
        400,
        "a file and a folder",
    ),
    "bomb": ([("file", ("a.png", BIG))], "", {}, 413, "megapixels"),
    "many": ([("file", (f"{i}.png", PNG)) for i in range(600)], "", {}, 413, "512 files"),
    "field": ([("file", ("a.png", PNG))], "?option=side=1", {}, 400, "There is no field 'option'"),
    "boolean": ([("file", ("a.png", PNG))], "?overlay=yes", {}, 400, "true or false"),
    "number": ([("file", ("a.png", PNG))], "?conformal=nan", {}, 400, "from 0 to 0.5"),
    "mode": ([("file", ("a.png", PNG))], "?inference_mode=x", {}, 400, "No inference mode"),
    "depth": ([("file", ("a.png", PNG))], "?top_m=2&bottom_m=1", {}, 400, "not below"),
    "form": ([("file", ("a.png", PNG))], "", {"Accept": "text/html"}, 406, "Accept has none"),
    "png": ([("file", ("a.png", PNG))], "", {"Accept": "image/png"}, 406, "overlay=true"),
    "table": (
        [("file", ("a.png", PNG)), ("table", ("photos.csv", OUTSIDE))],
        "",
        {},
        400,
        "photos.csv",
    ),
    "empty table": (
        [("file", ("a.png", PNG)), ("table", ("photos.csv", b""))],
        "",
        {},
        400,
        "photos.csv",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_uploads_are_refused_in_one_sentence_without_our_paths(server, temporary, case):
    files, query, headers, status, words = REFUSED[case]
    response = post(server, "melt-layer", files, query, **headers)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    sentence = response.json()["error"]
    assert words in sentence and len(sentence) < 600
    assert str(temporary) not in sentence and "tfpipe-uploads" not in sentence


def test_a_table_cannot_name_a_file_of_the_server(server, temporary):
    secret = temporary / "secret.png"
    secret.write_bytes(server_process.png(np.full((40, 40), 200, np.uint8)))
    for name in (str(secret), "../" * 6 + str(secret), "../../../secret.png"):
        listing = f"imgpaths,diameter_abd_um\n{name},1\n".encode()
        files = [("file", ("a.png", PNG)), ("table", ("list.csv", listing))]
        response = post(server, "insolubles", files)
        assert response.status_code == 400, response.text


def test_progress_precedes_the_result_and_a_refusal_is_an_event(server, raw):
    events = list(events_of(post(server, "melt-layer", parts(raw["melt-layer"]), **EVENTS)))
    names = [name for name, _ in events]
    assert names[-1] == "result" and set(names[:-1]) == {"progress"}
    assert max(progress["images"] for _, progress in events[:-1]) > 100
    assert events[-1][1] == post(server, "melt-layer", parts(raw["melt-layer"])).json()
    events = list(events_of(post(server, "melt-layer", [("file", ("a.png", PNG))], **EVENTS)))
    assert events[-1][0] == "error" and events[-1][1]["status"] == 400
    assert "no core was found" in events[-1][1]["error"]


def events_of(response: requests.Response):
    for event in response.text.split("\n\n"):
        lines = [line for line in event.splitlines() if line and not line.startswith(":")]
        if lines:
            yield lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


def test_a_job_is_answered_where_its_location_says(server, raw):
    prefer = {"Prefer": "respond-async", "Accept": "text/csv"}
    begun = post(server, "melt-layer", parts(raw["melt-layer"]), **prefer)
    assert begun.status_code == 202
    where = server.url + begun.headers["Location"]
    response = wait_for_job(where)
    assert response.status_code == 200
    assert (
        response.text
        == post(server, "melt-layer", parts(raw["melt-layer"]), Accept="text/csv").text
    )
    assert requests.get(where, timeout=60).text == response.text
    assert requests.delete(where, timeout=60).status_code == 204
    assert requests.get(where, timeout=60).status_code == 404
    begun = post(server, "melt-layer", [("file", ("a.png", PNG))], **prefer)
    failed = wait_for_job(server.url + begun.headers["Location"])
    assert failed.status_code == 400 and "no core was found" in failed.json()["error"]


def wait_for_job(where: str) -> requests.Response:
    end = time.monotonic() + 60
    while (response := requests.get(where, timeout=60)).status_code == 202:
        assert response.json()["state"] in ("waiting", "running")
        assert time.monotonic() < end
        time.sleep(0.05)
    return response


def test_many_clients_get_the_rows_of_their_own_files(server, raw, written):
    files = {task: parts(raw[task]) for task in TASKS}

    def ask(number: int) -> bool:
        task = TASKS[number % len(TASKS)]
        answer = post(server, task, files[task])
        tables_agree(pd.DataFrame(answer.json()["rows"]), pd.read_csv(written[task]))
        return True

    with ThreadPoolExecutor(12) as executor:
        assert sum(executor.map(ask, range(24))) == 24


def test_what_looks_like_no_training_image_is_called_new(server, raw, written):
    for task in ("insolubles", "ccd-tracks"):
        answer = post(server, task, parts(raw[task])).json()
        expected = pd.read_csv(written[task])
        count = len(expected)
        assert answer["novelty"] == {"images": count, "new": count}
        assert all(row["new"] for row in answer["rows"]) and expected["new"].all()
        assert f"{count} of {count} images look like none" in " ".join(answer["notes"])
    answer = post(server, "melt-layer", parts(raw["melt-layer"]), "?windows=true").json()
    count = len(answer["windows"])
    assert answer["novelty"] == {"images": count, "new": count}
    assert all(window["new"] for window in answer["windows"])
    assert f"{count} of {count} windows look like none" in " ".join(answer["notes"])
    rng = np.random.default_rng(5)
    ordinary, grey = rng.integers(0, 255, (50, 200, 3)), np.full((50, 200, 3), 90)
    instances = [
        server_process.b64(server_process.png(i.astype(np.uint8))) for i in (ordinary, grey)
    ]
    explained = server.ask("/v1/models/melt-layer:explain", {"instances": instances})[1]
    assert [one["new"] for one in explained["explanations"]] == [False, True]
    # By the embedding: the share of validation images that are less new.
    shares = [one["novelty"] for one in explained["explanations"]]
    assert 0 < shares[0] < shares[1] == 1


def wait_until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def waiting(server) -> float:
    lines = server.ask("/metrics")[1].splitlines()
    return float(next(line for line in lines if line.startswith("tfpipe_waiting ")).split()[1])


def test_what_a_client_leaves_behind_vanishes(server, raw, temporary):
    form = requests.Request("POST", url(server, "melt-layer"), files=parts(raw["melt-layer"]))
    prepared = form.prepare()
    head = "POST /v1/models/melt-layer:analyze HTTP/1.1\r\nHost: x\r\n"
    head += f"Content-Length: {len(prepared.body)}\r\n"
    head += f"Content-Type: {prepared.headers['Content-Type']}\r\n\r\n"
    for sent in (len(prepared.body), len(prepared.body) // 2):
        for _ in range(4):
            with socket.create_connection((server.host, server.port)) as connection:
                connection.sendall(head.encode() + prepared.body[:sent])
    wait_until(lambda: waiting(server) == 0)
    wait_until(lambda: not list(temporary.glob("tfpipe-uploads-*/*")))
    assert server.process.poll() is None


def test_folders_of_uploads_vanish_with_their_server(models, tmp_path):
    with server_process.running(models, "melt-layer", TMPDIR=str(tmp_path)) as server:
        assert len(list(tmp_path.glob("tfpipe-uploads-*"))) == 2  # the folder and its lock
        server.process.kill()
        server.process.wait()
    (folder,) = [path for path in tmp_path.glob("tfpipe-uploads-*") if path.is_dir()]
    with server_process.running(models, "melt-layer", TMPDIR=str(tmp_path)) as server:
        assert not folder.exists()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    assert not list(tmp_path.glob("tfpipe-uploads-*"))


def test_a_token_is_needed(models, raw, tmp_path):
    environment = {"TMPDIR": str(tmp_path), "TFPIPE_TOKEN": "secret"}
    with server_process.running(models, "melt-layer", **environment) as server:
        files = parts(raw["melt-layer"])
        assert post(server, "melt-layer", files).status_code == 401
        assert server.ask("/v1/jobs/x")[0] == 401
        client = tfpipe.Client(server.url, token="secret")
        assert len(client.analyze(raw["melt-layer"]))
        with pytest.raises(UserError, match="refuses the request: The token is missing"):
            tfpipe.Client(server.url, model="melt-layer").analyze(raw["melt-layer"])


def test_a_large_folder_is_sent_in_several_requests(server, raw, monkeypatch):
    monkeypatch.setattr("tfpipe.serving.client.MAX_UPLOAD_BYTES", 1000)
    client = tfpipe.Client(server.url, model="ccd-tracks")
    together = client.analyze(raw["ccd-tracks"])
    monkeypatch.undo()
    tables_agree(together, client.analyze(raw["ccd-tracks"]))
    with pytest.raises(UserError, match="There is no file to analyze"):
        client.analyze([])
    with pytest.raises(UserError, match="no.fits does not exist"):
        client.analyze("no.fits")


RESULT = "document.querySelector('#results article')"
TEXT = f"{RESULT}.innerText"


@pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no chromium here")
def test_the_page_shows_layers_tracks_and_particles(server, raw, written, tmp_path):
    table = raw["melt-layer"][0].parents[1] / "photos.csv"
    given = {
        "melt-layer": ("#files", [raw["melt-layer"][0], table]),
        "ccd-tracks": ("#files", raw["ccd-tracks"][:1]),
        "insolubles": ("#folder", raw["insolubles"]),
    }
    with browser.opened(f"{server.url}/", tmp_path / "profile") as page:
        page.wait("typeof dropZone === 'object'")
        for task, (selector, paths) in given.items():
            page.value("byId('results').replaceChildren()")
            page.value(f"byId('model').value = '{task}'")
            page.attach(selector, paths)
            page.wait(f"!!{RESULT}?.querySelector('.rows, .error')")
            assert page.value(f"{RESULT}.querySelector('.error')?.textContent") is None
            expected = pd.read_csv(written[task])
            if task == "melt-layer":
                expected = expected[expected["photo"] == paths[0].name]
            elif task == "ccd-tracks":
                expected = expected[expected["file"] == paths[0].name]
            rows = f"{RESULT}.querySelectorAll('.rows tbody tr').length"
            assert page.value(rows) == len(expected)
            page.wait(
                f"[...{RESULT}.querySelectorAll('img')].every(image => image.naturalWidth > 50)"
            )
            csv = page.value("toCsv(['a'], [{a: '=1'}])")
            assert csv == "a\n'=1\n"
            assert page.value(f"{RESULT}.querySelector('a[download]').download").endswith(".csv")
            if task == "melt-layer":
                first = page.value(f"{RESULT}.querySelector('.rows td:nth-child(2)').textContent")
                assert float(first) > 100  # its depth in metres is in the table
            else:
                for name in served_tasks.CLASSES[task]:
                    assert name in page.value(TEXT)


@pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no chromium here")
def test_the_page_says_that_another_picture_is_none_of_the_task(server, raw, tmp_path):
    other, window = tmp_path / "other.png", tmp_path / "window.png"
    other.write_bytes(server_process.png(np.full((300, 300), 90, np.uint8)))
    window.write_bytes(server_process.png(np.full((50, 200), 90, np.uint8)))
    with browser.opened(f"{server.url}/", tmp_path / "profile") as page:
        page.wait("typeof dropZone === 'object'")
        page.value("byId('model').value = 'melt-layer'")
        page.attach("#files", [other])
        assert "no core was found" in page.wait(f"{RESULT}?.querySelector('.error')?.textContent")
        assert "1.000" not in page.value(TEXT)
        page.value("byId('results').replaceChildren()")
        page.attach("#files", [window])
        page.wait(f"!!{RESULT}?.querySelector('.new')")
        assert page.value(TEXT).startswith("window.png\n\nNew: it looks like none of the images")
        assert page.value(f"{RESULT}.querySelector('table')") is None  # of probabilities
        page.value("byId('results').replaceChildren()")
        page.value("byId('model').value = 'insolubles'")
        page.attach("#folder", raw["insolubles"])
        assert "looks like nothing" in page.wait(f"{RESULT}?.querySelector('.new')?.textContent")
