"""Views of a task: whatever is packed when, no test file of one is a training file of another."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import tiny
from made_manifest import made_manifest
from small_models import make_small
from small_records import HALVES, draw_small, make_task, pack_small, spread

import tfpipe
from tfpipe.base.errors import UserError
from tfpipe.baselines import candidates, compare
from tfpipe.baselines.candidates import CandidateResult
from tfpipe.data import dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.evaluation import whole_files
from tfpipe.evaluation.whole_files import ModeResult
from tfpipe.registry import previous_version
from tfpipe.search import plan
from tfpipe.tasks.splits import PackedSplits, SplitConfig
from tfpipe.tasks.task import Reading
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import retrain, train

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]

PLAIN = make_task(models=("simple-cnn", "core-unet"))
OTHER = SplitConfig(HALVES.shares, "other")


def read(source, options):
    """Returns the images of the small task, with the number of each row as its class."""
    reading = make_task().read(source, options)
    examples = [one._replace(row_labels=one.image[:, 0, 0] // 200) for one in reading.examples]
    return Reading(examples, reading.row, reading.figure)


ROWS = dataclasses.replace(
    PLAIN, read=read, view="rows", row_classes=("none", "layer"), models=("core-unet",)
)
TASK = dataclasses.replace(PLAIN, other_views=(ROWS,))


@pytest.fixture
def project(tmp_path):
    draw_small(tmp_path / "data" / "raw" / "small-task", spread(8, 8, 8))
    return tfpipe.Project(tmp_path / "data", tmp_path / "models", progress=False)


def splits_of(manifest):
    return {name: split for split, names in manifest.sources.items() for name in names}


def test_models_of_a_view_are_trained_and_compared_on_the_splits_of_the_tasks_own_images(
    project, monkeypatch
):
    packed = []

    def stop(*arguments, **rest):
        folder = arguments[1]["rows"] if isinstance(arguments[1], dict) else arguments[0].records
        packed.append(data_manifest.read(folder))
        raise UserError("packed")

    monkeypatch.setattr(train, "train", lambda run, epochs=None: stop(run, None))
    monkeypatch.setattr(train, "tune", stop)
    monkeypatch.setattr(plan, "plan_of", lambda config: None)  # it looks for the task by name
    monkeypatch.setattr(compare, "compare_models", stop)
    calls = (
        lambda: project.train(TASK, model="core-unet"),
        lambda: project.tune(TASK, model="core-unet", quick=True),
        lambda: project.compare(TASK, models=["simple-cnn", "core-unet"]),
    )
    project.pack(TASK, split=HALVES)
    for number, call in enumerate(calls):
        project.pack(ROWS, split=OTHER)
        own = project.pack(TASK, split=SplitConfig(HALVES.shares, f"again{number}")).manifest
        with pytest.raises(UserError, match="packed"):
            call()
        assert splits_of(packed[-1]) == splits_of(own) and packed[-1].salt == own.salt


def test_records_of_a_view_are_packed_again_where_only_the_assignment_differs(tmp_path):
    raw = draw_small(tmp_path / "raw", spread(6, 6, 4))
    folder = tmp_path / "rows"
    first = splits_of(pack_small(raw, folder, task=ROWS))
    name = next(name for name, split in first.items() if split == "validation")
    windows = {name: "train"}
    for before, split in (
        (PackedSplits(windows), "validation"),  # those of the records come first
        (PackedSplits(windows, are_binding=True), "train"),
        (PackedSplits(windows), "train"),
    ):
        packed = splits_of(pack_small(raw, folder, task=ROWS, before=before))
        assert packed == first | {name: split}


class Counted(NamedTuple):
    """What was counted in the photos of a split."""

    scores: dict[str, float]


def test_a_comparison_scores_whole_files_in_the_mode_that_is_best_on_validation(
    tmp_path, monkeypatch
):
    data = tiny.packed(tmp_path)
    task = dataclasses.replace(tiny.TASK, models=("simple-cnn-interval",))
    shares = {"windows": 0.3, "intervals": 0.9}

    def evaluate_modes(task, raw, data, modes, *, options):
        assert set(modes) == set(shares)
        return {
            mode: ModeResult(
                {},
                {
                    "validation": Counted({"file_share": shares[mode]}),
                    "test": Counted({"file_share": shares[mode] - 0.05}),
                },
            )
            for mode in modes
        }

    def fit_and_predict(name, run):
        network = make_small(name, run.spec)
        answers = []
        for split in ("validation", "test"):
            labels = dataset.labels_of(data.folder, (split,), manifest=data.manifest)
            answers.append((labels, np.eye(2)[labels]))
        return CandidateResult(tuple(answers), 1.0, run.evaluate_files(network))

    monkeypatch.setattr(whole_files, "evaluate_modes", evaluate_modes)
    monkeypatch.setattr(candidates, "fit_and_predict", fit_and_predict)
    frame = compare.compare(
        task,
        {"": data.folder},
        raw=tmp_path / "raw",
        names=task.models,
        n_folds=0,
        config=TrainingConfig(epochs=1, schedule="cosine"),
        models=tmp_path / "models",
    )
    assert frame["file_share"].tolist() == pytest.approx([0.9, 0.85])


def test_views_that_differ_are_not_compared(tmp_path):
    sources = {"train": ("a", "b"), "validation": ("c",), "test": ("d",)}
    views = {
        "": made_manifest(sources=sources, options={"guard_mm": 5}),
        "same": made_manifest(sources=sources, options={"guard_mm": 5}, salt="x"),
        "moved": made_manifest(sources=sources | {"train": ("a", "d"), "test": ("b",)}),
        "other": made_manifest(sources=sources, options={"guard_mm": 6}),
    }
    views["moved"] = dataclasses.replace(views["moved"], options={"guard_mm": 5})
    records = {view: tmp_path / f"records{view}" for view in views}
    for view, folder in records.items():
        folder.mkdir()
        (folder / "manifest.json").write_bytes(views[view].to_json())
    compare.check_views({view: records[view] for view in ("", "same")})
    with pytest.raises(UserError, match="b and perhaps other files are in another split"):
        compare.check_views({view: records[view] for view in ("", "moved")})
    with pytest.raises(UserError, match="packed with other options"):
        compare.check_views({view: records[view] for view in ("", "other")})


def test_a_view_is_not_trained_again_against_the_splits_of_the_tasks_own_images(
    tmp_path, monkeypatch
):
    raw = draw_small(tmp_path / "raw", spread(6, 6, 4))
    own, rows = tmp_path / "own", tmp_path / "rows"
    first = pack_small(raw, own)
    name = first.sources["validation"][0]
    moved = PackedSplits({name: "train"})
    version = tmp_path / "small-task" / "core-unet" / "1"
    how = {"options": ROWS.options, "split": HALVES, "skip_bad": 0}
    monkeypatch.setattr(retrain, "packing_of", lambda task, version: dict(how))
    monkeypatch.setattr(previous_version, "packed_splits", lambda version, split: moved)
    monkeypatch.setattr(retrain, "retrain", lambda *arguments, **rest: {})

    def packed(task, records=rows):
        made = retrain.pack_and_retrain(
            task, version, raw=raw, records=records, own_images=own, plan=retrain.RetrainingPlan()
        )
        return splits_of(made["manifest"])

    assert packed(ROWS) == splits_of(first)  # and not as `moved` says
    pack_small(raw, own, split=OTHER)
    with pytest.raises(UserError, match="tfpipe pack small-task --split 50/25/25`") as refused:
        packed(ROWS)
    assert "version 1 of core-unet" in str(refused.value)
    assert packed(PLAIN, tmp_path / "again")[name] == "train"
