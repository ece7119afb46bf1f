"""The plan for more pictures of docs/plan.md: linear in the pictures, and money adds up."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def plan():
    """The module benchmarks/plan.py, which is no package."""
    spec = importlib.util.spec_from_file_location("plan", ROOT / "benchmarks" / "plan.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["plan"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["plan"]


def test_money_is_that_of_workers_and_of_the_machine_that_does_the_rest(plan):
    measured = plan.Measured(
        pack_s=3600e-6,
        near_copies_s=3600e-6,
        near_copies_at=250_000,
        near_copies_growth=0.5,
        train_s=1800e-6,
        predict_s=3600e-6,
        disk_bytes=1000,
        memory_bytes=1,
        memory_start_gb=1,
    )
    assert plan.hours(1_000_000, measured) == pytest.approx(
        {"pack": 1, "near-copies": 2, "train": 0.5, "predict": 1}
    )
    rented = plan.Engine("rented", 0.5, "")
    expected = 2 * 0.5 + 2.5 * plan.LAUNCHER_USD
    assert plan.usd(1_000_000, rented, measured) == pytest.approx(expected)
    assert plan.usd(1_000_000, plan.Engine("own", 0.0, ""), measured) == 0


def test_the_tables_of_the_documentation_are_those_that_the_script_prints(
    plan, capsys, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["plan.py"])
    plan.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    page = (ROOT / "docs" / "plan.md").read_text()
    assert len(lines) == 2 + len(plan.SIZES) + 2 + len(plan.ENGINES) + 2
    assert [line for line in lines if re.sub(r"\s+", " ", line) not in page] == []
