"""Pictures that are added never move an old one to another split; all are packed for real."""

import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from small_records import draw_melt, draw_small, names_in, pack_melt, pack_small

from tfpipe.data import manifest as data_manifest
from tfpipe.data import pack
from tfpipe.data.manifest import RecordManifest
from tfpipe.tasks import catalog
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import SPLITS

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]


def splits(manifest: RecordManifest) -> dict[str, str]:
    return {name: split for split in SPLITS for name in manifest.sources[split]}


@pytest.mark.slow
def test_core_photos_stay_and_new_ones_fall_where_their_names_say(tmp_path):
    raw = draw_melt(tmp_path / "raw")
    table = pd.read_csv(raw / "photos.csv", dtype=str)
    (tmp_path / "later").mkdir()
    late = table["photo"].iloc[[0, 5, 7]]
    for name in late:
        shutil.move(raw / "photos" / name, tmp_path / "later" / name)
    table[~table["photo"].isin(late)].to_csv(raw / "photos.csv", index=False)
    folder = tmp_path / "records"
    old = splits(pack_melt(raw, folder))
    for name in late:
        shutil.move(tmp_path / "later" / name, raw / "photos" / name)
    table.to_csv(raw / "photos.csv", index=False)
    new = splits(pack_melt(raw, folder))
    assert old.items() < new.items() and len(new) == len(old) + 3
    config = SplitConfig(data_manifest.read(folder).fractions, "a")
    for name in new.keys() - old.keys():
        assert new[name] == config.of_group(name.rpartition("/")[2])


def draw(folder, names, *, like=()):
    """Draws pictures of two classes; `like` are re-encoded copies of others, by name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(name.encode()))
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(coarse, (32, 24)))
    for name, other in like:
        image = cv2.imread(str(folder / other))
        cv2.imwrite(str(folder / name), np.clip(image.astype(int) + 3, 0, 255).astype(np.uint8))


def test_a_copy_with_an_earlier_name_does_not_move_the_old_picture(tmp_path):
    raw, folder = tmp_path / "pictures", tmp_path / "records"
    names = [f"{kind}/p{i:02d}.png" for kind in ("dark", "light") for i in range(12)]
    draw(raw, names)
    task = catalog.find(str(raw))
    given = {"options": parse_options(task, []), "split": SplitConfig((0.5, 0.25, 0.25), "b")}
    old = splits(pack.pack(task, raw, folder, **given))
    # Names before all others, some of which fall in another split than what they are copies of.
    copies = [(f"dark/a{i:02d}.png", f"dark/p{i:02d}.png") for i in range(8)]
    own = [given["split"].of_group(name) for name, _ in copies]
    assert any(split != old[other] for split, (_, other) in zip(own, copies, strict=True))
    draw(raw, [], like=copies[:6])
    for name, other in copies[6:]:
        shutil.copy(raw / other, raw / name)  # the same bytes
    for _ in range(2):  # what is packed again must find the groups that it made
        new = splits(pack.pack(task, raw, folder, **given))
        assert old.items() <= new.items()
        assert all(new[name] == old[other] for name, other in copies)
        draw(raw, ["light/q00.png"])


def test_a_group_stays_in_its_split_when_its_files_have_other_names(tmp_path):
    # All five fall into training by their hash, so one moves to validation and one to test.
    names = names_in("train", 5)
    raw = draw_small(tmp_path / "raw", names)
    manifest = pack_small(raw, tmp_path / "records")
    moved = {split: manifest.sources[split][0] for split in ("validation", "test")}
    # Without the records they would go back, as these give validation and test enough.
    draw_small(raw, names_in("validation", 3))
    draw_small(raw, names_in("test", 3))
    for name in moved.values():
        (raw / name).rename(raw / name.replace(".png", "_renamed.png"))
    again = pack_small(raw, tmp_path / "records")
    fresh = pack_small(raw, tmp_path / "fresh")
    for split, name in moved.items():
        renamed = name.replace(".png", "_renamed.png")
        assert renamed in again.sources[split] and renamed in fresh.sources["train"]
