"""The order of a review: looked for in the background, kept, and put up without moving anything."""

import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_manifest import made_manifest

from tfpipe.base.errors import UserError
from tfpipe.data.dataset import Dataset
from tfpipe.explore.novelty import ModelOutputs
from tfpipe.review import cache, ranking
from tfpipe.review.background import BackgroundScoring
from tfpipe.review.cache import CHUNK, OutputCache
from tfpipe.review.records import stored_probabilities

CLASSES = ("ash", "dust", "soot")
COUNT = 2 * CHUNK + 30  # pictures: three batches, the last one short
WHOLE = ModelOutputs(
    np.arange(COUNT * 2.0).reshape(COUNT, 2), np.arange(COUNT * 3.0).reshape(COUNT, 3)
)


class Model:
    """Stands for a network: tells of each batch that it is shown, and may be stopped."""

    def __init__(self, stop_at: int = 99):
        self.shown, self.stop_at = [], stop_at

    def __call__(self, model, data, *, chosen, report):
        rows = np.flatnonzero(chosen)
        for begin in range(0, len(rows), CHUNK):
            if len(self.shown) == self.stop_at:
                raise KeyboardInterrupt
            own = rows[begin : begin + CHUNK]
            self.shown.append(int(own[0]))
            report("embed", {"done": begin + len(own), "total": len(rows)})
            yield ModelOutputs(WHOLE.embedding[own], WHOLE.logits[own])


def opened(version: Path, *, sha256="a", fingerprint="f") -> OutputCache:
    data = Dataset(Path(), made_manifest(fingerprint=fingerprint, classes=CLASSES), "accuracy")
    return OutputCache(version, sha256=sha256, data=data, count=COUNT)


def seen(found: OutputCache, monkeypatch, model: Model) -> list[tuple[int, int]]:
    """Returns what is told of the progress; all must be seen as by one who sees all at once."""
    monkeypatch.setattr(cache.embeddings, "compute_batches", model)
    told = []
    got = found.outputs(lambda: None, progress=lambda done, total: told.append((done, total)))
    for name in ("embedding", "logits"):
        np.testing.assert_array_equal(getattr(got, name), getattr(WHOLE, name))
    return told


def test_what_was_seen_before_a_kill_is_not_looked_at_again(tmp_path, monkeypatch):
    version = tmp_path / "cnn" / "1"
    with pytest.raises(KeyboardInterrupt):
        seen(opened(version), monkeypatch, Model(stop_at=1))
    again = Model()
    assert seen(opened(version), monkeypatch, again) == [(2 * CHUNK, COUNT), (COUNT, COUNT)]
    assert again.shown == [CHUNK, 2 * CHUNK]
    third = opened(version)
    assert not third.is_complete, "the folds are not kept yet"
    held_out = np.linspace(0, 1, COUNT * len(CLASSES)).reshape(COUNT, -1)
    assert third.held_out(lambda: held_out).tolist() == held_out.tolist()
    last, made = opened(version), Model()
    assert last.is_complete and not seen(last, monkeypatch, made) and made.shown == []
    last.outputs(lambda: 1 / 0, progress=None)
    assert last.held_out(lambda: 1 / 0).tolist() == held_out.tolist()


def test_that_no_group_can_be_held_out_is_kept_too(tmp_path):
    assert opened(tmp_path / "cnn" / "1").held_out(lambda: None) is None
    assert opened(tmp_path / "cnn" / "1").held_out(lambda: 1 / 0) is None


def test_a_damaged_batch_is_looked_at_again_and_those_of_other_records_are_removed(
    tmp_path, monkeypatch
):
    version = tmp_path / "cnn" / "1"
    seen(opened(version), monkeypatch, Model())
    first, second, last = sorted(tmp_path.rglob("*.npz"))
    second.write_bytes(second.read_bytes()[:-40])
    last.write_bytes(first.read_bytes())  # of another length
    again = Model()
    seen(opened(version), monkeypatch, again)
    assert again.shown == [CHUNK, 2 * CHUNK]
    other = tmp_path / "cnn" / "12"
    seen(opened(other), monkeypatch, Model())
    for changed in ({"sha256": "b"}, {"fingerprint": "g"}):
        model = Model()
        seen(opened(version, **changed), monkeypatch, model)
        assert len(model.shown) == 3
    assert len([*tmp_path.rglob("*.npz")]) == 6, "three of each version"


def test_where_nothing_can_be_kept_the_review_goes_on(tmp_path, monkeypatch, caplog):
    version = tmp_path / "cnn" / "1"
    (tmp_path / "cnn").write_text("a file where a folder should be")
    seen(opened(version), monkeypatch, Model())
    assert len(caplog.messages) == 1 and "cannot be written" in caplog.text


def test_what_a_version_was_tested_with_is_known_before_anything_is_looked_at(tmp_path):
    frame = pd.DataFrame({"key": ["a", "b", "=c"]})
    manifest = made_manifest(classes=("ash", "dust"))
    assert np.isnan(stored_probabilities(tmp_path, frame, manifest)).all()
    (tmp_path / "assets.extra").mkdir()
    table = tmp_path / "assets.extra" / "predictions.csv"
    table.write_text("split,key,group,label,p_dust,p_ash\ntest,'=c,g,0,0.4,0.6\ntest,b,g,1,1,0\n")
    likely = stored_probabilities(tmp_path, frame, manifest)
    np.testing.assert_array_equal(likely, [[np.nan, np.nan], [0, 1], [0.6, 0.4]])
    told = ranking.score_probabilities(likely)
    assert told.uncertainty == pytest.approx([0, 0, 0.8])
    ordered, reason = ranking.order([told.label_suspicion, told.uncertainty, told.novelty])
    assert ordered[0] == 2 and reason.tolist() == [-1, -1, 1]


def test_a_class_that_reviewers_have_begun_is_not_suspected():
    rows = np.tile([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]], (20, 1))
    labels = np.tile([0, 1], 20)
    labels[4] = 2  # which no fold has learnt
    seen = ModelOutputs(np.eye(2)[np.tile([0, 1], 20)], np.log(rows + 1e-9))
    told = ranking.score_images(seen, rows, labels=labels, is_training=np.zeros(40, bool))
    assert told.label_suspicion[4] == 0 and told.suggested_label[4] == -1


class Ranked:
    """A queue that notes what it is ranked by."""

    progress = ""

    def __init__(self):
        self.by = []

    def rank(self, told) -> None:
        self.by.append(told)


def test_a_queue_says_what_is_looked_at_and_takes_its_order_once():
    queue, said, goes_on = Ranked(), [], threading.Event()

    def look(progress):
        progress(1_280, 3_122)
        said.append(queue.progress)
        assert goes_on.wait(60)
        return "all"

    with BackgroundScoring(
        queue, look, report=lambda stage, info: said.append((info["done"], info["total"]))
    ) as looking:
        assert queue.progress and queue.by == [], "reviewing begins at once"
        goes_on.set()
        looking.wait()
        assert queue.by == ["all"] and queue.progress == ""
    assert said[0] == (1_280, 3_122) and "1,280 of 3,122" in said[1]
    with BackgroundScoring(queue, None):
        assert queue.progress == ""


def test_looking_ends_with_the_review(tmp_path):
    begun, queue = threading.Event(), Ranked()

    def look(progress):
        while True:
            progress(0, 1)
            begun.set()

    with BackgroundScoring(queue, look):
        assert begun.wait(60)
    assert queue.by == []


@pytest.mark.parametrize("error", [UserError("The disk is gone."), ValueError("a bug")])
def test_that_looking_failed_is_told_on_the_page(error, caplog):
    queue = Ranked()

    def look(progress):
        raise error

    with BackgroundScoring(queue, look) as looking:
        looking.wait()
    assert "the order stays" in queue.progress and queue.by == []
    assert ("The disk is gone." in queue.progress) == isinstance(error, UserError)
    assert ("Traceback" in caplog.text) == isinstance(error, ValueError)
