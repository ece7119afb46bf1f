"""What is shown of searches: which there are, how far they got, what mattered, and their page."""

import base64
import fcntl
import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import browser
import numpy as np
import pytest
from made_manifest import made_manifest
from typer.testing import CliRunner

from tfpipe import cli
from tfpipe.base.errors import UserError
from tfpipe.base.html import POLICY
from tfpipe.search import oracles, report, results
from tfpipe.search.config import SearchConfig
from tfpipe.search.importance import MIN_CONFIGURATIONS, MIN_EXPLAINED, importance
from tfpipe.search.plan import SearchPlan
from tfpipe.training import loop

EVIL = "<b>x</b></script><script>alert(1)</script>&lt;"


def space(hp) -> dict:
    return {
        "filters": hp.Int("filters", 8, 64),
        "pool": hp.Choice("pool", ["max", EVIL]),
        "norm": hp.Boolean("norm"),
    }


def rate(hp) -> dict:
    return {"learning_rate": hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")}


def score_of(values: dict) -> float:
    """Only the learning rate matters: best at 1e-3."""
    return 1 - abs(math.log10(values["learning_rate"]) + 3) / 2


def kept(folder: Path, *, algorithm="random", trials=12, ended=None, objective="score") -> Path:
    """Leaves a search in a folder as a chief would, of which `ended` trials are over."""
    plan = SearchPlan(space, rate, algorithm, max_epochs=9, factor=3, max_trials=trials, epochs=9)
    data = loop.Dataset(folder, made_manifest(), objective)
    oracle = oracles.make_oracle(SearchConfig("drawn", "cnn", "", algorithm), plan, data)
    oracle.store_in(folder, chief="here")
    for i in range(oracle.n_trials if ended is None else ended):
        trial = oracle.create_trial("here-1")
        outcome = {"status": "FAILED", "message": f"It diverged. {EVIL}"}
        if i != 3:
            score = score_of(trial.hyperparameters.values)
            outcome = {"status": "COMPLETED", "metrics": {f"val_{objective}": score}}
        oracle.end("here-1", seconds=1.5, **outcome)
    if ended is None:
        (folder / "best.json").write_text("{}")
    else:
        oracle.create_trial("here-1")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder of saved models: a search moved aside, one that is not finished, one that is."""
    folder = tmp_path_factory.mktemp("models")
    kept(folder / "melt-layer" / "enhanced-cnn" / "search-1", trials=2, ended=1)
    kept(folder / "melt-layer" / "enhanced-cnn" / "search", algorithm="hyperband", ended=6)
    kept(folder / "melt-layer" / "simple-cnn" / "search", trials=40)
    return folder


@pytest.fixture
def search(models) -> results.SearchResult:
    return results.find_searches(models / "melt-layer")[-1]


def run(*words) -> str:
    """Returns what a command prints."""
    result = CliRunner().invoke(cli.app, ["search", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def trials(count: int, score, *, seed: int) -> list[dict]:
    """Returns rows of random values, and whatever score they get."""
    rng = np.random.default_rng(seed)
    rows = [
        {"rate": float(rng.random()), "units": int(rng.integers(9)), "pool": str(rng.integers(2))}
        for _ in range(count)
    ]
    return [row | {"score": float(score(row, rng))} for row in rows]


NAMES = ("rate", "units", "pool")


def test_all_searches_are_found_the_present_one_first(models):
    searches = results.find_searches(models / "melt-layer")
    named = [(search.model, search.folder.name) for search in searches]
    assert named == [
        ("enhanced-cnn", "search"),
        ("enhanced-cnn", "search-1"),
        ("simple-cnn", "search"),
    ]
    counts = [(search.summary["completed"], search.summary["n_trials"]) for search in searches]
    # Hyperband of 9 epochs and factor 3, by hand: brackets of 9 + 3 + 1, 5 + 2 and 3 trials; of
    # the six trials over, one failed.
    assert counts == [(5, 23), (1, 2), (39, 40)]
    assert [search.state for search in searches] == ["stopped", "stopped", "finished"]


def test_a_search_whose_folder_is_held_is_running(models):
    search = results.find_searches(models / "melt-layer")[0]
    with (search.folder.parent / ".search.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert search.state == "running"
    assert search.state == "stopped"


@pytest.mark.parametrize(("objective", "best"), [("score", max), ("loss", min)])
def test_the_best_comes_first_whichever_way_is_better(tmp_path, objective, best):
    kept(tmp_path / "cnn" / "search", objective=objective)
    (search,) = results.find_searches(tmp_path)
    scores = [score_of(row) for row in search.content["trials"] if row["status"] == "COMPLETED"]
    assert search.summary["best"] == search.ranked[0]["score"] == best(scores)
    assert search.ranked[-1]["status"] == "FAILED"


def test_a_damaged_search_hides_no_other(tmp_path, caplog):
    kept(tmp_path / "cnn" / "search", trials=2)
    broken = kept(tmp_path / "cnn" / "search-1", trials=2) / "state.json"
    broken.write_bytes(broken.read_bytes()[:100])
    assert len(results.find_searches(tmp_path)) == 1
    assert "search-1 holds no search whose state can be read" in caplog.text
    shutil.rmtree(tmp_path / "cnn" / "search")
    with pytest.raises(UserError, match="search-1 holds no search"):
        results.find_searches(tmp_path)


def test_what_decides_is_found_important():
    rows = trials(40, lambda row, rng: -abs(row["rate"] - 0.5), seed=0)
    result = importance(rows, names=NAMES)
    assert next(iter(result.shares)) == "rate"
    assert result.shares["rate"] > 0.9 * result.explained > 0.6
    assert sum(result.shares.values()) == pytest.approx(result.explained)


@pytest.mark.parametrize("seed", range(2))
def test_noise_is_not_taken_for_importance(seed):
    result = importance(trials(30, lambda row, rng: rng.normal(), seed=seed), names=NAMES)
    assert result.explained < MIN_EXPLAINED and sum(result.shares.values()) < MIN_EXPLAINED
    assert "not to be relied on" in result.note


@pytest.mark.parametrize("seed", range(2))
def test_a_promoted_trial_does_not_foretell_the_one_it_goes_on_from(seed):
    rows = trials(30, lambda row, rng: rng.normal(), seed=seed)
    rows = [row | {"epochs": epochs} for row in rows for epochs in (1, 3)]
    assert importance(rows, names=[*NAMES, "epochs"]).explained < MIN_EXPLAINED


def test_one_loss_without_bounds_leaves_importance_as_it_is():
    rows = trials(40, lambda row, rng: (row["rate"] - 0.5) ** 2, seed=0)
    worst = max(rows, key=lambda row: row["score"])
    wild = [row | {"score": 1e9} if row is worst else row for row in rows]
    assert importance(wild, names=NAMES) == importance(rows, names=NAMES)


def test_a_value_that_some_trials_lack_has_its_importance():
    rows = trials(40, lambda row, rng: row["rate"], seed=0)
    rows = [row | ({"depth": 0} if row["score"] > 0.5 else {}) for row in rows]
    result = importance([{**row, "rate": 0} for row in rows], names=[*NAMES, "depth"])
    assert next(iter(result.shares)) == "depth" and "rate" not in result.shares


def test_too_few_trials_have_no_importance():
    rows = trials(MIN_CONFIGURATIONS - 1, lambda row, rng: row["rate"], seed=0)
    few = importance([*rows, *rows], names=NAMES)
    assert few.shares == {} and few.explained is None
    assert few.note == (
        f"Importance needs at least {MIN_CONFIGURATIONS} completed trials of different values, "
        f"not {MIN_CONFIGURATIONS - 1}."
    )


def test_trials_that_all_score_the_same_have_none_either():
    result = importance(trials(9, lambda row, rng: 0.5, seed=0), names=NAMES)
    assert set(result.shares.values()) == {0.0}
    assert importance([], names=NAMES).explained is None


def test_an_axis_of_powers_has_them_at_even_distances():
    made = report.axis([1e-4, 1e-3, 1e-2], name="learning_rate", is_log=True)
    assert np.diff(made["values"]) == pytest.approx([1, 1])
    at = dict(zip(made["ticktext"], made["tickvals"], strict=True))
    assert [at[said] for said in ("0.0001", "0.001", "0.01")] == pytest.approx(made["values"])
    assert made["range"] == pytest.approx([-4, -2])


def test_an_axis_of_words_has_a_tick_each_and_gaps_stand_below():
    made = report.axis(["sgd", None, "adam", True], name="<i>optimizer</i>", is_log=False)
    ticks = dict(zip(made["tickvals"], made["ticktext"], strict=True))
    assert [ticks[value] for value in made["values"]] == ["sgd", "\N{EM DASH}", "adam", "True"]
    assert made["values"][1] == min(made["tickvals"]) == made["range"][0]
    assert made["label"] == "&lt;i&gt;optimizer&lt;\N{HORIZONTAL ELLIPSIS}"


@pytest.mark.parametrize(
    "values", [[3, 3, 3], [0.1, 0.9, 0.5], [1, 1000, 7], [0.0, 1e-7], [-3.5, 2.5], [1e5, 3e5 + 0.5]]
)
def test_ticks_of_numbers_are_few_and_within_the_axis(values):
    made = report.axis(values, name="x", is_log=False)
    low, high = made["range"]
    assert low < high and low <= min(values) and high >= max(values)
    assert 1 <= len(made["tickvals"]) <= report.MAX_TICKS + 1
    assert all(low <= tick <= high for tick in made["tickvals"])
    said = [float(text) for text in made["ticktext"]]
    assert said == pytest.approx(made["tickvals"], rel=1e-5)


def test_the_best_so_far_never_gets_worse(search):
    line, dots = report.best_so_far(search)["data"]
    np.testing.assert_array_equal(line["y"], np.maximum.accumulate(dots["y"]))
    assert dots["y"] == [score_of(row) for row in search.completed]


@pytest.fixture(scope="module")
def page(models, tmp_path_factory) -> Path:
    search = results.find_searches(models / "melt-layer")[-1]
    mattered = importance(search.completed, names=[*search.names, "epochs"])
    path = tmp_path_factory.mktemp("page") / "search.html"
    return report.write(path, search, mattered, task="melt-layer")


def test_the_page_runs_its_own_scripts_and_asks_for_nothing(page):
    text = page.read_text()
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith(f"{POLICY}; script-src ") and "default-src 'none'" in policy
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert re.findall(r"'sha256-(.*?)'", policy) == digests and len(digests) == 2
    rest = text.replace(scripts[0], "")
    assert not re.findall(r"(?:src|href)=\"(?!#)", rest)
    assert rest.count("<script") == 3 and "<b>x" not in rest


def test_the_page_tells_every_trial(page, search):
    text = page.read_text()
    table = text[text.rindex("<table") :]
    for row in search.content["trials"]:
        assert f">{row['trial']}</th>" in table
    assert table.count(">completed<") == 39 and table.count(">failed<") == 1
    assert "It diverged. &lt;b&gt;x&lt;/b&gt;&lt;/script&gt;" in table


def test_a_search_without_a_score_has_a_page_too(tmp_path):
    kept(tmp_path / "cnn" / "search", ended=0)
    (search,) = results.find_searches(tmp_path)
    text = report.write(tmp_path / "x.html", search, importance([], names=()), task="t")
    assert "No trial has a score yet." in text.read_text()
    assert "<script" not in text.read_text()


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="there is no chromium here")
def test_a_browser_draws_the_figures_without_a_network(page, tmp_path):
    options = (
        "--enable-unsafe-swiftshader",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--virtual-time-budget=5000",
    )
    shot = browser.screenshot(page, tmp_path, *options, width_px=1200, height_px=1400).astype(int)
    assert shot.shape == (1400, 1200, 3)
    coloured = np.ptp(shot, axis=2) > 60
    # Viridis' ends, yellow and violet, are in no other figure.
    blue, green, red = np.moveaxis(shot, 2, 0)
    yellow = (red > 180) & (green > 180) & (blue < 120)
    assert yellow[300:900].sum() > 300, "the lines of the trials are not drawn"
    assert coloured[900:].sum() > 300, "the best so far is not drawn"
    number = "getComputedStyle(document.querySelector('.xtick text')).fill"
    paper = "getComputedStyle(document.querySelector('.main-svg')).backgroundColor"
    with browser.opened(page, tmp_path / "profile-2") as open_page:
        open_page.wait("document.querySelector('.xtick text') !== null")
        in_light = open_page.value(number)
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        open_page.ask("Emulation.setEmulatedMedia", features=dark)
        in_dark = open_page.wait(f"({number} !== '{in_light}') && {number}")
        transparent = open_page.value(paper)
    assert transparent == "rgba(0, 0, 0, 0)"  # the page's own colour is behind
    brightness = [sum(map(int, re.findall("[0-9]+", text))) for text in (in_light, in_dark)]
    assert brightness[0] < 250 and brightness[1] > 600


def test_the_command_shows_it_and_writes_the_page_beside(models):
    said = run("melt-layer", "--models", models, "--model", "enhanced-cnn")
    assert "5 of 23" in said and "39 of 40" in said and "stopped" in said
    assert "0003: It diverged." in said
    path = models / "melt-layer" / "enhanced-cnn" / "search.html"
    assert str(path) in said and path.is_file()


def test_the_command_prints_one_json_object(models, tmp_path):
    page = tmp_path / "page.html"
    output = json.loads(run("melt-layer", "--models", models, "--out", page, "--json"))
    assert (output["command"], output["task"]) == ("search", "melt-layer")
    assert output["path"] == str(page)
    assert [search["model"] for search in output["searches"]] == ["enhanced-cnn"] * 2 + [
        "simple-cnn"
    ]
    assert output["model"] == "simple-cnn" and len(output["trials"]) == 40
    assert max(output["importance"]["shares"], key=output["importance"]["shares"].get) == (
        "learning_rate"
    )


def test_no_search_and_no_such_model_are_said(models, tmp_path):
    with pytest.raises(UserError, match="no search of melt-layer in .*tfpipe tune melt-layer"):
        run("melt-layer", "--models", tmp_path)
    with pytest.raises(UserError, match="Did you mean 'simple-cnn'"):
        run("melt-layer", "--models", models, "--model", "simple-cn")


@pytest.mark.slow
def test_the_command_answers_without_tensorflow(models, tmp_path):
    code = (
        "import sys; from tfpipe import cli; cli.app(sys.argv[1:], standalone_mode=False); "
        "assert not {'tensorflow', 'keras', 'keras_tuner'} & set(sys.modules)"
    )
    words = ["search", "melt-layer", "--models", str(models), "--out", str(tmp_path / "p.html")]
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)
