"""Inspection of new images: what is drawn, what judges can know, and what the report says."""

import getpass
import json
import os
import re
import shutil
import sys
import urllib.request
from dataclasses import asdict, replace
from pathlib import Path

import browser
import cv2
import numpy as np
import pandas as pd
import pytest
from made_card import write_card
from review_queue import served
from typer.testing import CliRunner

import tfpipe
from tfpipe.base.errors import UserError
from tfpipe.base.files import shown
from tfpipe.cli import app
from tfpipe.cli import inspect as cli_inspect
from tfpipe.data.manifest import RecordSummary
from tfpipe.registry import store
from tfpipe.review import app as review_app
from tfpipe.review import inspection_report, inspection_run, inspection_sample
from tfpipe.review.inspection_queue import InspectionQueue
from tfpipe.review.inspection_sample import UNIDENTIFIABLE, InspectionFolder
from tfpipe.tasks import catalog
from tfpipe.version import Prediction, Version

CLASSES = ("ash", "dust", "pollen")
COUNTS = {"ash": 60, "dust": 30, "pollen": 6}  # new images predicted as each class
SAYS = "document.querySelector('#message')?.textContent"
NO_BROWSER = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no chromium on this machine to open it with"
)


@pytest.fixture(scope="module")
def version(tmp_path_factory) -> Path:
    """A version's card, and its predictions of test images: .8 of each class are right."""
    folder = tmp_path_factory.mktemp("models") / "photos" / "simple-cnn" / "2"
    options = {"size": "12x12", "channels": "grey", "fit": "stretch", "bits": 8}
    data = {"fingerprint": "", "origin": str(tmp_path_factory.getbasetemp() / "nowhere")}
    write_card(
        folder,
        task="photos",
        classes=CLASSES,
        version=2,
        options=options,
        data=RecordSummary(**data),
    )
    rows = []
    for split in ("validation", "test"):
        for i in range(150):
            predicted = i % 3
            label = predicted if i % 15 < 12 else (predicted + 1) % 3
            probabilities = np.full(3, 0.02)
            probabilities[predicted] = 0.96 if i % 15 < 9 else 0.8
            rows.append((split, f"{split}{i}", f"{split}{i}", label, *probabilities))
    names = ["split", "key", "group", "label", *(f"p_{name}" for name in CLASSES)]
    path = folder / "assets.extra" / "predictions.csv"
    pd.DataFrame(rows, columns=names).to_csv(path, index=False)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A class folder, as the task, and new images whose folders are called as their classes."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        for place, size in (("photos", 3), ("new", count)):
            (root / place / name).mkdir(parents=True)
            for i in range(size):
                image = rng.integers(0, 256, (12, 12), np.uint8)
                cv2.imwrite(str(root / place / name / f"{name}-{i}.png"), image)
    return root


def predict(paths, *, out: Path, options) -> Prediction:
    """Writes what `predict` does: each image is predicted as its folder is called."""
    files = sorted(path for folder in paths for path in Path(folder).rglob("*.png"))
    rows = []
    for i, path in enumerate(files):
        probabilities = {f"p_{name}": float(name == path.parent.name) for name in CLASSES}
        rows.append(
            {"key": shown(path), "group": shown(path), "label": path.parent.name}
            | {"abstain": i % 2 == 1}
            | probabilities
        )
    out.with_suffix("").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(out)
    counts = pd.DataFrame({"class": CLASSES, "adjusted": 32.0})
    counts.to_csv(out.with_suffix("") / "counts.csv", index=False)
    return Prediction(out, len(rows), len(files))


def draw(version, photos, out=None, **changes) -> InspectionFolder:
    task = catalog.find(str(photos / "photos"))
    arguments = {"predict": predict, "per_class": 10, "out": out} | changes
    paths = arguments.pop("paths", [photos / "new"])
    return inspection_run.open_or_draw(task, version, paths, **arguments)


@pytest.fixture(scope="module")
def drawn(version, photos) -> InspectionFolder:
    return draw(version, photos)


@pytest.fixture
def folder(version, photos, tmp_path) -> InspectionFolder:
    return draw(version, photos, tmp_path / "inspection")


def predicted_of(folder: InspectionFolder) -> list[str]:
    """Returns the predicted class of each drawn image, in the order of the page."""
    by_key = folder.predictions.set_index("key")["label"]
    return by_key[folder.sample["key"]].tolist()


def test_images_are_drawn_by_class_and_all_of_a_rare_one(drawn, version, photos, tmp_path):
    assert drawn.path == version.with_name("inspect-2-new")
    counts = pd.Series(predicted_of(drawn)).value_counts().to_dict()
    assert counts == {"ash": 10, "dust": 10, "pollen": 6}
    again, other = (draw(version, photos, tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert again.sample.equals(drawn.sample) and not other.sample.equals(drawn.sample)
    stored = cv2.imread(str(drawn.path / "images" / "01.png"), cv2.IMREAD_GRAYSCALE)
    raw = cv2.imread(drawn.sample["key"][0], cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(stored, raw)


def test_a_drawn_inspection_is_opened_as_it_is(drawn, version, photos):
    never = {"predict": None, "per_class": None}
    assert draw(version, photos, paths=[], **never).plan == drawn.plan
    assert draw(version, photos, **never).sample.equals(drawn.sample)
    for wrong, word in (
        ({"per_class": 9}, "--per-class"),
        ({"options": {"size": "8x8"}}, "--option"),
        ({"seed": 1}, "--seed"),
        ({"paths": [photos / "new" / "ash"], "out": drawn.path}, "files"),
    ):
        with pytest.raises(UserError, match=f"holds an inspection .* with other {word}"):
            draw(version, photos, **({"predict": None} | wrong))
    newer = version.with_name("5")
    with pytest.raises(UserError, match=r"of simple-cnn 2 \(10 .* Give --version 2 to go on with"):
        draw(newer, photos, drawn.path, predict=None)
    with pytest.raises(UserError, match="Give --version 2 and leave out --per-class to go on"):
        draw(newer, photos, drawn.path, predict=None, per_class=3)
    with pytest.raises(UserError, match="Name the new files"):
        draw(version.with_name("3"), photos, paths=[], predict=None)
    with pytest.raises(UserError, match="predicts whole files"):
        inspection_run.open_or_draw(catalog.find("melt-layer"), version, [], predict=predict)


def test_a_drawing_that_was_stopped_is_begun_anew(version, photos, tmp_path):
    with pytest.raises(UserError, match="no longer in the new files"):
        draw(version, photos, tmp_path / "a", predict=_of_a_file_that_is_gone)
    assert inspection_sample.open_folder(tmp_path / "a") is None
    assert len(draw(version, photos, tmp_path / "a").sample) == 26


def test_images_of_one_name_are_refused(version, photos, tmp_path):
    def twice(paths, *, out: Path, options):
        predict(paths, out=out, options=options)
        frame = pd.read_parquet(out)
        pd.concat([frame, frame.head(2)]).to_parquet(out)
        return Prediction(out, len(frame) + 2, len(frame))

    with pytest.raises(UserError, match="Two new images are called .*, and 2 names occur twice"):
        draw(version, photos, tmp_path / "a", predict=twice)


def _of_a_file_that_is_gone(paths, *, out: Path, options) -> Prediction:
    made = predict(paths, out=out, options=options)
    frame = pd.read_parquet(out)
    frame["key"] = frame["key"].str.replace("ash-", "gone-")
    frame[frame["label"] != "dust"].to_parquet(out)
    return made


def asked(address: str, path: str, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def test_nothing_that_a_judge_gets_tells_the_prediction(folder, version):
    queue = InspectionQueue(folder, judge="Ada")
    answer = {"who": "Ada", "id": 3, "action": "label", "label": "dust"}
    with served(queue) as address:
        page = asked(address, "")
        entries = json.loads(asked(address, "queue"))
        texts = [asked(address, "decide", answer), asked(address, "news?lines=0")]
        texts += [asked(address, "undo", {"who": "Ada"}), asked(address, "thumbnails?ids=3,4")]
    fields = {"id", "key", "state", "label", "who"}
    assert all(entry.keys() == fields for entry in entries["items"])
    assert {(one["state"], one["label"]) for one in entries["items"]} == {("predicted", "")}
    texts += [json.dumps(entries), page]
    for name in (*folder.sample["key"], "-0.png", "simple-cnn", str(version)):
        assert not any(name in text for text in texts), name
    settings = json.loads(re.search(r'id="page-data">(.*?)</script>', page)[1])
    assert settings["labels"] == [*CLASSES, UNIDENTIFIABLE], "names of classes, and where no others"
    assert "source:" not in page.partition("<script>")[0]
    assert {*folder.sample} == {"image", "key", "group"}
    stored = [path.name for path in sorted((folder.path / "images").iterdir())]
    assert stored == [f"{i:02d}.png" for i in range(1, 27)]


def test_the_order_does_not_tell_the_prediction(version, photos, tmp_path):
    changes = []
    for seed in range(12):
        order = predicted_of(draw(version, photos, tmp_path / str(seed), seed=seed))
        changes.append(sum(a != b for a, b in zip(order, order[1:], strict=False)))
    # Of 26 images in a random order, 25 * (1 - (90 + 90 + 30) / (26 * 25)) neighbours differ.
    expected = 25 * (1 - 210 / 650)
    assert abs(np.mean(changes) - expected) < 4 * np.std(changes, ddof=1) / np.sqrt(12)


def test_judges_have_files_of_their_own(folder):
    ada, bo = (InspectionQueue(folder, judge=judge) for judge in ("Ada", "Bo"))
    ada.decide(0, who="whoever", action="label", label="ash")
    bo.decide(0, who="whoever", action="label", label=UNIDENTIFIABLE)
    assert ada.queue()[0]["label"] == "ash" and bo.queue()[0]["label"] == UNIDENTIFIABLE
    assert len(ada.desk.log().lines) == 1 and ada.desk.log().lines[0].who == "Ada"
    assert folder.judges == ["Ada", "Bo"]
    for wrong in ("label", "draw"), ("accept", "ash"), ("label", "ashes"):
        with pytest.raises(UserError):
            ada.decide(1, who="Ada", action=wrong[0], label=wrong[1] if wrong[1] != "draw" else "")
    with pytest.raises(UserError, match="no image"):
        ada.decide(26, who="Ada", action="label", label="ash")
    for name in ("", "../Ada", "a/b", ".hidden", "x" * 61, "new\nline"):
        with pytest.raises(UserError, match="cannot name a file"):
            inspection_sample.judge_name(name)
    assert inspection_sample.judge_name(" Ada  Bo ") == "Ada  Bo"


def judge(folder: InspectionFolder, name: str, *, wrong: int, unnamed: int = 0) -> None:
    """Answers as was predicted, but otherwise for the first of each class."""
    queue, count = InspectionQueue(folder, judge=name), dict.fromkeys(CLASSES, 0)
    for row, label in enumerate(predicted_of(folder)):
        i = count[label]
        count[label] += 1
        other = CLASSES[(CLASSES.index(label) + 1) % 3]
        answer = other if i < wrong else UNIDENTIFIABLE if i < wrong + unnamed else label
        queue.decide(row, who=name, action="label", label=answer)


def test_the_report_weights_classes_and_compares_with_what_was_claimed(folder, version):
    card = store.read_card(version)
    with pytest.raises(UserError, match="No image in .* has an answer yet"):
        inspection_report.evaluate(folder, version, card)
    judge(folder, "Ada", wrong=4, unnamed=1)
    judge(folder, "Bo", wrong=4)
    result = inspection_report.evaluate(folder, version, card)
    ada = result.agreement[result.agreement["judge"] == "Ada"].set_index(["predictions", "images"])
    weights = np.array([60 * 0.9, 30 * 0.9, 6 * 5 / 6])
    named = (weights * [5 / 9, 5 / 9, 1 / 5]).sum() / weights.sum()
    row = ada.loc["all", "identified"]
    assert row["agreement"] == pytest.approx(named) and row["low"] < named < row["high"]
    assert row["claimed"] == pytest.approx(0.8)
    assert row["claimed_low"] < 0.8 < row["claimed_high"]
    assert row["difference"] == pytest.approx(named - 0.8) and row["verdict"] == "lower"
    everything = (60 * 0.5 + 30 * 0.5 + 6 * 1 / 6) / 96
    assert ada.loc["all", "all"]["agreement"] == pytest.approx(everything)
    by_class = result.classes.set_index(["judge", "predictions", "class"])
    assert by_class.loc["Ada", "all", "ash"]["precision"] == pytest.approx(5 / 9)
    assert by_class.loc["Ada", "all", "ash"]["claimed"] == pytest.approx(0.8)
    sure = by_class.loc["Bo", "without unsure"]
    assert sure["predicted"].tolist() == [30, 15, 3], "every other image is no abstention"
    counts = result.counts[result.counts["judge"] == "Bo"].set_index("class")
    assert counts["corrected"].tolist() == pytest.approx([36 + 4, 18 + 24, 2 + 12, 0])
    assert counts["predicted"].tolist() == [60, 30, 6, 0]
    kappa = result.judges.iloc[0]
    assert kappa["images"] == 26 and 0.7 < kappa["kappa"] < 1
    assert any("which is more than chance" in text for text in result.sentences)
    page = inspection_report.write(folder, result).read_text()
    assert "Agreement of judges" in page and "Olofsson" in page
    written = {path.name for path in folder.path.glob("*.csv")}
    assert written == {
        "agreement.csv",
        "agreement_of_judges.csv",
        "answers.csv",
        "classes.csv",
        "corrected_counts.csv",
        "sample.csv",
    }


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (",dust,", ",Dust,", "line 3: the label is 'Dust', expected ash, dust, pollen"),
        (",02,", ",99,", r"line 3: there is no drawn image '99' in sample\.csv"),
    ],
)
def test_a_judges_table_changed_by_hand_is_refused(folder, version, before, after, says):
    queue = InspectionQueue(folder, judge="Ada")
    for row, label in enumerate((UNIDENTIFIABLE, "dust", "ash")):
        queue.decide(row, who="Ada", action="label", label=label)
    path = folder.path / "judges" / "Ada.csv"
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(UserError, match=rf"judges/Ada\.csv {says}"):
        inspection_report.evaluate(folder, version, store.read_card(version))


def test_files_that_cannot_be_read_are_named_at_once_and_in_the_report(
    version, photos, tmp_path, caplog
):
    def but_one(paths, *, out: Path, options):
        made = predict(paths, out=out, options=options)
        (out.with_suffix("") / "skipped.csv").write_text("file,reason\na.png,It is empty.\n")
        return replace(made, skipped={"a.png": "It is empty."}, notes=("One note.",))

    folder = draw(version, photos, tmp_path / "a", predict=but_one)
    assert [one.getMessage() for one in caplog.records if one.name.startswith("tfpipe")] == [
        "a.png was skipped: It is empty.",
        "One note.",
    ]
    judge(folder, "Ada", wrong=0)
    with (folder.path / "judges" / "Ada.csv").open("a") as file:
        file.write("2026-01-01T00:00,Ad")
    notes = inspection_report.evaluate(folder, version, store.read_card(version)).notes
    assert any("1 new files could not be read" in note and "a.png" in note for note in notes)
    assert any("Ada.csv line 28 is incomplete" in note for note in notes)


@pytest.mark.skipif(sys.platform == "darwin", reason="names of files are UTF-8 there")
@pytest.mark.parametrize("as_written_before", [False, True])
def test_a_folder_of_any_name_can_be_opened_again(version, photos, tmp_path, as_written_before):
    new = Path(os.fsdecode(os.fsencode(tmp_path) + b"/ins\xe9l"))
    shutil.copytree(photos / "new", new)
    folder = draw(version, photos, tmp_path / "a", paths=[new])
    if as_written_before:
        text = json.dumps(asdict(folder.plan), ensure_ascii=False)
        (folder.path / "plan.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert draw(version, photos, tmp_path / "a", paths=[new], predict=None).plan == folder.plan
    assert folder.plan.files == (str(new),)
    with pytest.raises(UserError) as caught:
        draw(version, photos, tmp_path / "a", paths=[photos], predict=None)
    str(caught.value).encode("utf-8")


def test_classes_that_a_judge_has_not_come_to_are_named(folder, version):
    queue = InspectionQueue(folder, judge="Ada")
    for row, label in enumerate(predicted_of(folder)):
        if label != "pollen":
            queue.decide(row, who="Ada", action="label", label=label)
    result = inspection_report.evaluate(folder, version, store.read_card(version))
    assert result.agreement["agreement"][0] == 1 and result.counts["corrected"].isna().all()
    assert result.agreement["share_of_images"][0] == pytest.approx(90 / 96)
    assert "no image that was predicted pollen" in result.notes[0]


def run(*words) -> dict:
    """Runs `tfpipe inspect` and returns its JSON object."""
    done = CliRunner().invoke(app, ["inspect", *map(str, words), "--json"], catch_exceptions=False)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_command_draws_then_goes_on_then_reports(version, photos, tmp_path, monkeypatch):
    addresses = []
    monkeypatch.setattr(
        Version, "predict", lambda version, files, **options: predict(files, **options)
    )
    monkeypatch.setattr(review_app, "run", lambda page, listener: listener.close())
    monkeypatch.setattr(cli_inspect.webbrowser, "open", addresses.append)
    out = tmp_path / "inspection"
    words = (version, photos / "new", "--out", out, "--port", "0", "--judge")
    with pytest.raises(UserError, match="cannot name a file"):
        run(*words, "../Ada")
    with pytest.raises(UserError, match="nothing to report. Run the command without --report"):
        run(version, photos / "new", "--out", out, "--report")
    assert not out.exists()
    made = run(*words, "Ada", "--per-class", 5)
    assert (made["command"], made["model"], made["version"]) == ("inspect", "simple-cnn", 2)
    assert made["images"] == 15 and addresses == [made["address"]]
    assert run(*words, "Bo", "--no-open")["path"] == str(out / "judges" / "Bo.csv")
    assert len(addresses) == 1
    judge(inspection_sample.open_folder(out), "Ada", wrong=1)
    told = run(version, "--out", out, "--report")
    assert told["path"] == str(out / "inspection.html")
    first = told["agreement"][0]
    assert first["agreement"] == pytest.approx(0.8) and first["claimed"] == pytest.approx(0.8)
    assert told["result"][0].startswith("Ada agrees with 0.800")
    project = tfpipe.Project(progress=False)
    again = project.inspect(str(version), out=out).report()
    assert again.result.classes["answers"][0] == 5 and again.path == out / "inspection.html"


def test_a_user_without_a_name_that_fits_is_asked_for_one_before_anything(version, monkeypatch):
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr(Version, "predict", None)
    for login, says in ((lambda: "anna@uni-kiel.de", "cannot name a file"), (unknown, "no name")):
        monkeypatch.setattr(getpass, "getuser", login)
        for command in ("inspect", "adapt"):
            with pytest.raises(UserError, match=f"{says}.*--judge"):
                CliRunner().invoke(app, [command, str(version), "new"], catch_exceptions=False)
        with pytest.raises(UserError, match="There is no inspection in"):
            run(version.parent / "2", "--out", version / "no", "--report")


@pytest.mark.slow
@NO_BROWSER
def test_images_are_judged_from_the_keyboard_without_their_predictions(folder, tmp_path):
    queue = InspectionQueue(folder, judge="Ada")
    lines = lambda: [(one.what, one.label, one.action) for one in queue.desk.log().lines]  # noqa: E731
    with served(queue) as address, browser.opened(address, tmp_path / "profile") as page:
        page.wait("document.querySelectorAll('figure img[src^=\"data:image\"]').length === 24")
        shown = page.value("document.getElementById('grid').innerText")
        assert not any(name in shown for name in (*CLASSES, "model", ".png"))
        assert page.value("document.getElementById('class-menu').value") == ""
        page.press("Enter", "d", "2", "x", "1", "u")
        page.wait(f"{SAYS}?.startsWith('Undone')")
        assert lines() == [
            ("01", "dust", "label"),
            ("02", UNIDENTIFIABLE, "label"),
            ("03", "ash", "label"),
            ("03", "ash", "undo"),
        ]
        page.value("window.isOld = true; setTimeout(() => location.reload())")
        page.wait(
            "!window.isOld && document.getElementById('count')?.textContent.startsWith('2 of 26')"
        )
        assert page.value("document.getElementById('reviewer').readOnly")
    with served(InspectionQueue(folder, judge="Bo")) as address:
        states = {one["state"] for one in json.loads(asked(address, "queue"))["items"]}
        assert states == {"predicted"}, "the other judge sees none of Ada's answers"
