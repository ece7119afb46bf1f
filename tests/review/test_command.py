"""`tfpipe review` as people start it: two reviewers at once, a disk that is full, and a kill."""

import json
import resource
import threading
import urllib.request
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import subprocesses
from made_card import write_card
from run_command import run

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.base.progress import silent
from tfpipe.data import manifest as data_manifest
from tfpipe.data import pack
from tfpipe.models import MODELS
from tfpipe.models.spec import Spec
from tfpipe.review import decision_desk, queue_table
from tfpipe.review.photo_queue import PhotoQueue
from tfpipe.tasks import catalog
from tfpipe.tasks.annotations import decisions
from tfpipe.tasks.splits import SplitConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets"),
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no limits on other processes"),
]
CLASSES = ("ash", "dust")
SPARE_BYTES = 3_000  # of decisions before the disk is full: some thirty
SMALL = {"filters": 2, "conv_layers": 1, "dense_units": 4}


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """A folder of pictures, packed, and a version of them."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
            path = tmp_path / "photos" / name / f"{i:02d}.png"
            cv2.imwrite(str(path), cv2.resize(coarse, (32, 32)))
    task = catalog.find("./photos")
    folder = tmp_path / "data" / "records" / task.name
    manifest = pack.pack(
        task,
        task.raw_files.folder,
        folder,
        options=task.options,
        split=SplitConfig((0.5, 0.25, 0.25), "b"),
    )
    stats = {name: tuple(values) for name, values in data_manifest.read_stats(folder).items()}
    spec = Spec(tuple(manifest.image_shape), CLASSES, **stats)
    extra = tmp_path / "saved_models" / task.name / "simple-cnn" / "1" / "assets.extra"
    extra.mkdir(parents=True)
    MODELS["simple-cnn"](spec, **SMALL).save(extra / "model.keras")
    write_card(
        extra.parent,
        classes=CLASSES,
        spec=spec,
        data=manifest.summary,
        sha256={"assets.extra/model.keras": files.sha256(extra / "model.keras")},
    )
    return tmp_path / "photos"


class Reviewer(threading.Thread):
    """Decides about one picture after the other until that is refused or nobody answers."""

    def __init__(self, address: str, who: str, label: str, ids: list[int]):
        super().__init__()
        self.address, self.who, self.label, self.ids = address, who, label, ids
        self.saved, self.refused = [], None

    def run(self) -> None:
        for i in range(10_000):
            said = {"who": self.who, "id": self.ids[i % len(self.ids)], "label": self.label}
            data = json.dumps(said | {"action": "label"}).encode()
            request = urllib.request.Request(
                f"{self.address}decide", data, {"Content-Type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    self.saved.append(json.load(answer)["key"])
            except urllib.error.HTTPError as error:
                with error:
                    self.refused = json.load(error)["error"]
                return
            except OSError:  # the process is gone
                return


def asked(address: str, path: str) -> dict:
    with urllib.request.urlopen(address + path, timeout=60) as answer:
        return json.load(answer)


def test_two_reviewers_a_full_disk_and_a_kill_lose_nothing_that_was_saved(photos):
    words = ("review", "./photos", "--port", "0", "--no-open", "--json")
    process = subprocesses.Process("tfpipe", *words)
    try:
        address = json.loads(process.stdout.readline())["address"]
        ids = [one["id"] for one in asked(address, "queue")["items"]]
        assert len(ids) == 24

        def both() -> list[Reviewer]:
            given = (("Ada", "ash"), ("Bo", "dust"))
            made = [Reviewer(address, who, label, ids) for who, label in given]
            for one in made:
                one.start()
            return made

        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (SPARE_BYTES, most))
        first = both()
        for one in first:
            one.join()
            assert "was not saved" in one.refused and "File too large" in one.refused
        known = decisions.read(photos)
        saved = Counter((one.who, key) for one in first for key in one.saved)
        assert Counter((one.who, one.what) for one in known.lines) == saved
        assert saved.total() > 10 and not known.notes
        told = {one["key"]: (one["label"], one["who"]) for one in asked(address, "queue")["items"]}
        last = {one.what: (one.label, one.who) for one in known.lines}
        assert last.items() <= told.items(), "the latest holds, for both"

        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        again = both()
        while any(len(one.saved) < 30 for one in again):
            assert all(one.is_alive() for one in again)
        process.kill()
        for one in again:
            one.join()
            assert one.refused is None
    finally:
        process.kill()
        process.wait()
        process.close()
    after = decisions.read(photos)
    assert repr(after.lines[: len(known.lines)]) == repr(known.lines)  # nan is not nan
    found = Counter((one.who, one.what) for one in after.lines)
    saved += Counter((one.who, key) for one in again for key in one.saved)
    assert saved <= found
    assert found.total() - saved.total() <= 2, "one of each may have been on its way"
    assert len(after.notes) <= 1


def test_the_queue_is_written_as_a_table_with_images_and_what_reviewers_decided(photos):
    first = run("review", "./photos", "--queue", "queue.csv")
    assert (first["images"], first["model"]) == (24, "simple-cnn")
    table = pd.read_csv("queue.csv", keep_default_na=False)
    assert table["rank"].tolist() == [*range(1, 25)]
    raw = {path.relative_to(photos).as_posix(): path for path in photos.glob("*/*.png")}
    assert {*table["key"]} == {*raw} and (
        table["label"] == table["key"].str[:3].map({"ash": "ash", "dus": "dust"})
    ).all()
    for row in table.itertuples():
        assert (cv2.imread(row.filepath) == cv2.imread(str(raw[row.key]))).all()
    np.testing.assert_allclose(table["p_ash"] + table["p_dust"], 1, atol=1e-5)
    likeliest = np.where(table["p_dust"] > table["p_ash"], "dust", "ash")
    assert (table["predicted"] == likeliest).all()
    assert table["label_quality"].between(0, 1).all() and {*table["suggested_label"]} <= {*CLASSES}

    desk = decision_desk.DecisionDesk(photos, decisions.NAME, "simple-cnn/1")
    other = "dust" if table["label"][0] == "ash" else "ash"
    desk.decide("Ada", ("", table["key"][0]), label=other, action="label")
    run("review", "./photos", "--queue", "queue.csv")
    again = pd.read_csv("queue.csv").set_index("key")
    assert again.loc[table["key"][0], ["label", "state"]].tolist() == [other, "validated"]
    assert (again["state"] == "validated").sum() == 1


def test_a_queue_of_whole_photos_and_a_table_of_another_kind_are_refused(photos):
    for name in ("photos.csv", "photos/queue.csv"):
        with pytest.raises(UserError, match="among the raw files of the task"):
            run("review", "./photos", "--queue", name)
    assert {path.name for path in photos.iterdir()} == {*CLASSES}
    with pytest.raises(UserError, match=r"queue\.tsv does not end in \.csv"):
        run("review", "./photos", "--queue", "queue.tsv")
    with pytest.raises(UserError, match="reviewed in whole photos.*tfpipe labels TASK --to"):
        queue_table.write(PhotoQueue.__new__(PhotoQueue), None, photos / "q.csv", report=silent)
    assert not list(photos.parent.glob("q*"))
