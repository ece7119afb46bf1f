"""Columns: one name each, formulas, and which of them a model may see."""

import math
from pathlib import Path

import flowcam
import numpy as np
import pandas as pd
import pytest
from flowcam import surveyed
from hypothesis import given, settings
from hypothesis import strategies as some

from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import column_names, column_selection, derived_columns, particle_table
from tfpipe.tasks.insolubles.options import InsolublesOptions

SIDES_UM = some.floats(0.5, 500)


def of(*frames: dict, **options):
    """Returns the columns settled of some tables {name: values}, each a run of its own."""
    found = [
        particle_table.Particles(
            Path(),
            Path(f"run{i}.lst"),
            particle_table.rows(
                len(next(iter(frame.values()))),
                run=f"run{i}",
                line=np.arange(len(next(iter(frame.values())))) + 10,
            ),
            pd.DataFrame(frame, dtype=np.float64),
            (),
        )
        for i, frame in enumerate(frames)
    ]
    is_new = options.pop("is_new", False)
    return column_selection.select(found, InsolublesOptions(**options), is_new=is_new)


def test_there_are_the_34_columns_of_seed_000():
    assert len(column_names.MEASURED) == 34
    assert len({heading for heading, _ in column_names.TABLE.values() if heading}) == len(
        [heading for heading, _ in column_names.TABLE.values() if heading]
    )


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Area (ABD)", "area_abd_um2"),
        ("Area..ABD.", "area_abd_um2"),
        ("area_abd", "area_abd_um2"),
        ("area_abd_um2", "area_abd_um2"),
        ("Biovolume (P. Spheroid)", "biovolume_p_spheroid_um3"),
        ("Ratio Red/Blue", "ratio_red_blue"),
        ("Image File", "collage"),
        ("Collage file", "collage"),
        ("imgpaths", "image_path"),
    ],
)
def test_one_name_for_every_spelling(written, name):
    assert column_names.match_csv_headings([written, "no such thing"], where="x") == {name: written}


def test_two_headings_for_one_name_are_refused():
    with pytest.raises(UserError, match=r"x.csv line 1: .*'Area \(ABD\)' and 'area_abd' both mean"):
        column_names.match_csv_headings(["Area (ABD)", "Width", "area_abd"], where="x.csv line 1")


def derived(**columns):
    """Returns the derived columns of one particle."""
    return {
        n: v[0]
        for n, v in derived_columns.derive(
            pd.DataFrame({n: [float(v)] for n, v in columns.items()})
        ).items()
    }


@settings(max_examples=50, deadline=None)
@given(SIDES_UM, SIDES_UM, some.floats(0.1, 3))
def test_a_rectangle_is_measured_as_it_is(one, other, um_per_px):
    length, thickness = max(one, other), min(one, other)
    found = derived(
        raw_perimeter_px=2 * (length + thickness) / um_per_px,
        raw_filled_area_px2=length * thickness / um_per_px**2,
        calibration_factor_um=um_per_px,
        length_um=length,
    )
    near = {"rel": 1e-6, "abs": 1e-6 * length}  # the root of a small difference loses digits
    assert found["geodesic_length_um"] == pytest.approx(length, **near)
    assert found["geodesic_thickness_um"] == pytest.approx(thickness, **near)
    assert found["fiber_straightness"] == pytest.approx(1, rel=1e-5)
    assert found["fiber_curl"] == pytest.approx(0, abs=1e-5)
    cylinder = math.pi * (found["geodesic_thickness_um"] / 2) ** 2 * found["geodesic_length_um"]
    assert found["biovolume_cylinder_um3"] == pytest.approx(cylinder)


@settings(max_examples=50, deadline=None)
@given(some.floats(1, 200))
def test_a_sphere_has_the_volume_of_a_sphere(radius_um):
    found = derived(
        area_abd_um2=math.pi * radius_um**2,
        diameter_esd_um=2 * radius_um,
        compactness=1,
        raw_legendre_major_px=2 * radius_um + 4.5,
        raw_legendre_minor_px=2 * radius_um + 4.5,
        fringe_size_px=4.5,
        calibration_factor_um=1,
    )
    volume = 4 / 3 * math.pi * radius_um**3
    assert found["volume_abd_um3"] == pytest.approx(volume)
    assert found["volume_esd_um3"] == pytest.approx(volume)
    assert found["transparency"] == pytest.approx(0, abs=1e-9)
    assert found["circularity"] == 1 and found["aspect_ratio"] == 1
    if 2 * radius_um > 4.5:  # else half of the diameter is taken for fringe
        assert found["biovolume_p_spheroid_um3"] == pytest.approx(volume)


def test_what_is_stored_is_not_derived():
    assert "circularity" not in derived(compactness=2, circularity=0.4)


def test_round_particles_count_as_squares():
    found = derived(raw_perimeter_px=40, raw_filled_area_px2=110, calibration_factor_um=0.5)
    assert found["geodesic_length_um"] == found["geodesic_thickness_um"] == 5


def test_what_tells_the_run_is_no_column_unless_asked_for():
    frame = {"area_abd_um2": [1, 2, 3], "elapsed_time_s": [4, 5, 6], "image_width_px": [7, 8, 9]}
    names, values, notes = of(frame)
    assert names == ("area_abd_um2", "image_width_px")
    assert values[0].dtype == np.float32 and values[0].tolist() == [[1, 7], [2, 8], [3, 9]]
    assert any("identify the run" in note and "elapsed_time_s" in note for note in notes)
    assert "elapsed_time_s" in of(frame, leaking="yes")[0]


def test_every_field_of_place_time_and_calibration_leaks(tmp_path):
    flowcam.run(tmp_path / "a")
    leaking = {"id", "image_x", "image_y", "src_x", "src_y", "src_image", "cal_image", "cal_const"}
    leaking |= {"elapsed_time", "intensity_calimage", "camera", "fringe_size"}
    assert {field for _, field in column_names.LEAKING.values() if field} == leaking
    found = surveyed(tmp_path)
    assert not set(found.columns) & {*column_names.LEAKING, *column_names.TEXT}
    assert {"elapsed_time_s", "particle_id"} <= set(surveyed(tmp_path, leaking="yes").columns)


def test_constant_columns_are_left_out_and_named():
    names, _, notes = of(
        {"area_abd_um2": [1, 2], "symmetry": [3, 3]}, {"area_abd_um2": [4], "symmetry": [3]}
    )
    assert names == ("area_abd_um2",) and notes == ["Constant columns, so unused: symmetry."]
    assert of({"area_abd_um2": [1, 1]}, is_new=True)[0] == ("area_abd_um2",)


def test_only_columns_of_every_run_count():
    names, _, notes = of({"length_um": [1, 2], "symmetry": [3, 4]}, {"length_um": [5, 6]})
    assert names == ("length_um",) and notes == ["Not in every run, so unused: symmetry."]


def test_the_order_is_fixed_whatever_the_table_has_first():
    frame = {"zooid": [1, 2], "width_um": [1, 2], "area_abd_um2": [3, 4]}
    assert of(frame)[0] == ("area_abd_um2", "width_um", "zooid")


def test_no_finite_number_becomes_the_median_of_its_own_run():
    names, values, notes = of(
        {"length_um": [1, np.nan, 3, np.inf, 11], "width_um": [1, 2, 3, 4, 1e39]},
        {"length_um": [100, 200, -np.inf], "width_um": [1, 2, 3]},
    )
    assert names == ("length_um", "width_um")
    assert values[0].tolist() == [[1, 1], [3, 2], [3, 3], [3, 4], [11, 2.5]]
    assert values[1].tolist() == [[100, 1], [200, 2], [150, 3]]
    assert notes == [
        "run0.lst: values that are no finite numbers are replaced by the median of their run: "
        "length_um 2 (line 11, 13), width_um 1 (line 14).",
        "run1.lst: values that are no finite numbers are replaced by the median of their run: "
        "length_um 1 (line 12).",
    ]


def test_a_column_without_any_number_in_a_run_is_left_out():
    names, _, notes = of(
        {"length_um": [1, 2], "width_um": [1, 2]}, {"length_um": [1, 3], "width_um": [np.nan] * 2}
    )
    assert names == ("length_um",)
    assert notes == ["Columns without any number in a run, so unused: width_um."]


def test_a_list_with_nan_and_infinity_keeps_its_particles(tmp_path):
    rows = flowcam.particles()
    rows[0]["length"], rows[1]["length"], rows[2]["length"] = "nan", "1.#INF", "inf"
    flowcam.run(tmp_path / "a", rows)
    found = surveyed(tmp_path)
    assert len(flowcam.labels_of(found)) == 12
    assert flowcam.column_of(found, "length_um")[:3].tolist() == [11.5] * 3  # of 9.5 ... 13.5
    assert any("length_um 3 (line 18, 19, 20)" in note for note in found.notes)


@settings(max_examples=40, deadline=None)
@given(
    some.lists(some.lists(some.floats(width=32), min_size=1, max_size=6), min_size=1, max_size=4)
)
def test_whatever_comes_the_columns_are_finite(runs):
    names, values, _ = of(*({"length_um": run, "symmetry": run} for run in runs))
    assert all(
        np.isfinite(v).all() and v.shape == (len(r), len(names))
        for v, r in zip(values, runs, strict=True)
    )
