"""Drawn cubes: Gaussian density of a known slope, bubbles that grow, names with the parameters."""

import numpy as np
import pytest

from tfpipe.tasks import samples
from tfpipe.tasks.catalog import TASKS
from tfpipe.tasks.samples import ionization


@pytest.fixture(scope="module")
def field():
    return ionization.density(np.random.default_rng(3), cells=32)


def neutral(field, z: float, f_esc: float) -> float:
    return float((ionization.brightness(field, z=z, f_esc=f_esc) > 0).mean())


def test_the_density_is_gaussian_and_of_the_slope(field):
    assert abs(field.mean()) < 1e-9
    assert field.std() == pytest.approx(1)
    power = np.abs(np.fft.fftn(field)) ** 2
    k = np.sqrt(sum(axis**2 for axis in np.meshgrid(*[np.fft.fftfreq(32, 1 / 32)] * 3)))
    own = (k >= 2) & (k < 16)
    slope, _ = np.polyfit(np.log(k[own]), np.log(power[own]), 1)
    assert slope == pytest.approx(ionization.SLOPE, abs=0.05)


def test_bubbles_grow_as_redshift_falls_and_more_photons_escape(field):
    by_z = [neutral(field, z, 0.1) for z in (5, 6, 7, 8, 9, 11, 13)]
    assert by_z == sorted(by_z)
    assert by_z[0] < 0.05
    assert by_z[-1] > 0.9
    by_escape = [neutral(field, 8, f_esc) for f_esc in (0.07, 0.1, 0.13)]
    assert by_escape == sorted(by_escape, reverse=True)
    assert by_escape[0] > by_escape[-1]


def test_what_is_dense_is_ionized_first(field):
    ionized = ionization.brightness(field, z=8, f_esc=0.1) == 0
    assert field[ionized].mean() > field[~ionized].mean() + 0.5


def test_names_have_what_was_drawn_and_both_tasks_read_it(tmp_path):
    summary = samples.draw("ionization-redshift", tmp_path / "a", seed=1, simulations=2, cells=16)
    assert (summary["simulations"], summary["cubes"]) == (2, 2 * 17 * 3)
    task = TASKS["ionization-redshift"]
    survey = task.survey(tmp_path / "a", task.options)
    assert survey.classes == task.classes
    assert {source.group for source in survey.sources} == {"seed 1", "seed 2"}
    assert survey.options.cell_mpc == 150 / 16
    again = samples.draw(
        "ionization-escape-fraction", tmp_path / "b", seed=1, simulations=2, cells=16
    )
    assert again["cubes"] == summary["cubes"]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
