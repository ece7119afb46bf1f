"""The ionization tasks from drawn cubes to a table, in their smallest form."""

import pandas as pd
import pytest
from run_command import run

from tfpipe.registry import store

pytestmark = pytest.mark.slow

CLASSES = [f"p_{5 + i / 2:.1f}" for i in range(17)]
SMALL = ("-o", "every=8", "-o", "gap_mpc=2", "-o", "test_seeds=2")


def test_sample_tune_report_and_predict(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("sample", "ionization-redshift", "--simulations", "2", "--cells", "16")
    quick = ("--quick", "--algorithm", "random", "--trials", "1", "--trial-epochs", "1")
    told = run(
        "tune",
        "ionization-redshift",
        *quick,
        "--epochs",
        "1",
        "--no-random-split",
        *SMALL,
    )
    scores = told["metrics"]["test"]
    assert {"accuracy", "mean_absolute_error", "mean_absolute_error_of_expected"} <= set(scores)
    assert scores["examples_no_signal"] > 0
    card = store.read_card(tmp_path / told["path"])
    assert card.options["side"] == 16
    assert card.data.user_defined_split
    page = tmp_path / run("report", "ionization-redshift")["path"]
    for words in ("Ordinal classes", "Ambiguous images", "Mean absolute error"):
        assert words in page.read_text()
    raw = tmp_path / "data" / "raw" / "ionization-redshift"
    new = raw / "delta_T_z007.50_fesc0.100_seed1_16_150Mpc.npy"
    made = run("predict", "ionization-redshift", str(new), "--out", "z.csv")
    table = pd.read_csv(tmp_path / "z.csv")
    assert made["rows"] == len(table) == 2
    assert {"file", "index", "label", "expected_z", "abstain", *CLASSES} <= set(table)
    expected = table[CLASSES].to_numpy() @ [5 + i / 2 for i in range(17)]
    assert table["expected_z"].tolist() == pytest.approx(expected.tolist(), abs=1e-4)
