"""Models side by side: the same folds for all, nothing judged twice, nothing lost."""

import dataclasses

import cv2
import kinds
import numpy as np
import pandas as pd
import pytest

from tfpipe import comparing, contestants
from tfpipe.errors import UserError
from tfpipe.settings import Settings
from tfpipe.task import Reading
from tfpipe.tasks import TASKS

TASK = dataclasses.replace(kinds.TASK, models=("simple-cnn", "columns-mlp"))
SETTINGS = Settings(epochs=3, schedule="cosine", learning_rate=0.01)
NAMES = ("xgboost", "columns-mlp")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return kinds.packed(tmp_path_factory.mktemp("kinds"), task=TASK)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def compared(data, models, names=NAMES, count=2):
    return comparing.compare(
        TASK, data.folder, names=names, count=count, settings=SETTINGS, models=models
    )


@pytest.fixture(scope="module")
def frame(data, models):
    return compared(data, models)


def test_every_labelled_example_is_judged_once_by_each_model(data, frame):
    counts = data.manifest["counts"]
    labelled = sum(
        counts[split][name] for split in ("train", "validation") for name in kinds.CLASSES
    )
    assert frame.groupby("model")["examples"].sum().to_dict() == dict.fromkeys(NAMES, labelled)
    assert frame["fold"].tolist() == [1, 2, 1, 2]
    trees = frame[frame["model"] == "xgboost"]
    assert (trees["accuracy"] > 0.8).all()  # the column "level" tells the four apart
    assert (trees["log_loss"] < np.log(4)).all() and (frame["megabytes"] > 0).all()


def test_what_was_judged_is_not_judged_again_and_half_a_line_costs_nothing(
    data, models, frame, monkeypatch, caplog
):
    path = models / "comparison" / "results.jsonl"
    path.write_text(path.read_text() + '{"told": {"mod')
    monkeypatch.setattr(comparing, "_judged", lambda *given, **how: pytest.fail("judged again"))
    pd.testing.assert_frame_equal(compared(data, models), frame)
    assert "half a line" in caplog.text
    with pytest.raises(pytest.fail.Exception, match="judged again"):
        compared(data, models, count=3)


def test_the_table_and_the_figure_are_written(models, frame):
    written = pd.read_csv(models / "comparison" / "comparison.csv")
    pd.testing.assert_frame_equal(written, frame)
    drawn = cv2.imread(str(models / "comparison" / "comparison.png"))
    assert drawn.std() > 5


def test_the_summary_has_means_and_deviations(frame):
    row = comparing.summary(frame).set_index("model").loc["columns-mlp"]
    own = frame.loc[frame["model"] == "columns-mlp", "accuracy"]
    assert row["accuracy"] == pytest.approx(own.mean())
    assert row["accuracy_sd"] == pytest.approx(abs(own.iloc[0] - own.iloc[1]) / np.sqrt(2))


def test_columns_pictures_and_both_are_compared_where_there_are_columns():
    found = contestants.usual(TASKS["insolubles"], ("length_um",))
    assert found == ("xgboost", "image-and-columns", "columns-mlp", "resnet18")
    assert contestants.usual(TASKS["melt-layer"], ()) == ("simple-cnn",)


def test_trees_without_columns_are_refused(tmp_path):
    def read(source, options):
        examples = kinds.read(source, options).examples
        return Reading([example._replace(columns=example.columns[:0]) for example in examples])

    bare = kinds.packed(tmp_path, task=dataclasses.replace(TASK, columns=(), read=read))
    with pytest.raises(UserError, match="xgboost reads columns, but the records of kinds have"):
        compared(bare, tmp_path, names=("xgboost",))
