"""Near-copies across splits are found and named; pictures that merely look alike are not."""

import dataclasses
import re
import shutil
from itertools import combinations

import cv2
import numpy as np
import pandas as pd
import pytest
import small_disk
from small_records import MELT_OPTIONS, MELT_SPLIT, draw_melt, pack_melt

from tfpipe.base.errors import UserError
from tfpipe.data import (
    copy_features,
    copy_index,
    copy_prints,
    manifest,
    near_duplicates,
    registration,
)
from tfpipe.tasks.melt_layer import TASK
from tfpipe.tasks.samples import melt_layer
from tfpipe.tasks.splits import SplitConfig

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]


def jpeg(picture):
    """Returns a picture as JPEG of quality 85 keeps it."""
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], -1)


COPIES = {
    "same": lambda picture: picture,
    "jpeg": jpeg,
    "brighter": lambda picture: cv2.convertScaleAbs(picture, alpha=1.2),
    "mirrored": lambda picture: picture[:, ::-1].copy(),
    "upside down": lambda picture: picture[::-1].copy(),
    "turned": lambda picture: picture[::-1, ::-1].copy(),
    "a quarter turn": lambda picture: np.rot90(picture).copy(),
    "three quarters": lambda picture: np.rot90(picture, 3).copy(),
    "transposed": lambda picture: picture.swapaxes(0, 1).copy(),
    "transposed the other way": lambda picture: np.rot90(picture, 2).swapaxes(0, 1).copy(),
    "smaller": lambda picture: cv2.resize(picture, None, fx=0.5, fy=0.5),
}


def ice(count=1, *, seed=0):
    """Returns pictures of soft noise, [count, 50, 200, 3] uint8."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, 50, 200, 3))
    soft = [cv2.GaussianBlur(one, (0, 0), 4) for one in noise]
    return np.stack([np.clip(110 + 400 * one, 0, 200) for one in soft]).astype(np.uint8)


def printed(images):
    """Returns the prints of pictures [n, ...] that show something."""
    prints, shows = near_duplicates.fingerprints(np.asarray(images))
    return prints.select(shows)


def joined(parts):
    return copy_prints.Prints(*map(np.concatenate, zip(*parts, strict=True)))


def crossings(train, test):
    """Returns what is said of two splits of pictures, each a group of its own."""
    prints, groups = {}, {}
    for split, images in (("train", train), ("test", test)):
        own = [printed(image[None]) for image in images]
        prints[split] = joined(own)
        groups[split] = np.array(
            [f"{split}{i}" for i, one in enumerate(own) if len(one.small)], object
        )
    return list(map(str, near_duplicates.crossings(prints, groups)))


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_changed_copy_is_found(kind, channels):
    train, test = ice(12)[..., :channels], ice(12, seed=1)[..., :channels]
    assert crossings(train, test) == []
    copied = COPIES[kind](train[4])
    said = crossings(train, [*test, copied[..., None] if copied.ndim == 2 else copied])
    assert said == ["train4 (train) and test12 (test): 1 near-copies"]


@pytest.mark.parametrize("way", range(8))
@pytest.mark.parametrize("move", [(1, 0), (-2, 1), (3, -3)])
def test_copies_moved_by_a_few_pixels_turned_and_encoded_again_are_found(move, way):
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((8, 126, 106)).astype(np.float32)
    soft = np.stack([cv2.GaussianBlur(one, (0, 0), 3) for one in noise])
    scene = np.clip(110 + 300 * soft, 0, 255).astype(np.uint8)[..., None]
    originals = scene[:, 3:-3, 3:-3]
    y, x = 3 + move[0], 3 + move[1]
    copies = scene[:, y : y + 120, x : x + 100]
    copies = copies.swapaxes(1, 2) if way & 4 else copies
    copies = np.rot90(copies, way % 4, axes=(1, 2))
    encoded = [cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, 90])[1] for one in copies]
    copies = np.stack([cv2.imdecode(one, cv2.IMREAD_GRAYSCALE)[..., None] for one in encoded])
    pairs = near_duplicates.find_pairs(printed(originals), printed(copies))
    assert pairs == [(i, i) for i in range(8)]


def test_a_moved_particle_is_found_though_its_light_is_that_of_others():
    blobs = np.stack([padded(one[10:40, 80:110] // 2) for one in ice(8)])
    moved = np.roll(blobs[2:3], (2, -3), axis=(1, 2))
    moved[0, 60:64, 60:64] += 1  # so that no byte-wise comparison would do
    assert near_duplicates.find_pairs(printed(blobs), printed(moved)) == [(2, 0)]


def disc(radius, *, seed):
    """Returns a disc with a rough outline, [128, 128, 1] uint8."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radii = radius + rng.uniform(-1, 1, len(angles))
    outline = 64 + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    image = np.zeros((128, 128), np.uint8)
    return cv2.fillPoly(image, [np.rint(outline).astype(np.int32)], 255)[..., None]


def test_discs_are_no_copies_of_each_other_unless_they_are_equal():
    discs = np.stack([disc(40, seed=seed) for seed in range(8)])
    own = printed(discs)
    small, (one, other) = own.small.astype(np.float32), np.triu_indices(len(discs), 1)
    fit = registration.align(small[one], small[other], scales=np.ones((len(one), 2), np.float32))
    assert fit.detail.max() > near_duplicates.DETAIL  # so likeness alone is misled
    assert near_duplicates.find_pairs(own, own) == []
    assert near_duplicates.find_pairs(own, own.select([3])) == [(3, 0)]


def test_prints_compared_with_themselves_give_each_pair_once():
    own = printed(np.concatenate([ice(4), ice(1)]))
    assert near_duplicates.find_pairs(own, own) == [(0, 4)]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_copies_are_found_in_other_kinds_of_pixels(dtype):
    train = ice(4).astype(dtype) * (257 if dtype == "uint16" else 1)
    assert len(crossings(train, train[2:3])) == 1


def test_flat_pictures_are_not_compared():
    flat = np.full((3, 50, 200, 3), 90, np.uint8)
    flat[1] += np.random.default_rng(0).integers(0, 2, flat[1].shape, np.uint8)
    assert not near_duplicates.fingerprints(flat)[1].any()
    assert near_duplicates.fingerprints(ice(3))[1].all()
    assert crossings(flat, flat) == []


def padded(picture, *, side=128):
    """Returns a picture in the middle of an even square."""
    square = np.full((side, side, 3), 150, np.uint8)
    top, left = (side - picture.shape[0]) // 2, (side - picture.shape[1]) // 2
    square[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return square


def test_small_pictures_in_even_squares_are_compared_by_themselves():
    blobs = [
        np.stack([padded(one[10:40, 80:110] // 2) for one in ice(20, seed=seed)]) for seed in (0, 1)
    ]
    assert crossings(*blobs) == []
    assert len(crossings(blobs[0], blobs[0][3:4, :, ::-1])) == 1


def test_copies_inside_one_split_are_nobodys_concern():
    one = ice(1)
    assert crossings(np.concatenate([one, one]), ice(2, seed=1)) == []


def test_pairs_of_groups_come_with_their_number_of_copies_most_first():
    own = printed(ice(5))
    prints = {"train": own, "validation": own.select([0]), "test": own.select([1, 2, 3, 4])}
    groups = {
        "train": np.array(["a", "b", "b", "b", "c"], object),
        "validation": np.array(["x"], object),
        "test": np.array(["y"] * 4, object),
    }
    assert list(map(str, near_duplicates.crossings(prints, groups))) == [
        "b (train) and y (test): 3 near-copies",
        "a (train) and x (validation): 1 near-copies",
        "c (train) and y (test): 1 near-copies",
    ]


def test_more_pictures_than_a_block_are_compared_and_empty_splits_are_none(monkeypatch):
    monkeypatch.setattr(copy_features, "BLOCK", 5)
    train = ice(12)
    assert len(crossings(train, train[[0, 5, 11]])) == 3
    own = printed(train)
    nothing = {"train": own.select([]), "test": own}
    assert near_duplicates.crossings(nothing, {"train": [], "test": ["a"] * 12}) == []


def test_prints_are_the_same_out_of_their_bytes():
    own = printed(ice(4))
    rows = np.frombuffer(own.packed().tobytes(), np.uint8).reshape(-1, copy_prints.PACKED)
    for one, other in zip(own, copy_prints.unpack(rows), strict=True):
        np.testing.assert_array_equal(one, other)


def stored(prints, folder, *, sizes):
    """Returns prints in files of some sizes."""
    paths, first = [], 0
    for i, size in enumerate(sizes):
        paths.append(folder / f"{i}.hashes")
        paths[-1].write_bytes(prints.packed()[first : first + size].tobytes())
        first += size
    return copy_prints.StoredPrints(paths)


def test_prints_in_files_are_those_in_memory_in_any_order(tmp_path):
    own = printed(ice(6))
    files = stored(own, tmp_path, sizes=(2, 0, 4))
    joined_files = copy_prints.JoinedPrints([files, own])
    assert files.n_images == 6
    assert joined_files.n_images == 12
    rows = np.array([5, 0, 3, 3])
    for selected in (files.select(rows), joined_files.select(rows), joined_files.select(rows + 6)):
        for one, other in zip(selected, own.select(rows), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def many():
    """Prints of 700 pictures, and of 8 changed copies of each 20th, [8, 35]."""
    images = ice(700)[:, :, :50]
    changes = [*list(COPIES.values())[:2], *list(COPIES.values())[3:9]]
    copies = [printed([change(image) for image in images[::20]]) for change in changes]
    return printed(images), copies


def test_an_index_on_disk_finds_the_copies_that_comparing_all_finds(many, monkeypatch, tmp_path):
    images, copies = many
    found = near_duplicates.find_pairs(joined(copies), images)
    assert len(found) >= 7 * 35
    monkeypatch.setattr(near_duplicates, "EXHAUSTIVE", 0)
    monkeypatch.setattr(copy_index, "CELL_IMAGES", 5)  # 196 cells, of which 64 are searched
    files = stored(images, tmp_path, sizes=(300, 400))
    assert near_duplicates.find_pairs(joined(copies), files) == found
    assert near_duplicates.find_pairs(files, joined(copies)) == sorted((b, a) for a, b in found)


def test_an_index_compares_images_of_different_splits_only(many, monkeypatch):
    images, copies = many
    prints = {"train": images, "validation": copies[2], "test": copies[3]}
    groups = {split: [f"{split}{i}" for i in range(one.n_images)] for split, one in prints.items()}
    found = near_duplicates.crossings(prints, groups)
    assert len(found) == 3 * 35
    monkeypatch.setattr(near_duplicates, "EXHAUSTIVE", 0)
    assert sorted(near_duplicates.crossings(prints, groups)) == sorted(found)
    old = {split: np.arange(one.n_images) != 3 for split, one in prints.items()}
    assert sorted(map(str, near_duplicates.crossings(prints, groups, old))) == [
        "train60 (train) and test3 (test): 1 near-copies",
        "train60 (train) and validation3 (validation): 1 near-copies",
        "validation3 (validation) and test3 (test): 1 near-copies",
    ]
    own = joined([images, images.select([7, 9])])
    assert near_duplicates.find_pairs(own, own) == [(7, 700), (9, 701)]


def test_an_index_that_the_disk_has_no_place_for_is_a_sentence(many, monkeypatch, tmp_path):
    images, _ = many
    monkeypatch.setattr(near_duplicates, "EXHAUSTIVE", 0)
    # Of the 260,400 bytes the last 10,544 lack.
    reason = "cannot be written: (No space left on device|File too large). Free some space"
    with small_disk.made(tmp_path) as disk:
        with disk.full(free_bytes=61 * 4096), pytest.raises(UserError, match=reason):
            near_duplicates.find_pairs(images, images, scratch=disk.folder)
        assert not list(disk.folder.iterdir())


def test_twice_as_many_pictures_are_hardly_more_work_each(many, monkeypatch, tmp_path):
    images, _ = many
    for name, value in {"CELL_IMAGES": 2, "QUERIES": 40, "PROBES": 8, "COARSE_PROBES": 4}.items():
        monkeypatch.setattr(copy_index, name, value)
    read = []
    entries = copy_index.CopyIndex.entries

    def counted(index, places):
        read.append(len(places))
        return entries(index, places)

    monkeypatch.setattr(copy_index.CopyIndex, "entries", counted)
    work = []
    for count in (350, 700):
        read.clear()
        own = images.select(np.arange(count))
        index = copy_index.CopyIndex(own, np.full(count, -1), tmp_path)
        assert sum(len(one.queries) for one in index.neighbours(np.ones(count, bool))) == count
        work.append(sum(read) / count)
    assert work[1] < 1.4 * work[0]  # 2 if each batch read all cells


def test_progress_counts_pictures_indexed_and_compared(many, monkeypatch):
    images, copies = many
    monkeypatch.setattr(near_duplicates, "EXHAUSTIVE", 0)
    steps = []
    near_duplicates.find_pairs(
        copies[0], images, progress=lambda done, total: steps.append((done, total))
    )
    assert steps[-1] == (700 + 35 + 35, 700 + 35 + 35) and sorted(steps) == steps


def test_prints_that_are_cut_short_are_a_sentence(tmp_path):
    own = printed(ice(6))
    files = stored(own, tmp_path, sizes=(6,))
    path = tmp_path / "0.hashes"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="0.hashes is cut short. Check its disk"):
        files.select(np.array([1, 5]))
    path.unlink()
    with pytest.raises(UserError, match="0.hashes cannot be read: No such file"):
        files.select(np.array([1]))


def test_most_pictures_alike_are_compared_in_pieces_to_the_same_end(monkeypatch):
    # 400 of 450 are of one scene, so one cell holds most; 25 of them are there again, mirrored.
    others, rng = ice(51, seed=3)[:, :, :50], np.random.default_rng(3)
    noise = [cv2.GaussianBlur(one, (0, 0), 1.5) for one in rng.standard_normal((400, 50, 50, 3))]
    scene = np.clip(others[50] + 60 * np.stack(noise), 0, 255).astype(np.uint8)
    own = printed(np.concatenate([others[:50], scene]))
    copies = printed(scene[::16, :, ::-1])
    every = near_duplicates.find_pairs(copies, own)
    assert [(i, 50 + 16 * i) for i in range(25)] == every
    monkeypatch.setattr(near_duplicates, "EXHAUSTIVE", 0)
    for pairs in (1, 25 * 100, copy_index.PAIRS):
        monkeypatch.setattr(copy_index, "PAIRS", pairs)
        assert near_duplicates.find_pairs(copies, own) == every


def test_particles_of_one_kind_are_no_copies_of_each_other():
    # Of one shape, as two pollen grains are: what differs is the size, or the grain on them.
    rng = np.random.default_rng(0)
    shape = rng.uniform(60, 200, (12, 12)).astype(np.float32)

    def particle(side):
        drawn = cv2.resize(shape, (side, side), interpolation=cv2.INTER_CUBIC)
        return padded(np.repeat((drawn + rng.normal(0, 6, drawn.shape))[..., None], 3, axis=2))

    train, test = np.stack([particle(60)]), np.stack([particle(side) for side in (60, 60, 80)])
    differ = printed(train).bits != printed(test).bits
    assert (differ.sum(axis=1) <= near_duplicates.NEAR_BITS).all()  # so the hash alone is misled
    assert crossings(train, test) == []
    assert len(crossings(train, train[:, ::-1])) == 1


def turned(images):
    """Returns the hashes of pictures turned over in four ways, [4, n, 255] of -1 and 1."""
    ways = (images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1])
    return np.stack(
        [np.where(near_duplicates.fingerprints(way)[0].bits, 1.0, -1.0) for way in ways]
    )


def distances(one, other):
    """Returns how many bits differ, at least, [n, m], between pictures as `turned` gives them."""
    return (one.shape[-1] - (one @ other[0].T).max(axis=0)) / 2


def test_pairs_are_those_of_the_pictures_turned_over():
    # Here the pictures are turned over: their hashes must tell the same pairs.
    one, other = ice(30), ice(30, seed=1)
    other[:4] = [COPIES[kind](one[0]) for kind in ("same", "mirrored", "upside down", "turned")]
    found = near_duplicates.find_pairs(printed(one), printed(other))
    wanted = np.argwhere(distances(turned(one), turned(other)) <= near_duplicates.NEAR_BITS)
    assert found == [tuple(pair) for pair in wanted.tolist()] == [(0, 0), (0, 1), (0, 2), (0, 3)]


@pytest.mark.slow
def test_drawn_photos_are_far_from_being_copies_of_each_other(tmp_path):
    melt_layer.draw(tmp_path / "raw", photos=24, seed=0, px_per_m=600)
    options = dataclasses.replace(MELT_OPTIONS, stride_px=40, unaligned="use")
    sources = TASK.survey(tmp_path / "raw", options).sources
    bits = [
        turned(np.stack([example.image for example in TASK.read(source, options).examples]))
        for source in sources
    ]
    least = min(distances(one, other).min() for one, other in combinations(bits, 2))
    print(f"at least {least:g} of 255 bits differ")
    assert least > 1.5 * near_duplicates.NEAR_BITS


# From photos to the refusal.


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return draw_melt(tmp_path_factory.mktemp("melt") / "raw")


def add_photo(raw, like, picture, *, word, top_m, group=""):
    """Adds a photo at a depth, under a name in another split than that of `like`."""
    home = MELT_SPLIT.of_group(group or like)
    names = (f"{word}_{i}.png" for i in range(99))
    name = next(n for n in names if MELT_SPLIT.of_group(n) != home)
    cv2.imwrite(str(raw / "photos" / name), picture)
    table = pd.read_csv(raw / "photos.csv")
    row = {"photo": name, "top_m": top_m, "bottom_m": top_m + 1.645, "group": group}
    pd.concat([table, pd.DataFrame([row])]).to_csv(raw / "photos.csv", index=False)
    return name


def parting(raw, pairs) -> SplitConfig:
    """Returns a configuration under which the photos of each pair are in two splits."""
    sources = TASK.survey(raw, MELT_OPTIONS).sources
    for salt in map(str, range(99)):
        config = SplitConfig(MELT_SPLIT.shares, salt)
        assigned = config.assigned(sources)
        split = {source.name: assigned.of_source(source) for source in sources}
        if all(split[one] != split[other] for one, other in pairs):
            return config
    raise AssertionError("No salt parts them.")


@pytest.mark.slow
def test_planted_copies_fail_the_run_and_both_photos_are_named(raw, tmp_path):
    raw = shutil.copytree(raw, tmp_path / "raw")
    pairs = []
    kinds = ("same", "jpeg", "brighter", "mirrored")
    for i, (kind, like) in enumerate(zip(kinds, (2, 4, 6, 11), strict=True)):
        like = f"core_{like:03d}.png"
        picture = COPIES[kind](cv2.imread(str(raw / "photos" / like)))
        pairs.append((like, add_photo(raw, like, picture, word=kind, top_m=200 + 2 * i)))
    split = parting(raw, pairs)
    with pytest.raises(UserError, match="could be believed") as error:
        pack_melt(raw, tmp_path / "records", split=split)
    said = str(error.value).split("believed: ")[1].split(". Remove")[0].split("; ")
    assert len(said) == len(pairs)
    for like, name in pairs:
        assert any(f"{like} (" in one and f"{name} (" in one for one in said), (like, name, said)
    assert not (tmp_path / "records").exists()


@pytest.mark.slow
def test_two_photos_of_the_same_depths_need_one_group(raw, tmp_path):
    raw = shutil.copytree(raw, tmp_path / "raw")
    melt_layer.draw(tmp_path / "other", photos=1, seed=9, px_per_m=600)
    picture = cv2.imread(str(tmp_path / "other/photos/core_001.png"))
    like, top_m = "core_005.png", pd.read_csv(raw / "photos.csv")["top_m"][4]
    name = add_photo(raw, like, picture, word="twin", top_m=top_m + 0.01)
    given = {
        "options": dataclasses.replace(MELT_OPTIONS, unaligned="use"),  # the table is not its own
        "split": parting(raw, [(like, name)]),
    }
    with pytest.raises(UserError, match="'group'") as error:
        pack_melt(raw, tmp_path / "records", **given)
    assert re.search(rf"{like} \(\w+\) and {name} \(", str(error.value))

    table = pd.read_csv(raw / "photos.csv").astype({"group": object})
    table.loc[table["photo"].isin([like, name]), "group"] = like
    table.to_csv(raw / "photos.csv", index=False)
    packed = pack_melt(raw, tmp_path / "records", **given)
    assert any({like, name} <= set(names) for names in packed.sources.values())
    assert manifest.verify(tmp_path / "records") == []
