"""Retraining what is no network of pictures: boosted trees, and an autoencoder."""

from dataclasses import replace

import four_class_task
import pytest

from tfpipe.base.errors import UserError
from tfpipe.base.progress import silent
from tfpipe.baselines import train_trees
from tfpipe.baselines.config import TreeSearchConfig
from tfpipe.data import pack
from tfpipe.registry import store
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import retrain, train
from tfpipe.workflows.retrain import RetrainingPlan
from tfpipe.workflows.train import TrainingRun
from tuning import boosted_trees as tuned

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets"),
]
TASK = replace(four_class_task.TASK, models=("conv-autoencoder",))


def grow(data, raw, *, files: range) -> None:
    for i in files:
        (raw / f"file{i:02d}.txt").write_text(str(i))
    pack.pack(TASK, raw, data.folder, options=TASK.options)


def test_trees_are_trained_again_with_what_was_found_before(tmp_path, monkeypatch):
    few = {"learning_rate": 0.296, "max_depth": 3, "trees": 12}
    monkeypatch.setattr(tuned, "PUBLISHED", few)
    data = four_class_task.packed(tmp_path, task=TASK)
    folder = tmp_path / "models" / "kinds" / "xgboost"
    train_trees.train(TASK, data.folder, folder, config=TreeSearchConfig(1, 2))
    grow(data, tmp_path / "raw", files=range(12, 20))
    given = {"raw": tmp_path / "raw", "records": data.folder, "report": silent}
    with pytest.raises(UserError, match="Boosted trees cannot start from"):
        retrain.retrain(
            TASK, folder / "1", plan=RetrainingPlan(initialized_from=folder / "1"), **given
        )
    assert retrain.starting_version(folder / "1", None, from_scratch=False) is None
    made = retrain.retrain(TASK, folder / "1", plan=RetrainingPlan(), **given)
    cards = [store.read_card(folder / number) for number in ("1", "2")]
    assert made["version"] == 2
    assert cards[0].hyperparameters == cards[1].hyperparameters
    sets = made["comparison"]["sets"]
    assert sets["old"]["groups"] == cards[0].data.groups["test"]
    assert sets["all"]["groups"] == cards[1].data.groups["test"]
    assert {"column level", "column other", "class mix"} == set(cards[1].drift)
    assert cards[1].speed["one_ms"] > 0


def test_an_autoencoder_is_compared_by_its_error(tmp_path):
    data = four_class_task.packed(tmp_path, task=TASK)
    run = TrainingRun(
        task=TASK,
        model="conv-autoencoder",
        raw=tmp_path / "raw",
        records=data.folder,
        models=tmp_path / "models" / "kinds" / "conv-autoencoder",
        options=TASK.options,
        config=TrainingConfig(epochs=3),
        random_split=False,
    )
    train.train(run)
    grow(data, tmp_path / "raw", files=range(12, 20))
    made = retrain.retrain(
        TASK,
        run.models / "1",
        plan=RetrainingPlan(initialized_from=run.models / "1", force=True),
        raw=run.raw,
        records=data.folder,
        report=silent,
    )
    told = made["comparison"]
    assert told["score"] == "loss" and told["classes"] == {}
    before = store.read_card(run.models / "1").metrics["test"]["mean_squared_error"]
    # The same groups and the same pictures, so the old version's error is what it was.
    assert abs(told["sets"]["old"]["before"] - before) < 1e-6
