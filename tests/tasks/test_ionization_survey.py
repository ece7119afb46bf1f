"""Splits of ionization cubes, and the examples that are read from them."""

from dataclasses import replace

import numpy as np
import pytest

from tfpipe.base.errors import UserError
from tfpipe.tasks.catalog import TASKS
from tfpipe.tasks.ionization import power_spectrum
from tfpipe.tasks.ionization.splits import Slab
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import SPLITS

TASK = TASKS["ionization-redshift"]
OPTIONS = replace(TASK.options, every=1, gap_mpc=3.0)


def fill(folder, *, seeds=(1, 2, 3), side: int = 10, escapes=(0.07, 0.1), box: int = 15):
    """Writes cubes whose every cell tells where it is: 100 z + its slice + a little noise."""
    for number, seed in enumerate(seeds):
        for z in (6.0, 6.5):
            for f_esc in escapes:
                noise = np.random.default_rng([number, int(10 * z)]).random((side,) * 3)
                cube = 100 * z + np.arange(side)[:, None, None] + 0.1 * noise
                word = f"_seed{seed}" if seed else ""
                name = f"delta_T_z{z:06.2f}_fesc{f_esc:.3f}{word}_{side}_{box}Mpc.npy"
                np.save(folder / name, cube.astype("f4"))
    return folder


def taken(survey, options=None) -> dict[str, set[tuple]]:
    """Returns split -> (seed, z, slice) of all its examples."""
    found: dict[str, set[tuple]] = {}
    for source in survey.sources:
        for example in TASK.read(source, options or survey.options).examples:
            about = example.metadata
            cut = found.setdefault(source.split, set())
            cut.add((about["seed"], about["z"], about["index"]))
    return found


def test_other_seeds_test_and_slabs_of_the_rest_validate(tmp_path):
    options = replace(OPTIONS, test_seeds="2")
    survey = TASK.survey(fill(tmp_path), options)
    found = taken(survey)
    assert {seed for seed, _, _ in found["test"]} == {"2"}
    assert {seed for seed, _, _ in found["train"] | found["validation"]} == {"1", "3"}
    # 15 Mpc in 10 cells, a slab from 12 Mpc on, 1.5 Mpc free on both sides of its borders.
    assert {index for _, _, index in found["train"]} == set(range(1, 8))
    assert {index for _, _, index in found["validation"]} == {9}
    assert {index for _, _, index in found["test"]} == set(range(10))
    assert survey.classes == ("6.0", "6.5")
    assert any("Slabs are more alike than seeds" in note for note in survey.notes)


def test_the_last_seed_tests_where_few_are_and_nobody_says(tmp_path):
    survey = TASK.survey(fill(tmp_path, seeds=(9, 10, 11)), OPTIONS)
    assert {seed for seed, _, _ in taken(survey)["test"]} == {"11"}
    assert any("--option test_seeds=11" in note for note in survey.notes)


def test_many_seeds_are_drawn_by_their_names(tmp_path):
    survey = TASK.survey(fill(tmp_path, seeds=range(1, 11), escapes=(0.1,)), OPTIONS)
    assert {source.split for source in survey.sources} == {""}
    assert {source.group for source in survey.sources} == {f"seed {i}" for i in range(1, 11)}


def test_a_redshift_of_three_seeds_is_in_each_split(tmp_path):
    fill(tmp_path, seeds=range(1, 13), escapes=(0.1,))
    for seed in range(4, 13):
        (tmp_path / f"delta_T_z006.50_fesc0.100_seed{seed}_10_15Mpc.npy").unlink()
    survey = TASK.survey(tmp_path, OPTIONS)
    for salt in map(str, range(10)):
        assigned = SplitConfig(salt=salt).assigned(survey.sources)
        places = {(assigned.of_source(s), name) for s in survey.sources for name in s.strata}
        assert places == {(split, name) for split in SPLITS for name in ("6.0", "6.5")}


@pytest.mark.parametrize("seed", [None, 5])
def test_one_simulation_is_cut_into_slabs_with_gaps(tmp_path, seed):
    survey = TASK.survey(fill(tmp_path, seeds=(seed,), side=20, box=30), OPTIONS)
    found = taken(survey)
    slices = {split: {index for _, _, index in cut} for split, cut in found.items()}
    assert slices["validation"] == {13, 14, 15}
    assert slices["test"] == {17, 18, 19}
    assert slices["train"] == {1, 2, 3, 5, 6, 7, 9, 10, 11}
    assert len({source.group for source in survey.sources}) == 5
    assert any("Slabs are more alike than seeds" in note for note in survey.notes)
    with pytest.raises(UserError, match="Slices along several axes cross the slabs"):
        TASK.survey(tmp_path, replace(OPTIONS, axes="012"))


def test_the_box_is_periodic_so_its_ends_keep_the_gap_too():
    cut = [Slab("", "", i / 5, (i + 1) / 5).slices(40, gap=0.1) for i in range(5)]
    for i, slab in enumerate(cut):
        for other in cut[:i]:
            distance = np.abs(slab[:, None] - other[None]) / 40
            assert np.minimum(distance, 1 - distance).min() >= 0.1 - 1e-9


def test_a_cube_without_a_seed_among_others_is_left_out_and_named(tmp_path):
    survey = TASK.survey(fill(tmp_path, seeds=(1, 2, None)), OPTIONS)
    assert {source.group for source in survey.sources} == {"seed 1", "seed 2"}
    assert any("have no seed while others have one" in note for note in survey.notes)


@pytest.mark.parametrize("seeds", ["4", "1,2,3", "1,4"])
def test_seeds_that_cannot_test_are_refused(tmp_path, seeds):
    with pytest.raises(UserError, match="the cubes' seeds are 1, 2, 3"):
        TASK.survey(fill(tmp_path), replace(OPTIONS, test_seeds=seeds))


def test_a_gap_that_leaves_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no slice. Give a smaller --option gap_mpc"):
        TASK.survey(fill(tmp_path), replace(OPTIONS, gap_mpc=10.0))


def test_both_tasks_label_the_same_slices(tmp_path):
    fill(tmp_path)
    for task, name in ((TASK, "z"), (TASKS["ionization-escape-fraction"], "f_esc")):
        survey = task.survey(tmp_path, OPTIONS)
        for source in survey.sources:
            for example in task.read(source, survey.options).examples:
                assert float(survey.classes[example.label]) == example.metadata[name]


def test_the_other_parameter_can_be_held(tmp_path):
    survey = TASK.survey(fill(tmp_path), replace(OPTIONS, f_esc="0.07"))
    assert {cube.f_esc for s in survey.sources for cube in s.about.cubes} == {0.07}
    assert "6 cubes have another z or f_esc than the options select." in survey.notes
    with pytest.raises(UserError, match="No cube has z any and f_esc 0.5"):
        TASK.survey(tmp_path, replace(OPTIONS, f_esc="0.5"))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_lie_across_their_axis(tmp_path, axis):
    rng = np.random.default_rng(0)
    cube = rng.uniform(0, 30, (8, 8, 8)).astype("f4")
    path = tmp_path / "delta_T_z006.00_8_12Mpc.npy"
    np.save(path, cube)
    options = replace(OPTIONS, axes=str(axis), every=2)
    survey = TASK.survey_new([path], None, options)
    (source,) = survey.sources
    assert survey.augmentation == ""  # whole slices bear the task's own
    examples = TASK.read(source, survey.options).examples
    assert [example.metadata["index"] for example in examples] == [0, 2, 4, 6]
    for example in examples:
        expected = np.take(cube, example.metadata["index"], axis)
        np.testing.assert_array_equal(example.image[..., 0], expected)
        assert example.image.dtype == np.float32
        assert example.label == -1


def test_larger_slices_are_cut_into_pictures(tmp_path):
    cube = np.arange(16**3, dtype="f4").reshape(16, 16, 16) / 100
    np.save(tmp_path / "delta_T_z006.00_16_24Mpc.npy", cube)
    survey = TASK.survey_new([tmp_path], None, replace(OPTIONS, side=8, every=16))
    examples = TASK.read(survey.sources[0], survey.options).examples
    assert (survey.image_shape, survey.augmentation) == ((8, 8, 1), "turns")
    assert len({example.key for example in examples}) == len(examples) == 4
    whole = np.zeros((16, 16), "f4")
    for example in examples:
        row, column = example.metadata["row"], example.metadata["column"]
        whole[row : row + 8, column : column + 8] = example.image[..., 0]
    np.testing.assert_array_equal(whole, cube[0])


def test_slices_without_a_signal_are_marked(tmp_path):
    cube = np.zeros((8, 8, 8), "f4")
    cube[4:] = 1
    np.save(tmp_path / "delta_T_z006.00_8_12Mpc.npy", cube)
    survey = TASK.survey_new([tmp_path], None, OPTIONS)
    examples = TASK.read(survey.sources[0], survey.options).examples
    assert [example.metadata["no_signal"] for example in examples] == [1] * 4 + [0] * 4


def test_new_cubes_smaller_than_the_model_takes_are_refused(tmp_path):
    np.save(tmp_path / "delta_T_z006.00_8_12Mpc.npy", np.ones((8, 8, 8), "f4"))
    with pytest.raises(UserError, match="has 8 cells a side, but images of 16 px are to be cut"):
        TASK.survey_new([tmp_path], None, replace(OPTIONS, side=16))


# The power spectrum.


@pytest.mark.parametrize("cell_mpc", [0.5, 1.5])
def test_white_noise_has_a_flat_spectrum_and_all_of_its_variance(cell_mpc):
    noise = np.random.default_rng(0).normal(3, 2, (400, 32, 32))
    power = power_spectrum.power(noise, cell_mpc=cell_mpc)
    area = (32 * cell_mpc) ** 2
    # Parseval: without the constant wave, the power adds up to the variance.
    np.testing.assert_allclose(
        (power.sum(axis=(1, 2)) - power[:, 0, 0]) / area, noise.var(axis=(1, 2)), rtol=1e-9
    )
    bounds = power_spectrum.edges(32, cell_mpc=cell_mpc, bins=6)
    binned = power_spectrum.binned(noise, bounds, cell_mpc=cell_mpc).mean(axis=0)
    # Each cell is independent: P(k) is variance times the area of a cell, at every k.
    np.testing.assert_allclose(binned, 4 * cell_mpc**2, rtol=0.1)


def test_a_single_wave_is_in_the_bin_of_its_length():
    side, cell_mpc, waves, amplitude = 40, 1.5, 6, 5.0
    x = np.arange(side)
    image = amplitude * np.cos(2 * np.pi * waves * x / side)[None, None, :].repeat(side, axis=1)
    bounds = power_spectrum.edges(side, cell_mpc=cell_mpc, bins=8)
    binned = power_spectrum.binned(image, bounds, cell_mpc=cell_mpc)[0]
    k = 2 * np.pi * waves / (side * cell_mpc)
    own = np.searchsorted(bounds, k) - 1
    assert binned[own] > 0
    assert np.delete(binned, own).max() < 1e-9 * binned[own]
    # Its variance, amplitude ** 2 / 2, is all in that bin: the mean times the waves of the bin.
    numbers = power_spectrum.wave_numbers(side, cell_mpc=cell_mpc)
    inside = ((numbers >= bounds[own]) & (numbers < bounds[own + 1])).sum()
    assert binned[own] * inside / (side * cell_mpc) ** 2 == pytest.approx(amplitude**2 / 2)


@pytest.mark.parametrize("side", [8, 25, 50, 100])
@pytest.mark.parametrize("bins", [1, 8, 20])
def test_no_bin_is_empty(side, bins):
    bounds = power_spectrum.edges(side, cell_mpc=1.5, bins=bins)
    found = power_spectrum.binned(np.ones((1, side, side)), bounds, cell_mpc=1.5)
    assert np.isfinite(found).all()
    assert 1 <= len(bounds) - 1 <= bins
