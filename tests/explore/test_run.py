"""An exploration from end to end, small; maps; and what a class left out tells of the scores."""

import shutil
from dataclasses import asdict, replace

import cv2
import four_class_task
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tiny
from made_card import write_card
from scipy.special import softmax

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.data import dataset, metadata
from tfpipe.data.manifest import RecordSummary
from tfpipe.explore import embeddings, novelty, novelty_benchmark, parametric_umap, umap
from tfpipe.explore import run as explore_run
from tfpipe.models import MODELS
from tfpipe.registry import load, store
from tfpipe.results import Exploration
from tfpipe.tasks.task import Reading
from tfpipe.training import compile as training_compile
from tfpipe.training import loop, open_records
from tfpipe.training.config import TrainingConfig

pytestmark = pytest.mark.slow

SHAPES = ("disc", "bar", "ring")
SMALL = {
    "simple-cnn": {"filters": 8, "conv_layers": 2, "dense_units": 8, "dropout": 0.0},
    "conv-autoencoder": {"latent": 8, "filters": 4, "dense_units": 16},
}
SETTINGS = TrainingConfig(epochs=4, learning_rate=0.003, seed=1, loss="auto")


def read(source, options) -> Reading:
    """Draws discs, bars and rings on a light ground of grains; every eighth has no label."""
    rng = np.random.default_rng(int(source.path.read_text()))
    examples = []
    for i in range(options.pictures):
        kind = i % len(SHAPES)
        image = rng.integers(110, 256, (16, 16), dtype=np.uint8)
        x, y = (int(value) for value in rng.integers(6, 10, 2))
        if kind == 1:
            cv2.rectangle(image, (x - 5, y - 1), (x + 5, y + 1), 20, -1)
        else:
            cv2.circle(image, (x, y), 4, 20, -1 if kind == 0 else 1)
        label = -1 if i % 8 == 7 else kind
        key, number = f"{source.name}@{i:03d}", np.zeros(0, np.float32)
        examples.append(
            four_class_task.Example(
                key, source.group, image[..., None], label, number, {"image_x": x}
            )
        )
    return Reading(examples)


TASK = replace(
    four_class_task.TASK,
    name="shapes",
    classes=SHAPES,
    columns=(),
    metadata={"image_x": "int64"},
    read=read,
    models=tuple(SMALL),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return four_class_task.packed(tmp_path_factory.mktemp("shapes"), files=16, task=TASK)


@pytest.fixture(scope="module")
def spec(data):
    return open_records.opened(TASK, data.folder, model="simple-cnn", is_checked=True)[1]


def trained(data, spec, name: str) -> keras.Model:
    records = replace(data, objective="loss") if name == "conv-autoencoder" else data
    keras.utils.set_random_seed(1)
    model = MODELS[name](spec, **SMALL[name])
    training_compile.prepare(model, records, settings=SETTINGS)
    loop.fit(model, records, settings=SETTINGS)
    return model


@pytest.fixture(scope="module")
def models(data, spec, tmp_path_factory):
    """Two versions, of a classifier and of an autoencoder, with what an exploration reads."""
    folder = tmp_path_factory.mktemp("models")
    for name, arguments in SMALL.items():
        version = folder / TASK.name / name / "1"
        extra = version / "assets.extra"
        extra.mkdir(parents=True)
        trained(data, spec, name).save(extra / "model.keras")
        write_card(
            version,
            kind="autoencoder" if name == "conv-autoencoder" else "classifier",
            model=name,
            hyperparameters=arguments,
            training=asdict(SETTINGS) | {"precision": "float32"},
            classes=SHAPES,
            spec=spec,
            data=data.manifest.summary,
            sha256={"assets.extra/model.keras": files.sha256(extra / "model.keras")},
        )
    return folder


@pytest.fixture
def run(data, models, tmp_path):
    version = models / TASK.name / "simple-cnn" / "1"
    return explore_run.ExplorationConfig(TASK, version, data.folder, tmp_path / "out")


def every_image(data) -> list:
    part = dataset.Subset(embeddings.splits_of(data))
    return list(dataset.batches(data.folder, part, manifest=data.manifest, batch_size=50))


def test_a_classifier_is_seen_as_it_answers(data, spec):
    model = MODELS["simple-cnn"](spec, **SMALL["simple-cnn"])
    outputs = embeddings.compute_outputs(model, data)
    for begin, (features, _) in enumerate(every_image(data)):
        rows = slice(50 * begin, 50 * begin + len(features["image"]))
        predictions = model(features, training=False).numpy()
        assert np.allclose(softmax(outputs.logits[rows], axis=1), predictions, atol=1e-5)
    assert outputs.error is None and len(outputs.embedding) == len(outputs.logits) == 16 * 24
    chosen = np.arange(16 * 24) // embeddings.CHUNK != 1
    first, last = embeddings.compute_batches(model, data, chosen=chosen)
    assert np.allclose(
        np.concatenate([first.logits, last.logits]), outputs.logits[chosen], atol=1e-5
    )
    assert len(first.embedding) == embeddings.CHUNK and first.error is None


def test_normalized_outputs_hardly_depend_on_the_direction(data, spec, monkeypatch):
    height, width, channels = spec.image_shape
    bar = np.full((height, width, channels), 20, np.uint8)
    bar[height // 2 - 1 : height // 2 + 1, width // 4 : -width // 4] = 220
    bars = np.stack([np.rot90(bar, turns) for turns in range(2)] + [bar[::-1, ::-1]])
    batches = [{"image": tf.constant(bars)}]
    monkeypatch.setattr(embeddings, "feature_batches", lambda *args, **options: iter(batches))
    model = MODELS["simple-cnn"](spec, **SMALL["simple-cnn"])
    plain, normalized = (
        embeddings.compute_outputs(model, data, normalize_orientation=value).embedding
        for value in (False, True)
    )
    assert np.ptp(plain, axis=0).max() > 20 * np.ptp(normalized, axis=0).max()


def test_two_classes_have_two_logits(tmp_path):
    data = tiny.packed(tmp_path, files=12)
    model = tiny.build(tiny.spec_of(data))
    outputs = embeddings.compute_outputs(model, data)
    (features, _), *_ = every_image(data)
    predictions = model(features, training=False).numpy()
    assert np.allclose(softmax(outputs.logits[:50], axis=1), predictions, atol=1e-5)
    assert np.allclose(outputs.logits.sum(axis=1), 0, atol=1e-6)


def test_an_autoencoder_is_seen_with_its_error(data, spec):
    model = MODELS["conv-autoencoder"](spec, **SMALL["conv-autoencoder"])
    outputs = embeddings.compute_outputs(model, data)
    features = every_image(data)[0][0]
    reconstruction = model(features, training=False).numpy()
    expected = ((features["image"].numpy() / 255.0 - reconstruction) ** 2).mean(axis=(1, 2, 3))
    assert np.allclose(outputs.error[:50], expected, atol=1e-6)
    assert outputs.logits is None and outputs.embedding.shape[1] == 8


def test_long_embeddings_keep_their_distances():
    points = np.random.default_rng(0).normal(size=(40, 3000)).astype(np.float32)
    points[20:] *= 2
    short = embeddings.random_projection(points)
    assert short.shape == (40, embeddings.MAX_LENGTH)
    ratio = (
        np.linalg.norm(short - short[0], axis=1)[1:]
        / np.linalg.norm(points - points[0], axis=1)[1:]
    )
    assert np.abs(ratio - 1).max() < 0.25  # Johnson and Lindenstrauss: 4 / sqrt(256)


def test_images_are_those_of_their_rows(data):
    images = np.concatenate([features["image"].numpy() for features, _ in every_image(data)])
    result = embeddings.thumbnails(data, [200, 3])
    for row, jpeg in result.items():
        shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert np.abs(shown.astype(int) - images[row, :, :, 0]).mean() < 12
    assert sorted(result) == [3, 200]


def test_versions_of_other_records_are_refused(run, data, tmp_path):
    other = replace(TASK, classes=("disc", "bar", "hole"))
    held = four_class_task.packed(tmp_path / "other", files=16, task=other)
    with pytest.raises(UserError, match="has the classes .* but the records hold"):
        explore_run.explore(replace(run, records=held.folder))


def test_a_map_or_class_that_is_not_there_is_refused(run, data, spec, tmp_path):
    with pytest.raises(UserError, match="No map called 'umpa'. Did you mean 'umap'"):
        explore_run.explore(replace(run, map_kind="umpa"))
    card = store.read_card(run.version)
    with pytest.raises(UserError, match="No class called 'dsic'. Did you mean 'disc'"):
        novelty_benchmark.benchmark([(card, data, spec)], "dsic", tmp_path)
    two = replace(spec, classes=("a", "b"))
    with pytest.raises(UserError, match="needs three classes"):
        novelty_benchmark.benchmark([(card, data, two)], "each", tmp_path)


@pytest.fixture(scope="module")
def explored(data, models, tmp_path_factory):
    """An exploration with a parametric map that left one class out, and what it returned."""
    out = tmp_path_factory.mktemp("out")
    version = models / TASK.name / "simple-cnn" / "1"
    run = explore_run.ExplorationConfig(
        TASK, version, data.folder, out, leave_out="ring", map_kind="parametric"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parametric_umap, "STEPS", 150)
        return run, explore_run.explore(run)


def test_all_images_are_explored_and_the_unlabelled_queued(explored, data):
    run, summary = explored
    frame = pd.read_csv(run.out / "map.csv", keep_default_na=False)
    queue = pd.read_csv(run.out / "queue.csv", keep_default_na=False)
    assert len(frame) == summary["images"] == 16 * 24
    unlabelled = frame[frame["label"] == ""]
    assert len(unlabelled) == 16 * 3
    copies = [key for text in queue["keys_of_copies"] for key in text.split()]
    assert sorted([*queue["key"], *copies]) == sorted(unlabelled["key"])
    assert queue[summary["ranked_by"]].is_monotonic_decreasing
    assert set(", ".join(queue["nearest_labels"]).split(", ")) <= set(SHAPES)
    assert {"image_x", "brightness", "autoencoder_loss", "energy", "x", "y"} <= set(frame)
    right = frame[(frame["split"] == "test") & (frame["label"] != "")]
    assert (right["predicted"] == right["label"]).mean() > 0.6
    assert set(summary["files"]) == {path.name for path in run.out.iterdir() if path.is_file()}
    assert any("conv-autoencoder version 1" in note for note in summary["notes"])


def test_the_parametric_map_is_saved_and_maps_as_it_did(explored, data):
    run, _ = explored
    frame = pd.read_csv(run.out / "map.csv")
    model = keras.models.load_model(run.out / "map.keras")
    outputs = embeddings.compute_outputs(load.read_model(run.version), data)
    places = parametric_umap.placed(model, outputs.embedding)
    assert np.allclose(places, frame[["x", "y"]], atol=1e-4)
    trust = pd.read_csv(run.out / "trustworthiness.csv")
    assert trust["map"].tolist() == ["parametric UMAP", "UMAP"]
    assert trust["steps"].tolist()[0] == 150 and (trust["new"] > 0.6).all()


def test_a_class_that_was_left_out_is_not_trained_without_again(explored, monkeypatch):
    run, summary = explored
    table = pd.read_csv(run.out / "leave_out.csv")
    assert set(table["class"]) == {"ring", novelty_benchmark.MEAN}
    assert (
        table["auroc"].between(0, 1).all()
        and (table["n_novel"] >= novelty_benchmark.MIN_NOVEL).all()
    )
    best = table[table["class"] == "ring"].set_index("score")["auroc"].idxmax()
    assert summary["ranked_by"] == best

    def refused(*args, **options):
        raise AssertionError("it was trained again")

    monkeypatch.setattr(loop, "fit", refused)
    subjects, _ = explore_run.versions.opened(TASK, run.version, run.records)
    opened = [(subject.card, subject.data, subject.spec) for subject in subjects]
    again = novelty_benchmark.benchmark(opened, "ring", run.out / "leave-out")
    assert np.allclose(again["auroc"], table["auroc"])
    with pytest.raises(AssertionError, match="trained again"):
        novelty_benchmark.benchmark(opened, "ring", run.out / "leave-out", epochs=1)
    assert (
        novelty_benchmark.winner(novelty_benchmark.stored_results(opened, run.out / "leave-out"))
        == best
    )


def test_images_that_nobody_labelled_are_explored_by_an_autoencoder_alone(models, tmp_path):
    def read_bare(source, options):
        return Reading([example._replace(label=-1) for example in read(source, options).examples])

    task = replace(TASK, name="bare", classes=(), read=read_bare)
    data = four_class_task.packed(tmp_path, files=16, task=task)
    version = tmp_path / "models" / "bare" / "conv-autoencoder" / "1"
    shutil.copytree(models / TASK.name / "conv-autoencoder" / "1", version)
    card = store.read_card(version)
    bare = replace(
        card,
        classes=(),
        spec=replace(card.network_spec, classes=()),
        data=RecordSummary(fingerprint="another"),
    )
    (version / "assets.extra" / "card.json").write_bytes(bare.to_json())
    summary = explore_run.explore(
        explore_run.ExplorationConfig(task, version, data.folder, tmp_path / "out")
    )
    frame = pd.read_csv(tmp_path / "out" / "map.csv", keep_default_na=False)
    assert set(frame["label"]) == set(frame["predicted"]) == {""}
    assert {"autoencoder_loss", "neighbours"} <= set(frame) and "energy" not in frame
    queue = pd.read_csv(tmp_path / "out" / "queue.csv")
    assert len(queue) + queue["near_copies"].sum() == len(frame) == 16 * 24
    assert summary["ranked_by"] == explore_run.DEFAULT and len(summary["notes"]) == 2


def test_of_many_images_a_sample_is_mapped_and_the_rest_is_placed(run, data, monkeypatch):
    monkeypatch.setattr(umap, "EXACT", 100)
    monkeypatch.setattr(umap, "PLACED_AT_ONCE", 150)
    summary = explore_run.explore(run)
    training = sum(data.manifest.counts["train"].values())
    labelled = training - data.manifest.counts["train"]["(unlabelled)"]
    assert summary["notes"][-2:] == [
        f"Novelty is measured against 100 of {labelled} training images, the same share of each "
        "group but a few of each class.",
        f"The map is fitted to 100 of {training} training images, the same share of each group "
        "but a few of each class.",
    ]
    frame = pd.read_csv(run.out / "map.csv", keep_default_na=False)
    result = Exploration(run.out / "explore.html", summary)
    assert result.map["predicted"].tolist() == frame["predicted"].tolist()
    entries = pd.read_csv(run.out / "queue.csv", keep_default_na=False)
    assert result.queue["key"].tolist() == entries["key"].tolist()
    assert (result.queue["label"] == entries["label"]).all(), "no label is an empty cell, not NaN"
    assert len(frame) == 16 * 24 and np.isfinite(frame[["x", "y"]].to_numpy()).all()
    assert purity(frame[["x", "y"]].to_numpy(), frame["predicted"].to_numpy()) > 0.8


def test_a_class_that_is_left_out_is_never_learnt_from(data, spec):
    for part in (data.train, data.validation):
        subset = novelty_benchmark.without_class(data, part, 2)
        labels = dataset.labels_of(data.folder, part.splits, manifest=data.manifest)[subset.chosen]
        assert set(labels.tolist()) == {0, 1}


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Returns three kinds of points far apart, [n, 8] float32, and the kind of each."""
    rng = np.random.default_rng(0)
    kind = np.arange(240) % 3
    return (rng.normal(size=(240, 8)) + 15 * np.eye(8)[kind]).astype(np.float32), kind


def purity(places: np.ndarray, kind: np.ndarray) -> float:
    """Returns the share of points whose nearest neighbour on a map is of their kind."""
    nearest = novelty.neighbours(places, np.ones(len(places), bool), count=1)[1][:, 0]
    return float((kind[nearest] == kind).mean())


def test_both_maps_part_what_is_apart_and_place_new_points_there():
    points, kind = blobs()
    mapper = umap.fit(points[:180], seed=0)
    fitted = parametric_umap.fit(points[:180], seed=0, steps=300)
    assert fitted.steps == len(fitted.losses) == 300
    assert fitted.losses[-50:].mean() < 0.8 * fitted.losses[:10].mean()
    for places in (umap.placed(mapper, points), parametric_umap.placed(fitted.model, points)):
        assert purity(places, kind) > 0.99
        assert umap.trust(points, places, seed=0) > 0.8
        assert umap.trust(points, np.random.default_rng(0).permutation(places), seed=0) < 0.7
    result = umap.clusters(umap.placed(mapper, points))
    assert [set(result[kind == one]) - {-1} for one in range(3)].count(set()) == 0
    assert len({tuple(sorted(set(result[kind == one]) - {-1})) for one in range(3)}) == 3
    assert np.array_equal(umap.fit(points[:180], seed=0).embedding_, mapper.embedding_)
    head, tail, weight = parametric_umap.graph(points[:180], seed=0)
    assert np.allclose(mapper.graph_.toarray()[head, tail], weight, atol=0.01)  # float32
    assert mapper.graph_.nnz == len(weight)


def test_clusters_are_numbered_by_size_and_few_points_have_none():
    rng = np.random.default_rng(0)
    places = np.concatenate(
        [rng.normal(0, 0.1, (20, 2)), rng.normal(9, 0.1, (60, 2)), rng.normal(-9, 0.1, (40, 2))]
    )
    result = umap.clusters(places)
    assert [
        np.bincount(result[part] + 1).argmax() - 1 for part in np.split(np.arange(120), [20, 80])
    ] == [2, 0, 1]
    assert set(umap.clusters(places[:5])) == {-1}


def test_the_cross_entropy_falls_as_joined_points_meet_and_others_part():
    near, far = np.zeros((4, 2), np.float32), np.full((4, 2), 9, np.float32)
    negatives = np.tile(far, (parametric_umap.NEGATIVES, 1))
    curve = (1.58, 0.90)  # of a least distance of 0.1: McInnes et al., section 4.3

    def loss(tails, negatives) -> float:
        return float(parametric_umap.cross_entropy(near, tails, negatives, curve=curve))

    best = loss(near, negatives)
    assert best < 0.01 < loss(far, negatives) and best < loss(near, np.zeros_like(negatives))
    both = np.log(1 + 1.58 * 162**0.90) / 6 - 5 / 6 * np.log(1 - 1 / (1 + 1.58 * 162**0.90))
    assert loss(far, negatives) == pytest.approx(both, rel=1e-3)


def test_evaluation_describes_what_the_map_tells_of(data):
    labels = dataset.labels_of(data.folder, ("test",), manifest=data.manifest)
    frame = metadata.read_metadata(data, "test", labels)
    assert {"key", "group", "image_x", "label"} <= set(frame) and len(frame) == len(labels)
