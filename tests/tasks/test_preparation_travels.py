"""What is taken from the files at hand when they are packed travels with the version's options.

Half of a folder is packed; the other half, read as new files by the options of these records, gives
the same images as packing both. tests/tasks/test_ccd_tracks_clusters.py has the same of energies.
"""

import cv2
import flowcam
import numpy as np
import pytest

from tfpipe.base import images
from tfpipe.tasks import catalog
from tfpipe.tasks.insolubles import TASK as INSOLUBLES
from tfpipe.tasks.options import parse_options

BRIGHTEST = (1000, 4000, 3000, 900)  # of a 12-bit camera


def write(path, *, brightest: int, seed: int):
    """Writes a 16-bit picture whose upper half is a grey of 800."""
    image = np.random.default_rng(seed).integers(0, brightest, (20, 24)).astype(np.uint16)
    image[:10] = 800
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def stored(task, sources, options) -> dict[str, np.ndarray]:
    """Returns name of the file -> its stored image."""
    return {
        example.metadata["file"].rpartition("/")[2]: example.image
        for source in sources
        for example in task.read(source, options).examples
    }


@pytest.mark.parametrize("words", [(), ("fit=pad", "size=16x16"), ("channels=grey", "fit=crop")])
def test_pictures_of_a_folder(tmp_path, words):
    for i, brightest in enumerate(BRIGHTEST):
        write(tmp_path / "both" / "ash" / f"{i}.png", brightest=brightest, seed=i)
        half = "first" if i < 2 else "second"
        write(tmp_path / half / "ash" / f"{i}.png", brightest=brightest, seed=i)
    survey, task = {}, {}
    for name in ("both", "first"):
        task[name] = catalog.find(str(tmp_path / name))
        options = parse_options(task[name], words)
        survey[name] = task[name].survey(task[name].raw_files.folder, options)
    together = stored(task["both"], survey["both"].sources, survey["both"].options)
    options = survey["first"].options
    new = task["first"].survey_new([tmp_path / "second" / "ash"], None, options)
    later = stored(task["first"], new.sources, options)
    assert later.keys() == {"2.png", "3.png"}
    for name, image in later.items():
        np.testing.assert_array_equal(image, together[name])
    # 255 * 800 / 4095, not one grey in each picture
    assert {int(image[:4].max()) for image in together.values()} == {50} or "fit=pad" in words


def test_pictures_of_particles(tmp_path):
    for i, brightest in enumerate(BRIGHTEST):
        write(tmp_path / "both" / f"p_{i}.png", brightest=brightest, seed=i)
        half = "first" if i < 2 else "second"
        write(tmp_path / half / f"p_{i}.png", brightest=brightest, seed=i)
    for name, numbers in (("both", range(4)), ("first", range(2))):
        rows = "".join(f"p_{i}.png,ash\n" for i in numbers)
        (tmp_path / name / "table.csv").write_text(f"imgpaths,class\n{rows}")
    both, first = (flowcam.surveyed(tmp_path / name) for name in ("both", "first"))
    assert first.options.bits == 12
    together = stored(INSOLUBLES, both.sources, both.options)
    new = INSOLUBLES.survey_new([tmp_path / "second"], None, first.options)
    for name, image in stored(INSOLUBLES, new.sources, first.options).items():
        np.testing.assert_array_equal(image, together[name])


@pytest.mark.parametrize(("brightest", "bits"), [(200, 8), (1023, 10), (1024, 12), (65535, 16)])
def test_the_depth_of_a_camera_is_the_smallest_that_holds_all(tmp_path, brightest, bits):
    write(tmp_path / "a.png", brightest=150, seed=0)
    image = np.full((9, 9), brightest, np.uint16)
    cv2.imwrite(str(tmp_path / "b.png"), image)
    (tmp_path / "c.png").write_bytes(b"no picture")
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    assert images.camera_bits(paths) == max(bits, 10)  # of 800 in the first
    assert images.camera_bits([tmp_path / "c.png"]) == 0
