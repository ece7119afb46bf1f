"""The drawn exposures are what their truth says, and read as real ones are."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from tfpipe.tasks import samples
from tfpipe.tasks.ccd_tracks import TASK
from tfpipe.tasks.samples import ccd_tracks
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import SPLITS

OPTIONS = TASK.options


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "raw"
    told = samples.draw("ccd-tracks", folder, seed=2, exposures=3, tracks=40, frame_px=400)
    return folder, told, pd.read_csv(folder / "truth.csv")


@pytest.fixture(scope="module")
def readings(drawn):
    survey = TASK.survey(drawn[0], OPTIONS)
    return survey, [TASK.read(source, OPTIONS) for source in survey.sources]


def test_every_class_is_drawn_and_counted(drawn):
    folder, told, truth = drawn
    assert set(truth["class"]) == set(ccd_tracks.CLASSES)
    assert told["tracks"] == len(truth) and told["labelled"] == truth["labelled"].sum()
    assert told["labelled"] == len(pd.read_csv(folder / "labels.csv"))


def test_the_header_says_what_the_pixels_are(drawn):
    path = next(drawn[0].rglob("*.fits"))
    pixels, header = fits.getdata(path, header=True)
    assert pixels.dtype == np.uint16 and header["BUNIT"] == "adu"
    assert header["EXPTIME"] == 1800 and header["DATE-OBS"].startswith("2022-03-01T21")
    # Between tracks: bias, 8 electrons of dark current with their noise, and 4 of read noise.
    wanted = (2000 + 80, 10 * np.hypot(np.sqrt(8), 4))
    assert np.median(pixels) == pytest.approx(wanted[0], abs=5)
    quiet = pixels[pixels < 2400]
    assert quiet.std() == pytest.approx(wanted[1], rel=0.1)


def test_labels_are_of_tracks_that_are_found_and_no_other(drawn, readings):
    survey, read = readings
    truth = drawn[2]
    assert [one.row["labels_without_track"] for one in read] == [0, 0, 0]
    labelled = sum(example.label >= 0 for one in read for example in one.examples)
    assert labelled == truth["labelled"].sum()
    assert survey.classes == tuple(sorted(ccd_tracks.CLASSES))


def of_truth(readings, truth: pd.DataFrame):
    """Yields (row of the truth, example) for tracks whose box no other shares."""
    every = [example for one in readings[1] for example in one.examples]
    for row in truth.itertuples():
        inside = [example for example in every if _holds(example.metadata, row)]
        if len(inside) == 1:
            yield row, inside[0]


def _holds(box: dict, row) -> bool:
    right, down = row.x - box["left"], row.y - box["top"]
    is_inside = 0 <= right < box["width"] and 0 <= down < box["height"]
    return is_inside and box["file"] == row.exposure


def test_the_energy_of_x_rays_is_that_deposited(drawn, readings):
    found = list(of_truth(readings, drawn[2].query("`class` == 'x-ray' and labelled == 1")))
    assert len(found) > 10
    for row, example in found:
        told = example.metadata
        # One pair takes 3.62 eV, an electron is 10 ADU; 2080 ADU are under each pixel. Of a
        # Gaussian spot with its peak at 600 electrons or more, 70 % lie above 184.
        share = (told["energy"] - 2080 * told["pixels"]) / (1e4 / 3.62 * row.energy_kev)
        assert 0.55 < share < 1.05


def test_muons_lie_as_the_truth_says(drawn, readings):
    long = drawn[2][(drawn[2]["class"] == "muon") & (drawn[2]["pixels"] > 80)]
    found = list(of_truth(readings, long))
    assert len(found) > 2
    for row, example in found:
        rows, columns = np.nonzero(example.image[..., 0] > 4000)
        angle = np.degrees(0.5 * np.arctan2(*_moments(columns, -rows)))
        assert abs((angle - row.angle_deg + 90) % 180 - 90) < 8


def _moments(x, y):
    covariance = np.cov(x, y)
    return 2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1]


def test_twelve_exposures_fill_three_splits():
    groups = [f"night-{1 + i // 4}/ccd_{1 + i:04d}.fits" for i in range(12)]
    assert {SplitConfig().of_group(group) for group in groups} == set(SPLITS)
