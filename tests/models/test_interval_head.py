"""Where a layer begins and ends: from the table through training to metres of depth."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from made_card import made_card
from small_models import make_features, make_small, make_spec
from small_records import draw_melt, pack_melt

from tfpipe.base.errors import UserError
from tfpipe.data import augmentation, dataset, pack
from tfpipe.models.interval_head import locates
from tfpipe.models.outputs import with_all_outputs
from tfpipe.models.zoo import simple_cnn
from tfpipe.registry import load, store
from tfpipe.registry.export import NetworkExport
from tfpipe.tasks.melt_layer import layer_detection
from tfpipe.tasks.melt_layer import windows as melt_layer_windows
from tfpipe.tasks.task import Example, Reading
from tfpipe.training import compile as training_compile
from tfpipe.training import loop
from tfpipe.training.config import TrainingConfig

pytestmark = pytest.mark.slow

HEIGHT = 24


def read(source, options) -> Reading:
    """Draws pictures of which every other one has a bright band, from a row to another."""
    rng = np.random.default_rng(int(source.path.read_text()))
    examples = []
    for i in range(options.pictures):
        image = rng.integers(0, 90, (HEIGHT, 16, 1), dtype=np.uint8)
        top = int(rng.integers(4, 14))
        bottom = top + int(rng.integers(3, 7))
        image[top:bottom] += np.uint8(120 * (i % 2))
        ends = {"top": top, "bottom": bottom} if i % 2 else {"top": -1, "bottom": -1}
        key = f"{source.name}@{i:03d}"
        examples.append(Example(key, source.group, image, i % 2, np.zeros(0, np.float32), ends))
    return Reading(examples, {"file": source.name, "seed": source.path.read_text()})


TASK = dataclasses.replace(
    tiny.TASK,
    read=read,
    image_shape=(HEIGHT, 16, 1),
    metadata={"top": "int64", "bottom": "int64"},
    whole_file=dataclasses.replace(tiny.TASK.whole_file, interval=("top", "bottom"), evaluate=None),
    raw_files=dataclasses.replace(tiny.TASK.raw_files, skip_duplicate_check=True),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bands")
    (folder / "raw").mkdir()
    for i in range(12):
        (folder / "raw" / f"file{i:02d}.txt").write_text(str(i))
    manifest = pack.pack(TASK, folder / "raw", folder / "records", options=TASK.options)
    return loop.Dataset(folder / "records", manifest, TASK.scoring.objective)


def spec_of(data):
    return dataclasses.replace(tiny.spec_of(data), image_shape=(HEIGHT, 16, 1))


def test_a_window_tells_the_rows_of_the_layer_it_holds_most_of():
    rows = np.array([[60, 70], [95, 115], [300, 420]])
    tops = np.array([30, 50, 65, 100, 330, 500])
    held = melt_layer_windows.layer_in_window(tops, rows)
    # By hand; at 65 both are held whole or in part: 5 of 10 rows, and all of 20.
    assert held[:5].tolist() == [[30, 40], [10, 20], [30, 50], [0, 15], [0, 50]]
    assert melt_layer_windows.layer_in_window(tops, np.zeros((0, 2), int)).tolist() == [[0, 0]] * 6


def test_training_changes_the_interval_as_it_changes_the_picture(data):
    drawing = loop.sampling_config(tiny.build(spec_of(data)), TrainingConfig(seed=4))
    drawn = dataset.training_batches(data.folder, drawing, manifest=data.manifest)
    plain = dataclasses.replace(drawing, augmentation="none")
    unchanged = dataset.training_batches(data.folder, plain, manifest=data.manifest)
    moved = []
    for features, label in [*drawn.take(4), *unchanged.take(1)]:
        pictures, ends = features["image"].numpy(), features["interval"].numpy()
        banded = label.numpy() == 1
        assert (ends[~banded] == -1).all()
        for picture, (start, stop) in zip(pictures[banded], ends[banded], strict=True):
            light = picture.mean(axis=(1, 2))
            bright = np.flatnonzero(light > (light.min() + light.max()) / 2)
            assert bright[0] / HEIGHT == pytest.approx(start, abs=1e-6)
            assert (bright[-1] + 1) / HEIGHT == pytest.approx(stop, abs=1e-6)
            moved.append(start * HEIGHT)
    assert len(moved) > 40 and max(moved) > 14  # turned over
    features, _ = next(iter(dataset.batches(data.folder, dataset.TRAIN, manifest=data.manifest)))
    assert set(features) == {"image"}


def test_training_moves_no_row_of_a_layer_out_of_its_window():
    """Rows of layers of 1 to 50 rows at all places, 7 times brighter than ice, counted again."""
    tops = np.repeat(np.arange(50), 8)
    stops = np.minimum(tops + np.tile([1, 3, 8, 20, 30, 40, 49, 50], 50), 50)
    rows = np.arange(50)
    inside = (rows >= tops[:, None]) & (rows < stops[:, None])
    images = np.where(inside, 210, 30).astype(np.uint8)[:, :, None, None].repeat(8, axis=2)
    ends = np.stack([tops, stops], axis=1).astype(np.float32) / 50
    batch = {"image": tf.constant(images), "interval": tf.constant(ends)}, tf.ones(len(tops))
    features, _ = augmentation.slice_augmentation(3)(tf.constant(0), batch)
    counts = (features["image"].numpy()[:, :, 0, 0] > 100).sum(axis=1)
    is_at_edge = (tops == 0) | (stops == 50)
    np.testing.assert_array_equal(counts[~is_at_edge], (stops - tops)[~is_at_edge])
    assert (counts >= stops - tops).all()
    moved = features["interval"].numpy() * 50
    np.testing.assert_allclose(moved[:, 1] - moved[:, 0], counts, atol=1e-4)


def test_an_augmented_window_holds_three_quarters_of_its_layer():
    """Every row of a core carries its number, and a second channel the brightness it is given."""
    layers = np.array([[100, 300], [310, 320], [340, 344], [420, 500], [530, 590]])
    tops = melt_layer_windows.tops(700, stride_px=1)
    shows = melt_layer_windows.labels(tops, layers=layers, uncertain=layers[:0], guard_px=10) == 1
    tops = tops[shows]
    core = np.stack(np.broadcast_arrays(np.arange(1.0, 701)[:, None], 1.0), axis=2)
    images = melt_layer_windows.windows(core.astype(np.float32), tops)
    ends = (melt_layer_windows.layer_in_window(tops, layers) / 50).astype(np.float32)
    batch = {"image": tf.constant(images), "interval": tf.constant(ends)}, tf.ones(len(tops))
    changed = []
    for number in range(4):
        features, _ = augmentation.slice_augmentation(3)(tf.constant(number), batch)
        image = features["image"].numpy()[:, :, 0]
        rows = np.round(image[..., 0] / image[..., 1]).astype(int) - 1
        for shown, (first, last) in zip(rows, features["interval"].numpy() * 50, strict=True):
            named = set(shown[round(first) : round(last)].tolist())
            shares = [len(named & set(range(a, b))) / min(b - a, 50) for a, b in layers.tolist()]
            assert max(shares) >= melt_layer_windows.INSIDE
        changed += (rows != tops[:, None] + np.arange(50)).any(axis=1).tolist()
    assert np.mean(changed) > 0.5


def test_intervals_turned_twice_are_what_they_were():
    ends = tf.constant([[0.2, 0.5], [-1.0, -1.0]])
    turned = augmentation.flip_intervals(ends)
    np.testing.assert_allclose(turned, [[0.5, 0.8], [-1, -1]], atol=1e-6)
    np.testing.assert_allclose(augmentation.flip_intervals(turned), ends, atol=1e-6)


def test_a_trained_model_tells_where_the_band_is_and_so_does_its_export(data, tmp_path):
    keras.utils.set_random_seed(1)
    spec = spec_of(data)
    model = simple_cnn.build_simple_cnn_interval(
        spec, filters=8, conv_layers=2, dense_units=32, dropout=0.0, dense_dropout=0.0
    )
    settings = TrainingConfig(epochs=6, learning_rate=3e-3, schedule="cosine")
    loop.prepare(model, data, settings=settings)
    loop.fit(model, data, settings=settings)
    sources = TASK.survey(data.folder.parent / "raw", TASK.options).sources
    inside = set(data.manifest.sources["test"])
    examples = [e for s in sources if s.name in inside for e in read(s, TASK.options).examples]
    images = np.stack([example.image for example in examples])
    true = np.array([[e.metadata["top"], e.metadata["bottom"]] for e in examples])
    banded = true[:, 0] >= 0
    said = with_all_outputs(model)({"image": images})
    off = np.abs(HEIGHT * said["interval"].numpy() - true)[banded].mean()
    best_constant = np.abs(true[banded] - np.median(true[banded], axis=0)).mean()
    assert off < best_constant / 2
    assert ((said["probabilities"].numpy()[:, 1] > 0.5) == banded).mean() > 0.95
    card = made_card(model="simple-cnn-interval", classes=spec.classes)
    draft = store.publish(NetworkExport(model, spec, {"image": images}), tmp_path, card=card)
    exported = tf.saved_model.load(str(draft)).signatures["predict_tensor"]
    exact = exported(image=tf.constant(images))["interval"]
    np.testing.assert_allclose(exact, said["interval"], atol=1e-5)
    again = load.read_model(draft)
    assert locates(again)
    np.testing.assert_allclose(
        with_all_outputs(again)({"image": images})["interval"], said["interval"], atol=1e-5
    )


def test_records_without_intervals_are_refused_before_training(data):
    manifest = dataclasses.replace(data.manifest, interval=())
    silent = dataclasses.replace(data, manifest=manifest)
    model = make_small("simple-cnn-interval", spec_of(data), conv_layers=2)
    with pytest.raises(UserError, match="where in an image a layer begins and ends, but"):
        training_compile.prepare(model, silent, settings=TrainingConfig())


def test_what_the_interval_learns_leaves_the_classes_alone():
    keras.utils.set_random_seed(1)
    spec = make_spec((24, 20, 1))
    model = make_small("simple-cnn-interval", spec, dropout=0.0, dense_dropout=0.0)
    features, none = make_features(model, spec), np.full((3, 2), -1, np.float32)
    ends = np.tile(np.float32([0.2, 0.6]), (3, 1))
    before = model(features).numpy()
    losses = []
    for one in (none, ends, ends / 4):
        said = model(features, training=True)
        losses.append(float(model.get_layer("interval").loss(tf.constant(one))))
    assert losses[0] == 0 and losses[1] > 0 and losses[1] != losses[2]
    np.testing.assert_allclose(said, before, atol=1e-6)
    one = np.where(np.arange(3)[:, None] == 1, np.float32([0.0, 0.4]), none)  # begins above
    off = np.abs(model.get_layer("interval").last_interval[1] - one[1]).mean()
    assert float(model.get_layer("interval").loss(tf.constant(one))) == pytest.approx(
        off * model.get_layer("interval").weight, rel=1e-4
    )
    model.get_layer("interval").ends.bias.assign([3.0, -3.0])
    np.testing.assert_array_equal(model(features).numpy(), before)
    both = with_all_outputs(model)(features)["interval"].numpy()
    assert (both[:, 0] <= both[:, 1]).all()  # whichever unit has the start


def merged(*windows, height_px=400, threshold=0.5):
    top_px, probability, ends = (np.array(column) for column in zip(*windows, strict=True))
    found = layer_detection.merge_intervals(
        top_px,
        probability,
        ends.reshape(-1, 2).astype(float),
        height_px=height_px,
        threshold=threshold,
    )
    return [(layer.top_px, layer.bottom_px, round(layer.probability, 3)) for layer in found]


def test_intervals_of_overlapping_windows_become_one_layer():
    # Three windows that agree but for a row, and one that shows none.
    windows = [(0, 0.9, (40, 46)), (10, 0.8, (41, 46)), (20, 0.9, (40, 47)), (30, 0.1, (30, 70))]
    assert merged(*windows) == [(40, 46, 0.9)]
    assert merged(*windows, threshold=0.95) == []


def test_one_window_among_many_does_not_make_a_layer():
    windows = [(top, 0.9, (40, 46)) for top in (0, 10, 20, 30)]
    assert merged(*windows, (15, 0.9, (55, 60))) == [(40, 46, 0.9)]


def test_layers_beside_each_other_stay_apart_and_a_thick_one_is_one():
    apart = [(0, 0.9, (20, 26)), (10, 0.9, (20, 26)), (100, 0.7, (110, 115))]
    assert merged(*apart) == [(20, 26, 0.9), (110, 115, 0.7)]
    thick = [(top, 0.8, (max(top, 30), min(top + 50, 130))) for top in range(0, 140, 10)]
    assert merged(*thick[:13]) == [(30, 130, 0.8)]
    assert merged((350, 0.9, (395, 410))) == [(395, 400, 0.9)]
    assert merged((0, 0.9, (40.2, 40.4))) == [(40, 41, 0.9)]  # thinner than a row


def test_packed_windows_tell_the_rows_of_their_layer(tmp_path):
    raw = draw_melt(tmp_path / "raw")
    manifest = pack_melt(raw, tmp_path / "records")
    assert manifest.interval == ("layer_top_px", "layer_bottom_px")
    part = dataset.Subset(("train", "validation", "test"))
    labels = dataset.labels_of(tmp_path / "records", part.splits, manifest=manifest)
    ends = np.stack(
        [
            dataset.read_field(tmp_path / "records", part.splits, name, tf.int64, manifest=manifest)
            for name in manifest.interval
        ],
        axis=1,
    )
    assert (ends[labels == 0] == -1).all() and (labels == 1).any()
    own = ends[labels == 1]
    assert (own[:, 0] >= 0).all() and (own[:, 0] < own[:, 1]).all() and (own[:, 1] <= 50).all()
