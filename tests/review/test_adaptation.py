"""Labels for an adaptation: images are drawn by group, and labelled on the page by the keyboard."""

from dataclasses import replace
from pathlib import Path

import browser
import cv2
import numpy as np
import pandas as pd
import pytest
from made_card import made_card, write_card
from review_queue import served

from tfpipe.base import tables
from tfpipe.base.errors import UserError
from tfpipe.registry import store
from tfpipe.review import adaptation_sample
from tfpipe.review.inspection_queue import InspectionQueue
from tfpipe.review.inspection_sample import UNIDENTIFIABLE, InspectionFolder
from tfpipe.tasks import catalog
from tfpipe.version import Prediction

CLASSES = ("ash", "dust")
OPTIONS = {"size": "12x12", "channels": "grey", "fit": "stretch", "bits": 8}
NO_BROWSER = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no chromium on this machine to open it with"
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Class folders, as the task, and 90 new images."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for folder, count in (("photos/ash", 3), ("photos/dust", 3), ("new", 90)):
        (root / folder).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(0, 256, (12, 12), np.uint8)
            cv2.imwrite(str(root / folder / f"{i:02d}.png"), image)
    return root


def predict(paths, *, out: Path, options, embedding: bool) -> Prediction:
    """Writes what `predict` does: ten images of each of nine runs, one of two the less certain."""
    assert embedding
    rng = np.random.default_rng(0)
    files = sorted(path for folder in paths for path in Path(folder).rglob("*.png"))
    rows = []
    for i, path in enumerate(files):
        share = 0.99 if i % 2 else 0.55
        rows.append(
            {"key": str(path), "group": f"run{i // 10}", "label": "ash"}
            | {"p_ash": share, "p_dust": 1 - share}
            | {f"embedding_{j}": rng.normal() for j in range(4)}
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(out)
    return Prediction(out, len(rows), len(files))


@pytest.fixture
def drawn(photos, tmp_path):
    version = tmp_path / "photos" / "simple-cnn" / "1"
    write_card(version, classes=CLASSES, version=1, options=OPTIONS)
    task = catalog.find(str(photos / "photos"))
    folder = adaptation_sample.open_or_draw(
        task, version, [photos / "new"], predict=predict, labels=45
    )
    return folder, task, store.read_card(version)


def test_images_are_drawn_of_every_group_and_a_third_at_random_of_those_kept_out(drawn):
    folder, _, _ = drawn
    assert folder.path.name == "adapt-1-new"
    splits = tables.read_csv(folder.path / "splits.csv", text={"key", "split"})
    whole = splits.merge(folder.predictions.drop(columns="group"), on="key")
    counts = whole.groupby(["split", "group"]).size()
    assert counts["train"].tolist() == [5] * 6 and counts["test"].tolist() == [5] * 3
    uncertain = (whole["p_ash"] < 0.9).groupby(whole["split"]).mean()
    assert uncertain["train"] > 0.6 > 0.3 and {*whole["key"]} == {*folder.sample["key"]}


def test_answers_that_agree_become_labels(drawn):
    folder, task, card = drawn
    ada, bo = (InspectionQueue(folder, judge=name) for name in ("Ada", "Bo"))
    for row in range(44):
        ada.decide(row, who="Ada", action="label", label=UNIDENTIFIABLE if row == 1 else "dust")
    bo.decide(0, who="Bo", action="label", label="ash")
    bo.decide(2, who="Bo", action="label", label="dust")
    card = replace(card, options=OPTIONS | {"bits": 16})
    folder = InspectionFolder(folder.path, replace(folder.plan, options={"bits": "8"}))
    labels = adaptation_sample.labels_of(folder, task, card)
    assert labels.added.options.bits == 8, "as the images were drawn"
    assert (labels.n_open, labels.n_left_out) == (1, 2)
    assert {one.label for one in labels.added.decisions.values()} == {"dust"}
    assert {*labels.added.splits} == {*labels.added.decisions} and len(labels.added.splits) == 42
    group_of = folder.sample.set_index("key")["group"].to_dict()
    assert labels.added.groups == {key: group_of[key] for key in labels.added.splits}
    held_out = adaptation_sample.labels_of(folder, task, card, only_test=True).added.splits
    assert {*held_out.values()} == {"test"}


def frame_of(paths: list[str]) -> pd.DataFrame:
    shares = np.linspace(0.5, 1, len(paths))
    numbers = {"p_ash": shares, "p_dust": 1 - shares, "embedding_0": shares}
    return pd.DataFrame({"key": paths, "group": paths} | numbers)


def test_images_without_groups_are_grouped_by_folder_or_refused():
    card = made_card(classes=CLASSES, options=OPTIONS | {"group_from": ""})
    frame = frame_of([f"new/run{i % 3}/{i:02d}.png" for i in range(90)])
    drawn = adaptation_sample.choose(frame, card, count=30, seed=0)
    folders = drawn["key"].map(lambda key: str(Path(key).parent))
    assert (drawn["group"] == folders).all()
    by_split = drawn.groupby("split")["group"].unique()
    assert len(by_split["train"]) == 2 and not {*by_split["train"]} & {*by_split["test"]}
    flat = frame_of([f"new/{i:02d}.png" for i in range(90)])
    with pytest.raises(UserError, match=r"90 of 90 .* such as new/00.png, .* -o group_from="):
        adaptation_sample.choose(flat, card, count=30, seed=0)
    frame.loc[5:, "group"] = "run"  # as where a pattern fits some names only
    with pytest.raises(UserError, match="5 of 90 new images are groups of their own"):
        adaptation_sample.choose(frame, card, count=30, seed=0)


@pytest.mark.slow
@NO_BROWSER
def test_images_are_labelled_from_the_keyboard(drawn, tmp_path):
    folder, task, card = drawn
    with pytest.raises(UserError, match="0 labels to train on, expected 10 at least"):
        adaptation_sample.labels_of(folder, task, card)
    queue = InspectionQueue(folder, judge="Ada")
    with served(queue) as address, browser.opened(address, tmp_path / "profile") as page:
        page.wait("document.querySelectorAll('figure img[src^=\"data:image\"]').length >= 20")
        for _ in range(22):
            page.press("1", "2")
        page.wait("document.getElementById('count')?.textContent.startsWith('44 of 45')")
    labels = adaptation_sample.labels_of(folder, task, card).added
    assert sorted({one.label for one in labels.decisions.values()}) == ["ash", "dust"]
    assert len(labels.decisions) == 44
