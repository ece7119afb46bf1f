"""Models side by side: the same folds for all, nothing judged twice, nothing lost."""

import dataclasses

import cv2
import kinds
import numpy as np
import pandas as pd
import pytest

from tfpipe import comparing, contestants, folds, training
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


def test_a_task_may_name_its_contestants():
    task = TASKS["ionization-redshift"]
    found = contestants.usual(task, ("mean_mk",))
    assert found == task.compared
    assert set(found) <= set(contestants.known(task))


def test_principal_components_tell_bright_middles_apart_and_errors_are_in_the_classes_unit(
    data, tmp_path
):
    # The middle's brightness tells the four apart, and is the first component.
    classes = ("0", "1", "2", "3")
    task = dataclasses.replace(TASK, quantity="level", classes=classes)
    spec = dataclasses.replace(kinds.spec_of(data), classes=classes)
    given = {"components": 3, "side": 8, "trees": 20}
    fold = folds.of(data, spec, 2)[0]
    told = comparing._judged(task, "pca-forest", fold, arguments=given, settings=SETTINGS)
    assert told["accuracy"] > 0.9
    wrong = 1 - told["accuracy"]
    assert wrong - 1e-9 <= told["mean_absolute_error"] <= 3 * wrong + 1e-9


def test_a_frozen_code_learns_from_the_training_groups_only(data, monkeypatch):
    fold, known = folds.of(data, kinds.spec_of(data), 2)[0]
    seen = []
    fit = training.fit
    monkeypatch.setattr(
        training,
        "fit",
        lambda model, own, **how: seen.append((model, own)) or fit(model, own, **how),
    )
    given = {"autoencoder": {"filters": 2}, "classifier": {"filters": 4}}
    settings = dataclasses.replace(SETTINGS, epochs=2)
    told = contestants.judge("frozen-code-cnn", fold, known, arguments=given, settings=settings)
    (autoencoder, first), (classifier, second) = seen
    assert (autoencoder.name, classifier.name) == ("conv_autoencoder", "code_cnn")
    assert first.train is second.train is fold.train
    assert (first.objective, second.objective) == ("loss", fold.objective)
    frozen = [layer for layer in classifier.layers if layer.name.startswith("encoder")]
    assert not any(layer.trainable_weights for layer in frozen)
    for layer in frozen:
        for one, other in zip(
            layer.get_weights(), autoencoder.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    assert told.likely.shape == (len(told.labels), 4)
