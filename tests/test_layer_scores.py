"""The scores of `benchmarks/melt_layers.py` on cases made by hand, and the photos that it draws."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

KINDS = ("sharp", "diffuse", "thin")
TRUTH = [
    ("sharp", "sharp", 100, 105),
    ("diffuse", "diffuse", 300, 310),
    ("thin", "thin", 500, 501),
    ("lens", "lens", 700, 703),
    ("none", "break", 800, 820),
    ("none", "stratification", 810, 840),
    ("none", "refrozen", 900, 910),
    ("none", "glare", 950, 960),
    ("uncertain", "faint", 1000, 1002),
]


@pytest.fixture(scope="module")
def benchmarks():
    """The two modules, which import each other by their names."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import hard_ice
        import layer_scores

        yield hard_ice, layer_scores
    for name in ("hard_ice", "layer_scores"):
        del sys.modules[name]


def truth(*photos):
    columns = ["kind", "cause", "from_mm", "to_mm"]
    return pd.concat([pd.DataFrame(TRUTH, columns=columns).assign(photo=photo) for photo in photos])


def found(*spans, photo="a"):
    rows = [(photo, a, b - a, *rest) for a, b, *rest in spans]
    columns = ["photo", "from_top_mm", "thickness_mm", "kind"]
    return pd.DataFrame(rows, columns=columns[: 3 + any(len(row) > 3 for row in rows)])


def scores(benchmarks, table, *, photos=("a",)):
    return benchmarks[1].tally(table, truth(*photos), kinds=KINDS).scores(KINDS)


def test_all_found_is_one(benchmarks):
    result = scores(benchmarks, found((100, 105), (301, 311), (500, 501)))
    assert (result["f1"], result["precision"], result["error_mm"]) == (1, 1, 0)
    assert [result[kind] for kind in KINDS] == [1, 1, 1]
    assert np.isnan([result["lens"], result["lens precision"]]).all()  # of a model without lenses


def test_none_found_has_no_precision(benchmarks):
    result = scores(benchmarks, found())
    assert (result["f1"], result["sharp"]) == (0, 0) and np.isnan(result["precision"])


@pytest.mark.parametrize(
    ("span", "cause"),
    [
        ((699, 702), "lens"),
        ((805, 815), "break"),  # the band below it is not the cause
        ((835, 838), "stratification"),
        ((905, 906), "crack"),
        ((955, 970), "glare"),
        ((1200, 1210), "other"),
        ((101, 103), "other"),  # a second piece of a layer
    ],
)
def test_a_false_layer_has_its_cause(benchmarks, span, cause):
    result = scores(benchmarks, found((100, 105), span))
    false = {name: count for name, count in result.items() if name.startswith("false")}
    assert false == dict.fromkeys(false, 0) | {f"false {cause}": 1}
    assert result["precision"] == 0.5 and result["sharp"] == 1
    assert result["f1"] == pytest.approx(2 / (2 + 1 + 2))


def test_what_lies_on_an_uncertain_feature_counts_neither_way(benchmarks):
    assert scores(benchmarks, found((100, 105), (1001, 1004)))["precision"] == 1


@pytest.mark.parametrize(("from_mm", "right"), [(505.4, 0), (501.4, 1), (498.5, 1), (497.9, 0)])
def test_half_a_millimetre_on_each_side_is_allowed(benchmarks, from_mm, right):
    assert scores(benchmarks, found((from_mm, from_mm + 1)))["thin"] == right


def test_as_many_pairs_as_can_be_and_the_nearest_of_them(benchmarks):
    match = benchmarks[1].match
    # The first found layer is nearest to the second true one, which is all that the second has.
    pairs = match(np.array([(0.0, 12), (10, 14)]), np.array([(0.0, 3), (6, 12)]))
    assert pairs == [(0, 0), (1, 1)]
    assert match(np.array([(0.0, 5), (1, 3)]), np.array([(1.0, 3)])) == [(1, 0)]
    assert match(np.zeros((0, 2)), np.array([(1.0, 3)])) == []


def test_lenses_by_name_have_scores_and_are_no_false_layers(benchmarks):
    table = found((100, 105, "layer"), (699, 702, "lens"), (900, 905, "lens"))
    result = scores(benchmarks, table)
    assert (result["lens"], result["precision"], result["sharp"]) == (1, 1, 1)
    assert result["lens precision"] == 0.5
    on_uncertain = found((699, 702, "lens"), (1001, 1004, "lens"))
    assert scores(benchmarks, on_uncertain)["lens precision"] == 1
    assert scores(benchmarks, found((700, 703, "layer")))["false lens"] == 1
    assert scores(benchmarks, found((100, 105, "lens")))["sharp"] == 0


def test_photos_are_added_and_strange_ones_refused(benchmarks):
    table = pd.concat([found((100, 105)), found((300, 310), (20, 30), photo="b")])
    result = scores(benchmarks, table, photos=("a", "b"))
    assert (result["sharp"], result["diffuse"], result["precision"]) == (0.5, 0.5, 2 / 3)
    with pytest.raises(ValueError, match="no photo c"):
        scores(benchmarks, found((1, 2), photo="c"))


@pytest.mark.slow
def test_hard_photos_are_as_dark_as_their_truth_says(benchmarks, tmp_path):
    benchmarks[0].draw(tmp_path / "one", photos=2, seed=4)
    benchmarks[0].draw(tmp_path / "two", photos=1, seed=4)
    first = next((tmp_path / "two" / "photos").iterdir())
    assert first.read_bytes() == (tmp_path / "one" / "photos" / first.name).read_bytes()
    table = pd.read_csv(tmp_path / "one" / "truth.csv")
    layers = pd.read_csv(tmp_path / "one" / "layers.csv")
    assert (layers["type of feature"] == "meltLayer").sum() == table["kind"].isin(KINDS).sum() > 2
    for name, things in table.groupby("photo"):
        grey = cv2.imread(str(tmp_path / "one" / "photos" / name), cv2.IMREAD_GRAYSCALE)
        middle = slice(round(0.4 * grey.shape[1]), round(0.6 * grey.shape[1]))
        rows = grey[:, middle].mean(axis=1)
        ice = np.flatnonzero(rows > 0.5 * np.median(rows))
        px_per_mm = (ice[-1] - ice[0]) / benchmarks[0].LENGTH_MM
        for one in things[things["kind"].isin(("sharp", "diffuse"))].itertuples():
            at = round(ice[0] + (one.from_mm + one.to_mm) / 2 * px_per_mm)
            around = np.r_[rows[at - 60 : at - 30], rows[at + 30 : at + 60]]
            assert rows[at - 2 : at + 3].mean() < 0.9 * np.median(around), (name, one)
