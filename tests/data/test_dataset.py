"""Records to batches: all once where it is judged, shuffled and changed where it is learnt."""

import dataclasses
from itertools import product

import numpy as np
import pytest
import tensorflow as tf
from small_records import WINDOWS, draw_small, make_task, names_in, pack_small, spread

from tfpipe.base.errors import UserError
from tfpipe.data import augmentation, sampling
from tfpipe.data import dataset as data_dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.data.dataset import Subset
from tfpipe.tasks.task import RawFiles

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]

DTYPES = ("uint8", "uint16", "float32")


@pytest.fixture(scope="module", params=DTYPES)
def packed(request, tmp_path_factory):
    """Records and their manifest: 2 training pictures of one class, 5 of both."""
    names = spread() + names_in("train", 2, word="plain")
    folder = tmp_path_factory.mktemp(request.param)
    pack_small(
        draw_small(folder / "raw", names),
        folder / "records",
        task=make_task(image_dtype=request.param),
    )
    return folder / "records", data_manifest.trusted(folder / "records")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The same in uint8, for what no dtype changes."""
    folder = tmp_path_factory.mktemp("one")
    names = spread() + names_in("train", 2, word="plain")
    pack_small(draw_small(folder / "raw", names), folder / "records")
    return folder / "records", data_manifest.trusted(folder / "records")


def learnt(packed, *, seed=1, take=None, skip=0, **settings):
    """Returns images, columns and labels of some training batches, an epoch's by default."""
    folder, manifest = packed
    drawing = sampling.Drawing(seed, **{"batch_size": 8} | settings)
    dataset = data_dataset.training_batches(folder, drawing, manifest=manifest, skip=skip)
    counts = data_dataset.class_counts(folder, data_dataset.TRAIN, manifest=manifest)
    steps = sampling.steps_per_epoch(counts, drawing)
    batches = list(dataset.take(take or steps).as_numpy_iterator())
    return (
        np.concatenate([batch["image"] for batch, _ in batches]),
        np.concatenate([batch["columns"] for batch, _ in batches]),
        np.concatenate([label for _, label in batches]),
    )


def judged(packed, split, **settings):
    folder, manifest = packed
    batches = list(data_dataset.batches(folder, Subset((split,)), manifest=manifest, **settings))
    return (
        np.concatenate([batch["image"] for batch, _ in batches]),
        np.concatenate([batch["columns"] for batch, _ in batches]),
        np.concatenate([label for _, label in batches]),
    )


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# What is judged.


@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_example_is_judged_once_and_in_order(one, split):
    folder, manifest = one
    count = sum(manifest.counts[split].values())
    sizes = [
        len(label)
        for _, label in data_dataset.batches(
            folder, Subset((split,)), manifest=manifest, batch_size=4
        )
    ]
    assert sizes == [4] * (count // 4) + [count % 4] and count % 4
    images, columns, _ = judged(one, split, batch_size=4)
    assert columns[:, 0].tolist() == list(range(WINDOWS)) * (count // WINDOWS)
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), columns[:, 1], rtol=1e-5)
    assert len({image.tobytes() for image in images}) == count
    assert same(judged(one, split, batch_size=4), judged(one, split, batch_size=64))


def test_a_split_without_records_is_refused(one):
    folder, manifest = one
    with pytest.raises(UserError, match="no test records.*tfpipe pack"):
        data_dataset.batches(
            folder,
            data_dataset.TEST,
            manifest=dataclasses.replace(manifest, shards=manifest.shards[:1]),
        )


def test_batches_are_as_the_manifest_says(packed):
    folder, manifest = packed
    batch, label = next(
        iter(data_dataset.batches(folder, data_dataset.TRAIN, manifest=manifest, batch_size=3))
    )
    assert batch["image"].shape == (3, *manifest.image_shape)
    assert batch["image"].dtype == manifest.image_dtype
    assert (batch["columns"].shape, batch["columns"].dtype) == ((3, 2), tf.float32)
    assert (label.shape, label.dtype) == ((3,), tf.int64)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_records_give_the_pictures_that_raw_ones_give(tmp_path, dtype, channels):
    big = (150, 250, 3) if channels == 3 else (450, 250, 1)
    raw = draw_small(tmp_path / "raw", spread(1, 1, 1), image_shape=(150, 250, 3))
    given = []
    for name, shape in (("png", big), ("raw", (150, 10, channels))):
        # The same bytes of a file, cut in windows of another shape.
        task = make_task(image_shape=shape, image_dtype=dtype, raw_files=RawFiles())
        manifest = pack_small(raw, tmp_path / name, task=task)
        assert manifest.image_encoding == ("png" if name == "png" else "bytes")
        given.append(judged((tmp_path / name, data_manifest.trusted(tmp_path / name)), "train")[0])
    assert given[0].dtype == given[1].dtype == dtype and len(given[0]) == WINDOWS
    assert given[0].tobytes() == given[1].tobytes()


# What is learnt from.


@pytest.mark.slow
@pytest.mark.parametrize("balance", sampling.BALANCES)
def test_the_same_seed_gives_the_same_batches_and_another_others(one, balance):
    first = learnt(one, balance=balance)
    assert same(first, learnt(one, balance=balance))
    assert not same(first, learnt(one, seed=2, balance=balance))
    # Order too, not pictures alone.
    assert not np.array_equal(first[1], learnt(one, seed=2, balance=balance)[1])


def test_an_epoch_shows_every_training_example_once_in_an_order_of_its_own(one):
    images, columns, labels = judged(one, "train")
    steps = sampling.steps_per_epoch(np.bincount(labels), sampling.Drawing(1, batch_size=7))
    assert steps == len(labels) // 7 and len(labels) % 7 == 0
    shown = learnt(one, batch_size=7, take=2 * steps, augmentation="none")
    wanted = sorted(image.tobytes() for image in images)
    epochs = [shown[0][: len(images)], shown[0][len(images) :]]
    for epoch in epochs:
        assert sorted(image.tobytes() for image in epoch) == wanted
        assert not np.array_equal(epoch, images)
    assert not np.array_equal(*epochs)


def test_augmentation_changes_pictures_only_and_keeps_their_kind(packed):
    plain, changed = learnt(packed, augmentation="none", take=12), learnt(packed, take=12)
    assert same(plain[1:], changed[1:])  # the same examples in the same order
    assert changed[0].dtype == plain[0].dtype and changed[0].shape == plain[0].shape
    assert (changed[0] != plain[0]).any(axis=(1, 2, 3)).mean() > 0.95
    top = plain[0].max() * (1 + augmentation.BRIGHTNESS)
    if plain[0].dtype.kind == "u":
        top = min(top, np.iinfo(plain[0].dtype).max)
    assert changed[0].min() >= 0 and changed[0].max() <= top + 1e-6
    assert np.isfinite(changed[0].astype(float)).all()


def moved(image, *, upside, mirrored, rows):
    """Returns a picture turned over and moved along its rows, its edge rows repeated."""
    image = image[:: -1 if upside else 1, :: -1 if mirrored else 1]
    return image[np.clip(np.arange(len(image)) + rows, 0, len(image) - 1)]


def gain_of(old, new):
    """Returns the gain from one picture to another, and by how much none fits, in grey levels."""
    dark = old < 255 / (1 + augmentation.BRIGHTNESS) - 1  # nothing of it is cut off at 255
    gain = (new[dark] @ old[dark]) / (old[dark] @ old[dark])
    return gain, np.abs(new - np.minimum(gain * old, 255)).max()


def test_every_change_is_a_flip_a_shift_of_rows_and_a_gain_within_bounds(one):
    kinds = ("none", "slices")
    before, after = (learnt(one, augmentation=kind, take=25)[0] for kind in kinds)
    most = max(1, int(before.shape[1] * augmentation.SHIFT_ROWS))
    ways = list(product((False, True), (False, True), range(-most, most + 1)))
    seen, gains = [], []
    for old, new in zip(before.astype(float), after.astype(float), strict=True):
        fits = [
            gain_of(moved(old, upside=upside, mirrored=mirrored, rows=rows), new)
            for upside, mirrored, rows in ways
        ]
        best = min(range(len(ways)), key=lambda i: fits[i][1])
        assert fits[best][1] < 2
        seen.append(ways[best])
        gains.append(fits[best][0])
    shares = np.mean(seen, axis=0)
    assert 0.35 < shares[0] < 0.65 and 0.35 < shares[1] < 0.65
    assert {rows for *_, rows in seen} == set(range(-most, most + 1))
    assert 0.84 < min(gains) < 0.9 and 1.1 < max(gains) < 1.16


def photos(images, number=0, seed=1):
    """Returns pictures [n, height, width, channels] changed as photographs are."""
    told = {"image": tf.constant(images)}, tf.zeros(len(images))
    return augmentation.photo_augmentation(seed)(tf.constant(number), told)[0]["image"].numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_photos_keep_their_kind_and_follow_from_seed_and_number(dtype, channels):
    images = np.random.default_rng(0).integers(0, 255, (6, 20, 24, channels)).astype(dtype)
    one = photos(images)
    assert one.dtype == images.dtype and one.shape == images.shape
    np.testing.assert_array_equal(one, photos(images))
    assert (one != photos(images, number=1)).any() and (one != photos(images, seed=2)).any()
    assert (one != images).any(axis=(1, 2, 3)).all()


def test_photos_are_reflected_where_something_lacks_and_change_their_light_by_a_tenth():
    # Grey stays grey under any move, so that only gain is left: contrast and hue turn about it.
    changed = photos(np.full((40, 16, 16, 3), 100, np.uint8)).astype(float)
    assert (np.ptp(changed, axis=(1, 2, 3)) <= 1).all()
    gains = changed.mean(axis=(1, 2, 3)) / 100
    assert 0.89 <= gains.min() < 0.95 and 1.05 < gains.max() <= 1.11


def test_photos_are_turned_shifted_and_flipped_both_ways():
    # Brightness rises to the right and, less, downwards: a flip changes the sign of a slope.
    y, x = np.mgrid[:32, :32]
    ramp = np.repeat((60 + 2 * x + y)[None, ..., None], 60, axis=0).astype(np.float32)
    moved = augmentation.flip_shift_rotate(
        tf.constant(ramp), tf.random.stateless_uniform((5, 60), seed=(0, 3), minval=-1.0)
    ).numpy()[..., 0]
    across = np.sign(np.median(np.diff(moved, axis=2), axis=(1, 2)))
    assert {-1.0, 1.0} <= {*across}
    still = augmentation.flip_shift_rotate(
        tf.constant(ramp[:2]), tf.constant([[0.0, 1], [0, 1], *[[0, 0]] * 3])
    )
    np.testing.assert_array_equal(still.numpy(), ramp[:2])


def test_sampling_draws_classes_by_the_fourth_root_of_their_counts(one):
    _, manifest = one
    assert manifest.counts["train"] == {"plain": 27, "spotted": 15}
    plain = learnt(one, balance="none", take=100, augmentation="none")[2]
    drawn = learnt(one, balance="sampling", take=100, augmentation="none")[2]
    assert abs(plain.mean() - 15 / 42) < 0.02
    # 15 ** 0.25 / (15 ** 0.25 + 27 ** 0.25); of 800 draws five standard deviations are 0.09.
    assert abs(drawn.mean() - 0.463) < 0.09
    assert drawn.mean() > plain.mean() + 0.05


def test_hard_examples_are_a_quarter_of_what_is_drawn(one):
    images, _, labels = judged(one, "train")
    place = int(np.flatnonzero(labels == 1)[0])
    hard = np.arange(len(labels)) == place
    shown = learnt(one, balance="sampling", take=100, augmentation="none", hard=hard)[0]
    share = np.mean([(image == images[place]).all() for image in shown])
    # A quarter, and what plain sampling draws of it; of 800 draws five deviations are 0.08.
    assert abs(share - (0.25 + 0.75 * 0.463 / 15)) < 0.08


def test_sampling_shows_every_example_of_every_class(one):
    images = judged(one, "train")[0]
    shown = learnt(one, balance="sampling", take=20, augmentation="none")[0]
    assert {image.tobytes() for image in shown} == {image.tobytes() for image in images}


@pytest.mark.parametrize(
    ("counts", "steps"),
    [
        ((27, 15), 6),  # no more than all examples fill
        ((10_000, 400), 162),  # until the rare class, drawn 0.309 of the time, was seen once
        ((10_000, 10), 64),  # but not an epoch of nothing
    ],
)
def test_steps_of_a_sampled_epoch_follow_the_rare_class(counts, steps):
    drawn, plain = (sampling.Drawing(0, batch_size=8, balance=b) for b in ("sampling", "none"))
    assert sampling.steps_per_epoch(np.array(counts), drawn) == steps
    assert sampling.steps_per_epoch(np.array(counts), plain) == -(-sum(counts) // 8)


def test_class_weights_make_classes_weigh_the_same():
    weights = sampling.class_weights(np.array([27, 15]))
    np.testing.assert_allclose(weights, [42 / (2 * 27), 42 / (2 * 15)], rtol=1e-6)
    assert weights[0] * 27 == pytest.approx(weights[1] * 15) == pytest.approx(42 / 2)
    assert sampling.class_weights(np.array([5, 5, 5])).tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", sampling.BALANCES)
def test_skipped_batches_are_left_out_and_the_others_are_as_they_were(one, kind):
    whole = learnt(one, balance=kind, take=9)
    rest = learnt(one, balance=kind, skip=4, take=5)
    assert same([part[4 * 8 :] for part in whole], rest)


@pytest.mark.parametrize("kind", sampling.BALANCES)
def test_a_part_gives_its_own_examples_only(one, kind):
    folder, manifest = one
    _, columns, labels = judged(one, "train")
    chosen = np.arange(len(labels)) % 3 == 0
    part = Subset(("train",), chosen)
    assert data_dataset.class_counts(folder, part, manifest=manifest).tolist() == [
        np.sum(labels[chosen] == label) for label in (0, 1)
    ]
    found = list(data_dataset.batches(folder, part, manifest=manifest, batch_size=5))
    np.testing.assert_array_equal(np.concatenate([x["columns"] for x, _ in found]), columns[chosen])
    drawing = sampling.Drawing(1, batch_size=8, balance=kind, augmentation="none")
    drawn = data_dataset.training_batches(folder, drawing, manifest=manifest, subset=part).take(12)
    shown = {row.tobytes() for x, _ in drawn for row in x["columns"].numpy()}
    assert shown == {row.tobytes() for row in columns[chosen]}


@pytest.mark.parametrize("kind", sampling.BALANCES)
def test_examples_that_do_not_stay_in_memory_are_all_shown_in_another_order(one, kind, monkeypatch):
    folder, manifest = one
    n_bytes = sum(shard.bytes for shard in manifest.shards if shard.split == "train")
    assert data_dataset.fits_memory(data_dataset.TRAIN, manifest=manifest)
    monkeypatch.setattr(data_dataset, "MEMORY_BYTES", n_bytes // 10)
    assert not data_dataset.fits_memory(data_dataset.TRAIN, manifest=manifest)
    count = manifest.counts["train"]["plain"] + manifest.counts["train"]["spotted"]
    settings = {"balance": kind, "augmentation": "none", "batch_size": count}
    first, second = (part[1] for part in (learnt(one, take=i, **settings) for i in (1, 2)))
    assert same([first], [second[:count]])  # the same seed, the same order
    if kind != "sampling":
        every = np.sort(judged(one, "train")[1], axis=0)
        epochs = second.reshape(2, count, -1)
        for epoch in epochs:
            np.testing.assert_array_equal(np.sort(epoch, axis=0), every)
        assert not same([epochs[0]], [epochs[1]])
    whole = learnt(one, balance=kind, take=9)
    assert same([part[4 * 8 :] for part in whole], learnt(one, balance=kind, skip=4, take=5))


def test_a_large_part_is_read_by_shards_in_another_order_each_epoch(one, monkeypatch):
    folder, manifest = one
    _, columns, labels = judged(one, "train")
    chosen = np.arange(len(labels)) % 7 != 0
    part, count = Subset(("train",), chosen), int(chosen.sum())
    monkeypatch.setattr(data_dataset, "MEMORY_BYTES", 1)  # nothing is shuffled beyond shards
    drawing = sampling.Drawing(1, batch_size=count, augmentation="none")
    drawn = data_dataset.training_batches(folder, drawing, manifest=manifest, subset=part)
    epochs = [x["columns"].numpy() for x, _ in drawn.take(4)]
    for epoch in epochs:
        assert sorted(map(bytes, epoch)) == sorted(map(bytes, columns[chosen]))
    assert len({epoch.tobytes() for epoch in epochs}) > 1
    again = data_dataset.training_batches(folder, drawing, manifest=manifest, subset=part, skip=2)
    assert same(epochs[2:], [x["columns"].numpy() for x, _ in again.take(2)])


def test_a_rare_class_stays_in_memory_where_all_examples_do_not(one, monkeypatch):
    manifest = one[1]
    n_bytes = sum(shard.bytes for shard in manifest.shards if shard.split == "train")
    cached, cache = [], tf.data.Dataset.cache
    monkeypatch.setattr(tf.data.Dataset, "cache", lambda data: cached.append(1) or cache(data))
    images = judged(one, "train")[0]
    # Of 42 examples 15 are of the rarer class; 20 of each class have room, then 2.
    for share, count in ((1, 2), (40 / 42, 1), (4 / 42, 0)):
        monkeypatch.setattr(data_dataset, "MEMORY_BYTES", round(n_bytes * share))
        shown = learnt(one, balance="sampling", take=30, augmentation="none")[0]
        assert {image.tobytes() for image in shown} == {image.tobytes() for image in images}
        assert len(cached) == count
        cached.clear()


@pytest.mark.parametrize("kind", sampling.BALANCES)
def test_rows_are_those_of_the_examples_that_are_drawn(one, kind):
    folder, manifest = one
    _, columns, labels = judged(one, "train")
    hard = np.arange(len(labels)) % 5 == 0
    for given in (None, hard, np.zeros_like(hard)):
        drawing = sampling.Drawing(1, 8, balance=kind, hard=given, augmentation="none")
        shown = data_dataset.training_batches(folder, drawing, manifest=manifest).take(9)
        shown = np.concatenate([batch["columns"] for batch, _ in shown])
        rows = data_dataset.training_rows(labels, drawing)
        drawn = np.concatenate(list(rows.take(9).as_numpy_iterator()))
        np.testing.assert_array_equal(columns[drawn], shown)
        rest = data_dataset.training_rows(labels, drawing, skip=4).take(5)
        assert np.concatenate(list(rest.as_numpy_iterator())).tolist() == drawn[4 * 8 :].tolist()


def test_a_view_has_every_training_example_in_order_and_changes_its_image(one):
    folder, manifest = one
    images, columns, labels = judged(one, "train")

    def view(number, seed=1):
        drawing = sampling.Drawing(seed, batch_size=8)
        batches = data_dataset.augmented_view(folder, drawing, manifest=manifest, view=number)
        features, label = zip(*batches, strict=True)
        np.testing.assert_array_equal(np.concatenate([x["columns"] for x in features]), columns)
        np.testing.assert_array_equal(np.concatenate(label), labels)
        return np.concatenate([x["image"] for x in features])

    views = [view(0), view(1), view(0, seed=2)]
    np.testing.assert_array_equal(view(1), views[1])
    for i, view_images in enumerate(views):
        is_changed = (view_images != images).any(axis=(1, 2, 3))
        assert is_changed.mean() > 0.9
        # No two batches of a view, and no two views, are changed by the same draws.
        assert not any(np.array_equal(view_images, other) for other in views[:i])
