"""Adaptation: a version goes on with labels of a new place; better there, and no worse at home."""

import json
from dataclasses import replace

import four_class_task
import keras
import numpy as np
import pandas as pd
import pytest
import tiny
from made_card import made_card, write_card
from made_manifest import made_manifest
from typer.testing import CliRunner

import tfpipe
from tfpipe import cli
from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.data import added_records, dataset, pack
from tfpipe.data import manifest as data_manifest
from tfpipe.evaluation import evaluate, metrics
from tfpipe.registry import previous_version, store
from tfpipe.review import adaptation_sample, inspection_sample
from tfpipe.review.inspection_queue import InspectionQueue
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.splits import PackedSplits, SplitConfig
from tfpipe.tasks.task import Reading
from tfpipe.workflows import adapt
from tfpipe.workflows.retrain import RetrainingPlan, RetrainingRefused

NEW = 100  # files of this number and above are of the new place, where images are paler


def read(source, options) -> Reading:
    """Reads images as the task of four classes does, paler in the new place."""
    reading = four_class_task.read(source, options)
    if int(source.path.read_text()) < NEW:
        return reading
    return replace(
        reading, examples=[one._replace(image=one.image // 2 + 120) for one in reading.examples]
    )


TASK = replace(four_class_task.TASK, read=read, whole_file=None)
CLASSES = four_class_task.CLASSES


def write_files(folder, numbers) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        (folder / f"file{number:03d}.txt").write_text(str(number))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapt")
    write_files(folder / "raw" / TASK.name, range(12))
    write_files(folder / "new", range(NEW, NEW + 8))
    return tfpipe.Project(data=folder, saved_models=folder / "models", progress=False)


@pytest.fixture(scope="module")
def version(project):
    return project.train(
        TASK,
        model="simple-cnn",
        hyperparameters={
            "filters": 8,
            "conv_layers": 2,
            "dense_units": 32,
            "learning_rate": 0.005,
        },
        epochs=12,
        random_split=False,
    )


def label(adaptation, *, shift: int = 0, only: int | None = None) -> None:
    """Answers for all drawn images, or some: the truth, or another class each time."""
    queue = InspectionQueue(inspection_sample.open_folder(adaptation.path), judge="Ada")
    for row, key in enumerate(adaptation.sample["key"][:only]):
        true = int(key.rpartition("@")[2]) % len(CLASSES)
        queue.decide(row, who="Ada", action="label", label=CLASSES[(true + shift) % len(CLASSES)])


@pytest.mark.slow
def test_a_version_is_adapted_if_it_is_better_there_and_refused_otherwise(project, version):
    new = [project.data / "new"]
    adaptation = project.adapt(TASK, new, labels=90)
    splits = tables.read_csv(adaptation.path / "splits.csv")
    assert splits["split"].value_counts().to_dict() == {"train": 60, "test": 30}
    of_file = splits["key"].str.partition("@")[0]
    assert not {*of_file[splits["split"] == "train"]} & {*of_file[splits["split"] == "test"]}
    again = project.adapt(TASK, new)
    assert again.sample.equals(adaptation.sample), "what was drawn is opened as it is"
    with pytest.raises(UserError, match=r"holds 90 images to label .* give another --out"):
        project.adapt(TASK, new, labels=60)
    with pytest.raises(UserError, match="There are 0 labels to train on"):
        adaptation.train()

    wrong = project.adapt(TASK, new, labels=90, out=project.data / "wrong")
    label(wrong, shift=1)
    with pytest.raises(RetrainingRefused, match="Nothing was published. It is (not better|worse)"):
        wrong.train(epochs=1)
    assert store.versions(version.path.parent) == [1]
    refused = json.loads((wrong.path / "refused.json").read_text())
    assert refused["with"] == 1 and refused["new"]["images"] == 30

    label(adaptation)
    made = adaptation.train(epochs=60)
    assert made.version.number == 2
    card = made.version.card
    assert card.initialized_from == 1 and card.comparison["with"] == 1
    assert "added" in card.data.notes[-1] and card.data.counts["test"]["none"] > 0
    assert "images of" in made.sentences[0] and "kept out" in made.sentences[0]
    assert "at home" in made.sentences[1]

    shifted = adaptation.train(unlabelled=["prior-shift"], force=True).version
    assert shifted.card.history == {} and shifted.card.training["epochs"] == 0
    images = np.zeros((2, 16, 16, 1), np.uint8)
    np.testing.assert_allclose(shifted.embed(images), version.embed(images), atol=1e-5)


def test_added_records_hold_both_and_repeat_what_is_added(tmp_path):
    data = four_class_task.packed(tmp_path, files=6, task=TASK)
    write_files(tmp_path / "new", (NEW, NEW + 1))
    sources = TASK.survey_new([tmp_path / "new"], None, TASK.options).sources
    splits = {f"file{NEW:03d}.txt@{i:03d}": "train" for i in range(4)}
    splits |= {f"file{NEW + 1:03d}.txt@{i:03d}": "test" for i in range(3)}
    decided = {
        key: Decision("", "Ada", "", key, np.nan, np.nan, "many", "", "validated", "label")
        for key in splits
    }
    # The added files have more images by the options that they are drawn with.
    last = f"file{NEW:03d}.txt@{TASK.options.pictures:03d}"
    splits[last] = "train"
    decided[last] = decided[next(iter(decided))]._replace(what=last)
    options = replace(TASK.options, pictures=TASK.options.pictures + 1)
    images = added_records.AddedImages(
        sources, ("other", "level"), decided, splits, options, {last: "one run"}
    )
    folder = tmp_path / "joined"
    for _ in range(2):  # what an earlier call has left is replaced
        made = added_records.write(folder, data.folder, images, task=TASK)
    every = added_records.read_all(images, TASK, most=1000)
    assert len(every["image"]) == 2 * options.pictures
    with pytest.raises(UserError, match=r"hold 4 of the 5 labelled images to train on"):
        added_records.write(
            tmp_path / "other", data.folder, images._replace(options=TASK.options), task=TASK
        )
    assert data_manifest.verify(folder) == []
    before = data.manifest
    n_home = dataset.size(dataset.TRAIN, manifest=before)
    n_train = dataset.size(dataset.TRAIN, manifest=made)
    assert n_home * 1.4 < n_train < n_home * 1.6
    keys = dataset.keys_of(folder, ("train",), manifest=made).astype(str)
    assert {*keys[n_home:]} == {f"new: {key}" for key, one in splits.items() if one == "train"}
    test_labels = dataset.labels_of(folder, ("test",), manifest=made)
    assert test_labels[-3:].tolist() == [CLASSES.index("many")] * 3
    groups = dataset.groups_of(folder, ("test",), manifest=made).astype(str)
    assert set(groups[-3:]) == {f"new: file{NEW + 1:03d}"}
    assert made.counts["test"]["many"] == before.counts["test"]["many"] + 3
    assert made.counts["train"]["many"] == before.counts["train"]["many"] + 5
    train_groups = dataset.groups_of(folder, ("train",), manifest=made).astype(str)
    assert {*train_groups[n_home:]} == {f"new: file{NEW:03d}", "new: one run"}
    assert made.fingerprint != before.fingerprint
    added = {f"new: file{i:03d}.txt": tmp_path / "new" / f"file{i:03d}.txt" for i in (NEW, NEW + 1)}
    assert made.added_sha256 == {name: files.sha256(path) for name, path in added.items()}
    assert not before.added_sha256
    # Columns are brought into the order of the packed ones.
    columns = dataset.columns_of(folder, ("test",), manifest=made)[-3:]
    own = TASK.read(sources[1], TASK.options).examples[:3]
    np.testing.assert_array_equal(columns[:, 0], [one.columns[1] for one in own])


def test_packed_files_are_not_added_and_must_have_kept_their_split(tmp_path):
    data = four_class_task.packed(tmp_path, files=6, task=TASK)
    version = tmp_path / "models" / TASK.name / "simple-cnn" / "1"
    write_card(version, task=TASK.name, version=1, classes=CLASSES)
    write_files(tmp_path / "new", (NEW, 3))  # the second is raw/file03.txt by another name
    sources = TASK.survey_new([tmp_path / "new"], None, TASK.options).sources
    added = added_records.AddedImages(sources, (), {}, {}, TASK.options)
    where = {"raw": tmp_path / "raw", "records": data.folder, "folder": tmp_path / "adapt"}

    def refused() -> str:
        with pytest.raises(UserError) as error:
            adapt.adapt(TASK, version, added=added, plan=RetrainingPlan(version), **where)
        return str(error.value)

    assert "file003.txt is file03.txt of the raw folder" in refused()
    with pytest.raises(UserError, match=r"file003.txt is file03.txt of the raw folder"):
        adaptation_sample.open_or_draw(
            TASK, version, [tmp_path / "new"], predict=None, raw=tmp_path / "raw"
        )
    train, *_ = data.manifest.sources["train"]
    moved = made_manifest(sources={"train": (), "validation": (), "test": (train,)})
    table = previous_version.sources(moved)
    tables.write_csv(table, version / previous_version.SOURCES)
    assert f"{train} (test, now train)" in refused()
    assert not where["folder"].exists()


def test_a_file_that_a_version_was_adapted_with_keeps_its_split_when_it_is_packed(tmp_path):
    data = four_class_task.packed(tmp_path, files=6, task=TASK)
    in_test = next(i for i in range(20, 60) if SplitConfig().of_group(f"late{i}") == "test")
    path = tmp_path / "raw" / f"late{in_test}.txt"
    path.write_text(str(NEW))
    before = PackedSplits(by_checksum={files.sha256(path): "train"})
    made = pack.pack(TASK, tmp_path / "raw", data.folder, options=TASK.options, before=before)
    assert path.name in made.sources["train"]


def test_groups_that_were_trained_on_are_not_kept_out():
    card = made_card(classes=("a", "b"))
    groups = [f"run{i // 10}" for i in range(60)]
    numbers = {"p_a": 0.5, "p_b": 0.5, "embedding_0": np.arange(60.0)}
    frame = pd.DataFrame({"key": [f"{i}" for i in range(60)], "group": groups} | numbers)
    trained = {"run0", "run1", "run2", "run3", "run4"}
    for seed in range(5):
        drawn = adaptation_sample.choose(frame, card, count=30, seed=seed, trained=trained)
        assert {*drawn.loc[drawn["split"] == "test", "group"]} == {"run5"}
    with pytest.raises(UserError, match="was trained on all groups of the new images"):
        adaptation_sample.choose(frame, card, count=30, seed=0, trained={*groups})


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    return tiny.packed(tmp_path_factory.mktemp("two"))


def test_batches_hold_as_many_new_images_as_home_ones_of_many_files(two_classes):
    folder, manifest = two_classes.folder, two_classes.manifest
    images = {"image": np.full((100, 16, 16, 1), 255, np.uint8), "columns": np.zeros((100, 0))}
    made = [*adapt.mixed_batches(images, folder, manifest, seed=0)]
    train = dataset.batches(folder, dataset.TRAIN, manifest=manifest, batch_size=1)
    rows = {one["image"].tobytes(): i for i, (one, _) in enumerate(train.as_numpy_iterator())}
    assert [len(batch["image"]) for batch in made] == [64] * 3
    chosen = [[rows.get(image.tobytes(), -1) for image in batch["image"]] for batch in made]
    assert all(one.count(-1) == 32 for one in chosen)
    home = np.array(chosen)[np.array(chosen) >= 0].reshape(3, 32)
    assert len({*home.flat}) == 96, "none comes twice while there are others"
    assert all(len({*(one // tiny.Options().pictures)}) > 3 for one in home)
    few = {name: array[:5] for name, array in images.items()}
    assert [len(one["image"]) for one in adapt.mixed_batches(few, folder, manifest, seed=0)] == [10]


def test_the_prior_of_two_classes_moves_decisions(two_classes):
    image = keras.Input((16, 16, 1), dtype="uint8", name="image")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    positive = keras.layers.Dense(1, activation="sigmoid", name="positive", dtype="float32")(x)
    model = keras.Model({"image": image}, keras.layers.Concatenate()([1 - positive, positive]))
    model.get_layer("positive").set_weights([np.array([[40.0]]), np.array([-10.0])])
    folder, manifest = two_classes.folder, two_classes.manifest
    validation = dataset.batches(folder, dataset.VALIDATION, manifest=manifest)
    home = np.concatenate([one["image"] for one, _ in validation.as_numpy_iterator()])
    before = np.asarray(model({"image": home}))
    bright = {"image": home[before[:, 1] > np.quantile(before[:, 1], 0.7)]}
    thresholds = adapt.shift_prior(model, bright, folder, manifest)
    labels = np.concatenate([label for _, label in validation.as_numpy_iterator()])
    assert thresholds == metrics.thresholds(labels, before) | {"confident": 1.0}
    task = replace(tiny.TASK, whole_file=None)
    counts = []
    for given in (thresholds, None):
        evaluation = evaluate.evaluate(
            task, folder, two_classes, model, options=tiny.Options(), thresholds=given
        )
        predicted = evaluation.predictions
        predicted = predicted[predicted["split"] == "validation"]
        shares = predicted[["p_dull", "p_bright"]].to_numpy()
        counts.append(metrics.predict_labels(shares, thresholds=evaluation.thresholds).sum())
    assert counts[0] > counts[1], "a threshold chosen after the shift moves along"


def test_epochs_are_refused_where_nothing_is_trained(tmp_path):
    added = added_records.AddedImages((), (), {}, {}, None)
    where = {"raw": tmp_path, "records": tmp_path, "folder": tmp_path}
    with pytest.raises(UserError, match="Nothing is trained by batch-norm, so there are no epochs"):
        adapt.adapt(
            TASK,
            tmp_path / "1",
            added=added,
            plan=RetrainingPlan(epochs=3),
            unlabelled=["batch-norm"],
            **where,
        )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--unlabelled", "batch-norm"], "are for --train"),
        (["--epochs", "3"], "are for --train"),
        (["--force"], "are for --train"),
        (["--train", "--judge", "Ada"], "--judge is for labelling"),
    ],
)
def test_options_of_one_step_are_refused_for_the_other(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(cli.app, ["adapt", "insolubles", "new", *words])
    assert isinstance(outcome.exception, UserError) and sentence in str(outcome.exception)


def test_what_cannot_be_adapted_to_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="Name the new files"):
        adaptation_sample.open_or_draw(TASK, tmp_path / "1", [], predict=None)
    with pytest.raises(UserError, match="predicts whole files"):
        adaptation_sample.open_or_draw(
            four_class_task.TASK, tmp_path / "1", [tmp_path], predict=None
        )
    frame = pd.DataFrame({"key": list("abc"), "group": "one run"})
    with pytest.raises(UserError, match="are of one group"):
        adaptation_sample.choose(frame, made_card(classes=CLASSES), count=30, seed=0)
