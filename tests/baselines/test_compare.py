"""Models side by side: the same folds for all, nothing judged twice, nothing lost."""

import dataclasses

import cv2
import four_class_task
import numpy as np
import pandas as pd
import pytest

from tfpipe.base import tables
from tfpipe.base.errors import UserError
from tfpipe.baselines import candidates, compare, compare_intervals
from tfpipe.baselines.candidates import CandidateRun
from tfpipe.data import dataset
from tfpipe.tasks.catalog import TASKS
from tfpipe.tasks.task import Reading, Scoring
from tfpipe.training import cross_validation, loop
from tfpipe.training.config import TrainingConfig

pytestmark = pytest.mark.slow  # what they share trains

TASK = dataclasses.replace(four_class_task.TASK, models=("simple-cnn", "columns-mlp"))
SETTINGS = TrainingConfig(epochs=3, schedule="cosine", learning_rate=0.01)
NAMES = ("xgboost", "columns-mlp")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return four_class_task.packed(tmp_path_factory.mktemp("kinds"), task=TASK)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def compared(data, models, names=NAMES, n_folds=2):
    return compare.compare(
        TASK,
        {"": data.folder},
        raw=data.folder,
        names=names,
        n_folds=n_folds,
        config=SETTINGS,
        models=models,
    )


@pytest.fixture(scope="module")
def frame(data, models):
    return compared(data, models)


def test_every_labelled_example_is_judged_once_by_each_model(data, frame):
    counts = data.manifest.counts
    labelled = sum(
        counts[split][name] for split in ("train", "validation") for name in four_class_task.CLASSES
    )
    assert frame.groupby("model")["examples"].sum().to_dict() == dict.fromkeys(NAMES, labelled)
    assert frame["fold"].tolist() == [1, 2, 1, 2]
    for fold, (own, _) in zip(
        (1, 2), cross_validation.folds_of(data, four_class_task.spec_of(data), 2), strict=True
    ):
        part = own.validation
        labels = dataset.labels_of(data.folder, part.splits, manifest=data.manifest)
        judged = (labels[part.chosen] >= 0).sum()
        assert judged != (labels[own.train.chosen] >= 0).sum()
        assert (frame.loc[frame["fold"] == fold, "examples"] == judged).all()
    trees = frame[frame["model"] == "xgboost"]
    assert (trees["accuracy"] > 0.8).all()  # the column "level" tells the four apart
    assert (trees["log_loss"] < np.log(4)).all() and (frame["megabytes"] > 0).all()


def test_what_was_judged_is_not_judged_again(data, models, frame, monkeypatch):
    told = []
    compare.compare(
        TASK,
        {"": data.folder},
        raw=data.folder,
        names=NAMES,
        n_folds=2,
        config=SETTINGS,
        models=models,
        report=lambda stage, facts: told.append((facts["done"], facts["total"])),
    )
    assert sorted({*told}) == [(done, 4) for done in range(5)]  # after each fold, not each model
    monkeypatch.setattr(
        compare, "evaluate_candidate", lambda *given, **how: pytest.fail("judged again")
    )
    pd.testing.assert_frame_equal(compared(data, models), frame)
    with pytest.raises(pytest.fail.Exception, match="judged again"):
        compared(data, models, n_folds=3)


def test_the_table_and_the_figure_are_written(models, frame):
    written = pd.read_csv(models / "comparison" / "comparison.csv")
    pd.testing.assert_frame_equal(written, frame)
    drawn = cv2.imread(str(models / "comparison" / "comparison.png"))
    assert drawn.std() > 5


def test_intervals_are_of_whole_groups_and_differences_of_the_same_images(models, frame):
    groups = pd.read_csv(models / "comparison" / "groups.csv")
    right = (frame["accuracy"] * frame["examples"]).groupby(frame["model"]).sum()
    sums = groups.groupby("model")[["right", "images"]].sum()
    np.testing.assert_allclose(sums["right"], right[sums.index])
    table = compare_intervals.summarize(groups).set_index("model")
    shares = (sums["right"] / sums["images"])[table.index]
    best, other = shares.idxmax(), shares.idxmin()
    assert table.loc[best, "difference"] == 0 and np.isnan(table.loc[best, "difference_low"])
    gain = shares[other] - shares[best]
    assert table.loc[other, "difference"] == pytest.approx(gain)
    assert table.loc[other, "difference_low"] < gain < table.loc[other, "difference_high"]
    assert (table["accuracy_low"] <= shares).all() and (shares <= table["accuracy_high"]).all()
    # A model that took other images has an interval of its own, but no difference.
    groups.loc[groups["model"] == other, "images"] += 1
    unpaired = compare_intervals.summarize(groups).set_index("model")
    assert np.isnan(unpaired.loc[other, "difference"]) and unpaired.loc[other, "accuracy_low"] > 0


def test_groups_may_be_called_na_or_null(data, frame, tmp_path, monkeypatch):
    rows = [
        {"model": name, "fold": 1, "group": group, "right": right, "images": 4}
        for name in NAMES
        for group, right in (("NA", 0), ("null", 1), ("None", 2), ("c", 3), ("d", 4), ("e", 4))
    ]
    groups = pd.DataFrame(rows)

    def stored(*given, **how):
        (tmp_path / "comparison").mkdir()
        tables.write_csv(groups, tmp_path / "comparison" / "groups.csv")
        return frame

    monkeypatch.setattr(compare, "compare", stored)
    table, _ = compare.compare_models(
        TASK, {"": data.folder}, raw=data.folder, names=NAMES, models=tmp_path
    )
    expected = compare_intervals.summarize(groups)
    assert expected["accuracy_low"].notna().all()
    pd.testing.assert_frame_equal(table[expected.columns], expected)


def test_the_summary_has_means_and_deviations(frame):
    row = compare.summarize(frame).set_index("model").loc["columns-mlp"]
    own = frame.loc[frame["model"] == "columns-mlp", "accuracy"]
    assert row["accuracy"] == pytest.approx(own.mean())
    assert row["accuracy_sd"] == pytest.approx(abs(own.iloc[0] - own.iloc[1]) / np.sqrt(2))


def test_columns_pictures_and_both_are_compared_where_there_are_columns():
    found = candidates.default_names(TASKS["insolubles"], ("length_um",))
    assert found == ("xgboost", "image-and-columns", "columns-mlp", "compact-resnet")
    assert candidates.default_names(TASKS["melt-layer"], ()) == ("simple-cnn",)


def test_trees_without_columns_are_refused(tmp_path):
    def read(source, options):
        examples = four_class_task.read(source, options).examples
        return Reading([example._replace(columns=example.columns[:0]) for example in examples])

    bare = four_class_task.packed(tmp_path, task=dataclasses.replace(TASK, columns=(), read=read))
    with pytest.raises(UserError, match="xgboost reads columns, but the records of kinds have"):
        compared(bare, tmp_path, names=("xgboost",))


class Captured(Exception):
    """Ends a comparison where it would train."""


@pytest.mark.parametrize(
    ("name", "fixed", "schedule", "rate"),
    [
        ("compact-resnet", {}, "one-cycle", 3e-3),  # its recipe, in tuning/compact_resnet.py
        ("compact-resnet", {"learning_rate": 0.02}, "one-cycle", 0.01),
        ("columns-mlp", {}, "cosine", 0.01),
    ],
)
def test_a_model_is_trained_by_its_own_recipe(
    data, tmp_path, monkeypatch, name, fixed, schedule, rate
):
    runs = []

    def capture(name, run):
        runs.append(run.config)
        raise Captured

    monkeypatch.setattr(candidates, "fit_and_predict", capture)
    with pytest.raises(Captured):
        compare.compare(
            TASK,
            {"": data.folder},
            raw=data.folder,
            names=[name],
            n_folds=2,
            config=SETTINGS,
            models=tmp_path,
            fixed=fixed,
        )
    (config,) = runs
    assert (config.schedule, config.learning_rate, config.epochs) == (schedule, rate, 3)


def test_a_task_may_name_its_contestants():
    task = TASKS["ionization-redshift"]
    found = candidates.default_names(task, ("mean_mk",))
    assert found == task.baselines.candidates
    assert set(found) <= set(candidates.names_of(task))


def test_principal_components_tell_bright_middles_apart_and_errors_are_in_the_classes_unit(
    data, tmp_path
):
    # The middle's brightness tells the four apart, and is the first component.
    classes = ("0", "1", "2", "3")
    task = dataclasses.replace(TASK, scoring=Scoring(ordinal_target="level"), classes=classes)
    spec = dataclasses.replace(four_class_task.spec_of(data), classes=classes)
    given = {"components": 3, "side": 8, "trees": 20}
    fold, known = cross_validation.folds_of(data, spec, 2)[0]
    contest = CandidateRun(fold, known, (fold.validation,), given, SETTINGS)
    (told,) = compare.evaluate_candidate(task, "pca-forest", contest)
    assert told["accuracy"] > 0.9
    wrong = 1 - told["accuracy"]
    assert wrong - 1e-9 <= told["mean_absolute_error"] <= 3 * wrong + 1e-9


def test_a_frozen_code_learns_from_the_training_groups_only(data, monkeypatch):
    fold, known = cross_validation.folds_of(data, four_class_task.spec_of(data), 2)[0]
    seen = []
    fit = loop.fit
    monkeypatch.setattr(
        loop,
        "fit",
        lambda model, own, **how: seen.append((model, own)) or fit(model, own, **how),
    )
    given = {"autoencoder": {"filters": 2}, "classifier": {"filters": 4}}
    settings = dataclasses.replace(SETTINGS, epochs=2)
    asked = (fold.validation, fold.train)
    told = candidates.fit_and_predict(
        "frozen-code-cnn", CandidateRun(fold, known, asked, given, settings)
    )
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
    for part, (labels, likely) in zip(asked, told.predictions, strict=True):
        assert likely.shape == (len(labels), 4) == (part.chosen.sum(), 4)


def test_splits_judge_once_each_and_a_pretrained_model_without_weights_is_named(data, tmp_path):
    # The weights that the first is to begin with are not there; the second begins at random.
    names = ("resnet50+pretrained", "columns-mlp")
    task = dataclasses.replace(TASK, models=("columns-mlp", "resnet50"))
    told = {
        "config": SETTINGS,
        "models": tmp_path,
        "raw": data.folder,
        "fixed": {"weights": str(tmp_path)},
    }
    frame = compare.compare(task, {"": data.folder}, names=names, n_folds=0, **told)
    judged = frame[frame["model"] == "columns-mlp"]
    assert judged["split"].tolist() == ["validation", "test"]
    for split, examples in zip(judged["split"], judged["examples"], strict=True):
        own = data.manifest.counts[split]
        assert examples == sum(own[name] for name in four_class_task.CLASSES)
    first, second = compare.summarize(frame).to_dict("records")
    assert "has no resnet50.weights.h5, resnet50.h5 or resnet50.keras" in first["failed"]
    assert second["failed"] == "" and second["test_accuracy"] == judged["accuracy"].iloc[1]
    assert not second["pretrained"] and not second["grey"] and second["machine"]
    with pytest.raises(UserError, match="has no resnet50"):
        compare.compare(task, {"": data.folder}, names=names[:1], n_folds=0, **told)


def test_names_tell_how_a_network_is_taken():
    assert candidates.parse_name("resnet9") == ("resnet9", "", False)
    assert candidates.parse_name("resnet50+grey+random") == ("resnet50", "random", True)
    for name in ("resnet50+big", "resnet50+random+pretrained"):
        with pytest.raises(UserError, match="is no variant of a model"):
            candidates.parse_name(name)
    folds_task = TASKS["folds"]
    given = {"weights": "some.h5", "image_size": 64}
    for name, weights in (
        ("resnet50+random", "none"),
        ("resnet50+pretrained", "some.h5"),
        ("resnet50", "some.h5"),
    ):
        told = candidates.arguments(folds_task, name, quick=False, fixed=given)
        assert told == {"weights": weights, "image_size": 64}
    with pytest.raises(UserError, match="no pretrained weights of resnet34"):
        candidates.arguments(folds_task, "resnet34+pretrained", quick=False, fixed={})


def test_pictures_without_colours_are_grey_as_opencv_makes_them(tmp_path):
    rng = np.random.default_rng(0)

    def read(source, options):
        found = four_class_task.read(source, options).examples
        coloured = [
            one._replace(image=rng.integers(0, 256, (16, 16, 3), np.uint8)) for one in found
        ]
        return Reading(coloured)

    shape = (16, 16, 3)
    task = dataclasses.replace(TASK, image_shape=shape, read=read)
    data = four_class_task.packed(tmp_path, task=task)
    grey = dataset.without_colours(data.manifest)
    for manifest in (data.manifest, grey):
        assert dataset.stored_shape(manifest) == shape
    seen = dataset.batches(data.folder, dataset.TRAIN, manifest=data.manifest)
    without = dataset.batches(data.folder, dataset.TRAIN, manifest=grey)
    for (coloured, _), (plain, _) in zip(seen, without, strict=True):
        assert plain["image"].dtype == coloured["image"].dtype
        for one, other in zip(coloured["image"].numpy(), plain["image"].numpy(), strict=True):
            expected = cv2.cvtColor(one, cv2.COLOR_RGB2GRAY).astype(int)
            assert np.abs(other[..., 0] - expected).max() <= 1
    given = dataclasses.replace(data, manifest=grey)
    known = cross_validation.spec_of_training_subset(
        given, dataclasses.replace(four_class_task.spec_of(data), image_shape=(16, 16, 1))
    )
    pixels = np.concatenate([batch["image"].numpy() for batch, _ in without]).astype(float)
    assert known.image_mean == pytest.approx([pixels.mean()])
    assert known.image_std == pytest.approx([pixels.std()])
    with pytest.raises(UserError, match="have 1 channels, not 3 colours"):
        dataset.without_colours(grey)


def test_models_of_other_images_are_compared_in_whole_files_and_not_by_folds(data, tmp_path):
    names = ("simple-cnn", "core-unet")
    task = TASKS["melt-layer"]
    assert [view.view for view in compare.views(task, names)] == ["", "strips"]
    assert [view.view for view in compare.views(task, ("core-unet",))] == ["", "strips"]
    assert compare.views(task, None) == (task,)
    with pytest.raises(UserError, match="other images are compared in whole files"):
        compare.compare_models(
            task, {"": data.folder}, raw=data.folder, names=names, models=tmp_path, folds=3
        )
