"""Novelty by embedding: ordinary images of new groups rarely are new, others by either part."""

import dataclasses
import io
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from made_card import made_card

from tfpipe.base.errors import UserError
from tfpipe.evaluation import embedding_novelty
from tfpipe.evaluation.embedding_novelty import DescribedImages
from tfpipe.inference import monitoring
from tfpipe.registry import novelty_file

N_CLASSES, N_MEASURES = 3, 15  # without exposure


def described(count: int, *, seed: int, length: int = 6, spread: float = 1.0):
    """Returns ordinary images as numbers, and their labels: classes differ in place and spread."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, N_CLASSES, count)
    scale = spread * (1 + labels[:, None])
    embedding = 20 * labels[:, None] + scale * rng.normal(size=(count, length))
    return DescribedImages(embedding, scale * rng.normal(size=(count, N_MEASURES))), labels


def fitted(*, length: int = 6, groups=None, validation=None):
    training, labels = described(600, seed=1, length=length)
    held_out = described(400, seed=2, length=length)[0] if validation is None else validation
    groups = np.arange(400) // 40 if groups is None else groups
    return embedding_novelty.fit(
        training, labels, validation=held_out, groups=groups, ignores_exposure=True
    )


def share_of_new(images: DescribedImages, statistics) -> float:
    return float((embedding_novelty.score(images, statistics) > statistics.limit).mean())


@pytest.mark.parametrize("length", [6, 100])
def test_ordinary_images_are_rarely_new_and_others_are_by_embedding_or_pixels(length):
    statistics = fitted(length=length)
    ordinary, _ = described(2000, seed=3, length=length)
    assert 0.002 < share_of_new(ordinary, statistics) < 0.045
    between = ordinary._replace(embedding=ordinary.embedding + 8 + np.arange(length) % 2)
    assert share_of_new(between, statistics) > 0.9
    of_other_pixels = ordinary._replace(measures=ordinary.measures + 30)
    assert share_of_new(of_other_pixels, statistics) > 0.9
    shares = embedding_novelty.share_below(
        embedding_novelty.score(ordinary, statistics), statistics
    )
    # The share of validation images that are less new is uniform in 0..1 for ordinary ones.
    assert abs(shares.mean() - 0.5) < 0.05


def test_a_class_of_little_spread_has_a_narrow_distribution_of_its_own():
    statistics = fitted()
    point = np.zeros((1, 6))
    measures = np.zeros((1, N_MEASURES))
    places = [DescribedImages(point + 20 * label + 6, measures) for label in (0, 2)]
    narrow, wide = (embedding_novelty.score(place, statistics)[0] for place in places)
    assert narrow > statistics.limit > wide


def test_each_validation_group_counts_alike():
    ordinary, _ = described(390, seed=4)
    far, _ = described(10, seed=5, spread=3.0)
    validation = embedding_novelty.join([ordinary, far])
    of_far = np.where(np.arange(400) < 390, "large", "small")
    limits = [
        fitted(validation=validation, groups=groups).limit for groups in (np.arange(400), of_far)
    ]
    assert limits[1] > 1.3 * limits[0]


def test_rare_classes_and_classes_without_any_spread_have_finite_scores():
    training, labels = described(600, seed=1)
    training.embedding[labels == 2] = 7.0
    training.measures[labels == 2] = 7.0
    labels[:30] = np.arange(30) + 10
    validation, _ = described(100, seed=2)
    statistics = embedding_novelty.fit(
        training, labels, validation=validation, groups=np.zeros(100), ignores_exposure=True
    )
    assert len(statistics.means) == N_CLASSES + 1
    assert np.isfinite(embedding_novelty.score(validation, statistics)).all()


def test_too_few_images_have_no_statistics():
    few, labels = described(49, seed=1)
    many, _ = described(60, seed=2)
    for training, validation in ((few, many), (many, few), (None, many), (many, None)):
        made = embedding_novelty.fit(
            training,
            labels,
            validation=validation,
            groups=np.zeros(60),
            ignores_exposure=True,
        )
        assert made is None


@pytest.fixture
def version(tmp_path):
    (tmp_path / "assets.extra").mkdir()
    return tmp_path


CARD = made_card(sha256={novelty_file.NAME: "0"})


def test_a_file_holds_them_and_an_older_version_has_none(version):
    statistics = fitted(length=100)
    novelty_file.write(statistics, version)
    read = novelty_file.read(version, CARD)
    images, _ = described(50, seed=9, length=100)
    before, after = (embedding_novelty.score(images, one) for one in (statistics, read))
    np.testing.assert_allclose(before, after, rtol=1e-3, atol=0.05)
    assert novelty_file.read(version, made_card()) is None


def test_a_damaged_file_is_refused_by_a_sentence(version):
    good = fitted()
    wrong = (
        {"means": good.means[:, :-1]},
        {"roots": np.full_like(good.roots, np.nan)},
        {"quantiles": good.quantiles[::-1]},
        {"center": np.full_like(good.center, np.inf)},
        {"constants": good.constants[:0], "means": good.means[:0], "roots": good.roots[:0]},
    )
    for change in wrong:
        novelty_file.write(dataclasses.replace(good, **change), version)
        with pytest.raises(UserError, match=r"novelty.npz is damaged: .*Export it again"):
            novelty_file.read(version, CARD)
    good = fitted(length=100)
    novelty_file.write(
        dataclasses.replace(good, components=np.full_like(good.components, np.nan)), version
    )
    with pytest.raises(UserError, match=r"components is \(100, 64\), expected .* finite numbers"):
        novelty_file.read(version, CARD)
    novelty_file.write(good, version)
    assert novelty_file.read(version, CARD, length=100) is not None
    with pytest.raises(UserError, match="of embeddings of 100, the network's have 128"):
        novelty_file.read(version, CARD, length=128)
    for array in (np.array([None]), np.arange(3)):  # an object would be unpickled
        np.savez(version / novelty_file.NAME, center=array)
        with pytest.raises(UserError, match="is damaged: center.npy claims"):
            novelty_file.read(version, CARD)
    header = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(version / novelty_file.NAME, "w") as archive:
        archive.writestr("center.npy", header.getvalue())
    with pytest.raises(UserError, match="claims 1,099,511,627,776 values"):
        novelty_file.read(version, CARD)
    (version / novelty_file.NAME).write_bytes(b"no archive")
    with pytest.raises(UserError, match="is damaged"):
        novelty_file.read(version, CARD)


@pytest.mark.parametrize(
    ("shape", "length"), [((None, 8), 8), ((None, 4, 8), 32), ((None, None, 8), None), (None, None)]
)
def test_the_length_of_an_embedding_is_that_of_the_signature(shape, length):
    embed = SimpleNamespace(structured_outputs={"embedding": tf.TensorSpec(shape)})
    assert novelty_file.embedding_length(embed) == length
    assert novelty_file.embedding_length(None) is None


def hostile_archives() -> list[bytes]:
    """Returns archives that fail to unpack, in ways of their own."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("center.npy", bytes(1000))
    good = whole.getvalue()
    begin = 30 + len("center.npy")
    place = good.index(b"PK\x01\x02")  # of the directory, which has the same fields
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1L,"
    unfinished = io.BytesIO()
    with zipfile.ZipFile(unfinished, "w") as archive:
        text = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive.writestr("center.npy", text)
    return [
        good[:begin] + b"\xff" * 5 + good[begin + 5 :],  # zlib.error
        good[: place + 8] + b"\x01" + good[place + 9 :],  # RuntimeError: encrypted
        good[: place + 10] + b"\x63" + good[place + 11 :],  # NotImplementedError: compression
        unfinished.getvalue(),  # tokenize.TokenError
    ]


@pytest.mark.parametrize("archive", hostile_archives(), ids=["zlib", "key", "method", "header"])
def test_a_hostile_archive_is_one_sentence(archive, version):
    (version / novelty_file.NAME).write_bytes(archive)
    with pytest.raises(UserError, match=r"novelty.npz is damaged: .+\. Export it again"):
        novelty_file.read(version, CARD)


def test_long_embeddings_are_described_by_few_components_without_a_large_matrix(monkeypatch):
    def small_only(matrix, *rest, **named):
        assert max(matrix.shape) < 200, matrix.shape
        return decompose(matrix, *rest, **named)

    decompose = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", small_only)
    monkeypatch.setattr(np.linalg, "svd", small_only)
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(300, 10)))[0]
    places = (10 * rng.normal(size=(400, 10)) @ basis.T + 0.1 * rng.normal(size=(400, 300))) + 5
    images = DescribedImages(places.astype(np.float32), rng.normal(size=(400, N_MEASURES)))
    made = embedding_novelty.fit(
        images, np.zeros(400, int), validation=images, groups=np.zeros(400), ignores_exposure=True
    )
    assert made.components.shape == (300, 64)
    np.testing.assert_allclose(np.linalg.norm(basis.T @ made.components, axis=1), 1, atol=1e-3)
    same = images._replace(embedding=np.ones((400, 300), np.float32))
    constant = embedding_novelty.fit(
        same, np.zeros(400, int), validation=same, groups=np.zeros(400), ignores_exposure=True
    )
    assert np.isfinite(embedding_novelty.score(same, constant)).all()


def test_of_long_embeddings_fewer_images_are_kept_in_memory(tmp_path, monkeypatch):
    data = tiny.packed(tmp_path)
    image = keras.Input((16, 16, 1), name="image")
    x = keras.layers.Flatten(name="embedding")(image)
    model = keras.Model({"image": image}, keras.layers.Dense(2)(x))
    counts = []

    def count(training, labels, *, validation, groups, ignores_exposure):
        counts.append([len(training.embedding), len(labels), len(validation.embedding)])

    monkeypatch.setattr(embedding_novelty, "fit", count)
    novelty_file.fit(model, data, ignores_exposure=True)
    monkeypatch.setattr(novelty_file, "MAX_EMBEDDED", 30 * 256 + 255)
    novelty_file.fit(model, data, ignores_exposure=True)
    assert min(counts[0]) > 30 and counts[1] == [30, 30, 30]
    monkeypatch.setattr(novelty_file, "MAX_VALUES", 256 * 63)  # less than the components
    assert novelty_file.fit(model, data, ignores_exposure=True) is None and len(counts) == 2


def test_without_an_embedding_the_pixels_decide():
    images = np.zeros((2, 8, 8, 1), np.uint8)
    statistics = fitted()
    novelty = monitoring.find_new(images, np.zeros((2, 6)), card=CARD, statistics=statistics)
    assert novelty.false_alarms == pytest.approx(0.02)
    assert novelty.share.shape == novelty.are_new.shape == (2,)
    assert monitoring.find_new(images, None, card=CARD, statistics=statistics) is None
    assert monitoring.find_new(images, np.zeros((2, 6)), card=CARD, statistics=None) is None
