"""Retraining on more data: what is kept, what is compared, what is published, and going back."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import run_command
import subprocesses
from typer.testing import CliRunner

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.cli import app
from tfpipe.registry import checked_files, load, store, warm_start
from tfpipe.registry import history as registry_history
from tfpipe.training import loop
from tfpipe.workflows import retrain

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets"),
]

TASK = str(Path(__file__).parents[1] / "helpers" / "brightness_task.py")
VALUES = ("filters=4", "conv_layers=1", "dropout=0", "dense_units=8", "dense_dropout=0")
SMALL = [word for one in (*VALUES, "learning_rate=0.01") for word in ("--hp", one)]
EPOCHS = 6


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a first version, and with files that it has not seen."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        add(range(24))
        run_command.run("train", TASK, *SMALL, "--epochs", str(EPOCHS), "--no-random-split")
        add(range(24, 40))
        shutil.copytree(home, home.with_name("untouched"))
        yield home


def add(numbers) -> None:
    raw = Path("data/raw/lights")
    raw.mkdir(parents=True, exist_ok=True)
    for i in numbers:
        (raw / f"file{i:02d}.txt").write_text(str(i))


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, [*words])
    assert isinstance(done.exception, UserError), done.output
    return str(done.exception)


def versions() -> list[int]:
    return store.versions(Path("saved_models/lights/simple-cnn"))


def extra(number: int) -> Path:
    return Path(f"saved_models/lights/simple-cnn/{number}/assets.extra")


def spoilt(monkeypatch) -> list[int]:
    """Lets whatever is trained answer the opposite; returns the epochs that were trained."""
    fit, epochs = loop.fit, []

    def opposite(model, *args, callbacks, **rest):
        history = fit(
            model, *args, callbacks=[*callbacks, lambda epoch, logs: epochs.append(epoch)], **rest
        )
        layer = model.get_layer("positive")
        layer.set_weights([-weight for weight in layer.get_weights()])
        return history

    monkeypatch.setattr(loop, "fit", opposite)
    return epochs


def test_what_is_worse_is_not_published_unless_forced_and_then_not_trained_again(home, monkeypatch):
    epochs = spoilt(monkeypatch)
    said = refused("retrain", TASK, "--from-scratch")
    assert "worse than version 1" in said and "--force" in said
    assert versions() == [1] and len(epochs) == EPOCHS
    folder = Path("saved_models/lights/simple-cnn")
    assert not list(folder.glob(".draft*"))
    told = json.loads((folder / "refused.json").read_bytes())
    assert told["is_worse"] and told["sets"]["all"]["high"] < 0
    # As many of a file's pictures are bright as not, so whole files do not notice: either decides.
    whole = told["files"][0]
    assert (whole["score"], whole["decides"]) == ("file_share", True)
    assert whole["sets"]["all"]["verdict"] != "worse"
    made = run_command.run("retrain", TASK, "--from-scratch", "--force")
    assert made["version"] == 2 and len(epochs) == EPOCHS and made["comparison"]["forced"]
    assert "published although it is worse" in (extra(2) / "MODEL_CARD.md").read_text()
    shutil.rmtree(folder / "2")


def test_a_stopped_retraining_goes_on_and_old_files_keep_their_splits(home, monkeypatch):
    old = pd.read_csv(extra(1) / "sources.csv").set_index("source")["split"]
    epochs, begun = [], loop.fit

    def stopped(model, *args, callbacks, **rest):
        def stop(epoch, logs):
            epochs.append(epoch)
            raise KeyboardInterrupt

        return begun(model, *args, callbacks=[*callbacks, stop], **rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "SAVE_EVERY_S", 0)
        patch.setattr(loop, "SAVE_SHARE", 1e9)
        patch.setattr(loop, "fit", stopped)
        assert CliRunner().invoke(app, ["retrain", TASK, "--epochs", "2"]).exit_code != 0
    assert epochs == [1] and versions() == [1]

    def counted(model, *args, callbacks, **rest):
        return begun(model, *args, callbacks=[*callbacks, lambda e, logs: epochs.append(e)], **rest)

    monkeypatch.setattr(loop, "fit", counted)
    made = run_command.run("retrain", TASK, "--epochs", "2")
    assert epochs == [1, 2] and made["version"] == 2 and versions() == [1, 2]
    sets = made["comparison"]["sets"]
    new = pd.read_csv(extra(2) / "sources.csv").set_index("source")["split"]
    assert (new[old.index] == old).all() and len(new) == len(old) + 16
    assert sets["old"]["groups"] == (old == "test").sum()
    assert sets["new"]["groups"] == (new == "test").sum() - (old == "test").sum()
    card, before = (store.read_card(extra(number).parent) for number in (2, 1))
    assert card.initialized_from == 1 and card.comparison["with"] == 1
    # The old version finds in the old files what its own card says, the new one what its own does.
    whole = card.comparison["files"][0]["sets"]
    assert whole["old"]["before"] == pytest.approx(before.metrics["test"]["file_share"])
    assert whole["all"]["after"] == pytest.approx(card.metrics["test"]["file_share"])
    assert "test groups together: " in (text := (extra(2) / "MODEL_CARD.md").read_text())
    assert "file\\_share" in text
    assert not (extra(1).parent.parent / "training").exists()


def retrained(folder: Path, home: Path, *, moments: list[str]):
    """Retrains in processes killed at their moments; returns their ends and the last words."""
    shutil.copytree(home.with_name("untouched"), folder)
    words = json.dumps(["retrain", TASK, "--epochs", "2"])
    script = Path(__file__).parents[1] / "helpers" / "killed_retraining.py"
    done = subprocesses.run(script, folder, words, json.dumps(moments))
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_killed_at_any_moment_the_same_command_publishes_one_version(home, tmp_path):
    killed, shelf = -signal.SIGKILL, Path("saved_models/lights/simple-cnn")
    whole, _ = retrained(tmp_path / "whole", home, moments=[])
    assert whole == [[0, [1, 2], False]]
    moments = ["training", "half a draft", "published"]
    ends, said = retrained(tmp_path / "killed", home, moments=moments)
    assert ends == [
        [killed, [1], False],
        [killed, [1], True],
        [killed, [1, 2], False],
        [2, [1, 2], False],
    ]
    assert "was trained on these very records" in said  # it was published just before the kill
    one, other = tmp_path / "whole" / shelf / "2", tmp_path / "killed" / shelf / "2"
    card = store.read_card(other)
    checked_files.check(other, card)
    assert {path.name for path in one.rglob("*")} == {path.name for path in other.rglob("*")}
    before, after = (load.read_model(version).get_weights() for version in (one, other))
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert store.read_card(one).comparison == card.comparison


def test_each_retraining_is_as_gentle_as_the_first(home):
    first, second = (store.read_card(extra(n).parent).training for n in (1, 2))
    assert second["learning_rate"] == pytest.approx(first["learning_rate"] / 10)
    again = retrain.training_config(
        extra(2).parent, retrain.RetrainingPlan(initialized_from=extra(2).parent)
    )
    assert again.learning_rate == second["learning_rate"]
    assert again.epochs == first["epochs"] // 3
    afresh = retrain.training_config(extra(2).parent, retrain.RetrainingPlan())
    assert (afresh.learning_rate, afresh.epochs) == (first["learning_rate"], first["epochs"])


def test_unchanged_records_are_not_trained_again(home):
    assert "was trained on these very records" in refused("retrain", TASK)


def test_a_version_that_is_gone_on_from_begins_as_it_was_before_calibration(home):
    version = extra(1).parent
    card = store.read_card(version)
    images = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 1), dtype=np.uint8)
    likely = load.open_version(version).predict_proba(images)[:, 1]
    from tfpipe.models.spec import Spec

    spec = card.network_spec
    begun = warm_start.model_of(version, spec, card.hyperparameters)
    logits = np.log(likely / (1 - likely)) * card.calibration["temperature"]
    raw = begun({"image": images}, training=False).numpy()[:, 1]
    np.testing.assert_allclose(raw, 1 / (1 + np.exp(-logits)), atol=1e-4)
    other = Spec((16, 16, 1), ("dull", "bright", "third"), (1.0,), (1.0,))
    with pytest.raises(UserError, match="classes dull, bright, third.*--from-scratch"):
        warm_start.spec_of(version, other)


def test_a_file_that_changed_its_split_is_refused(home, tmp_path):
    from dataclasses import replace

    from tfpipe.data import manifest as data_manifest
    from tfpipe.registry import previous_version

    manifest = data_manifest.read(Path("data/records/lights"))
    *rest, name = manifest.sources["test"]
    train = (*manifest.sources["train"], name)
    moved = manifest.sources | {"test": tuple(rest), "train": train}
    manifest = replace(manifest, sources=moved)
    with pytest.raises(UserError, match=f"{name} \\(test, now train\\)"):
        previous_version.check(extra(2).parent, manifest)
    with pytest.raises(UserError, match="no longer have the class 'bright'"):
        previous_version.check(extra(2).parent, replace(manifest, classes=("dull",)))


def test_rolling_back_publishes_a_copy_that_is_then_served(home):
    assert "is served already" in refused("rollback", TASK, "2")
    assert "no version 9" in refused("rollback", TASK, "9")
    made = run_command.run("rollback", TASK, "1")
    assert made["version"] == 3 and made["copied_from"] == 1
    found = store.find(Path("saved_models"), task="lights", model=None, version=None)
    card = store.read_card(found)
    assert found.name == "3" and card.version == 3 and card.copied_from == 1
    checked_files.check(found, card)
    assert "rolled back" in (extra(3) / "MODEL_CARD.md").read_text()
    rows = {row["version"]: row for row in run_command.run("versions", TASK)["versions"]}
    assert [rows[n]["served"] for n in (1, 2, 3)] == ["", "", "by default"]
    assert rows[3]["from"] == "copy of 1" and rows[2]["from"] == "weights of 1"
    assert rows[2]["one_ms"] > 0 and rows[2]["bytes"] > 10_000 and rows[1]["score"]
    shown = CliRunner().invoke(app, ["versions", TASK]).stdout
    assert "by default" in shown and "average_precision" in shown and "images/s" in shown


def test_a_damaged_version_is_not_gone_back_to(home, tmp_path):
    folder = tmp_path / "lights" / "simple-cnn"
    for number in ("1", "2"):
        shutil.copytree(extra(1).parent, folder / number)
    (folder / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UserError, match="not what was exported"):
        registry_history.rollback(folder / "1")
    assert store.versions(folder) == [1, 2] and not list(folder.glob(".draft*"))


def test_the_card_tells_all_that_it_must(home):
    card, groups = store.read_card(extra(2).parent), pd.read_csv(extra(2) / "groups.csv")
    counts = card.data.counts
    for split, own in groups.groupby("split"):
        assert own["examples"].sum() == sum(counts[split].values())
        assert own["n_bright"].sum() == counts[split]["bright"]
    for name in (
        "intended_use",
        "leak_check",
        "limitations",
        "hardware",
        "packages",
        "date",
        "drift",
    ):
        assert getattr(card, name), name
    low, high = card.confidence_intervals["accuracy"] or (0, 1)
    assert low <= card.metrics["test"]["accuracy"] <= high
    text = (extra(2) / "MODEL_CARD.md").read_text()
    for heading in ("Intended use", "Data", "Scores", "Leak check", "Limits", "Files"):
        assert f"## {heading}" in text
    assert card.sha256["saved_model.pb"] in text and "went on from the weights" in text


def test_predict_names_what_has_left_the_training(home, tmp_path):
    for name, added in (("same", ""), ("bright", " 50")):
        (tmp_path / name).mkdir()
        for i in range(6):
            (tmp_path / name / f"new{i}.txt").write_text(f"{100 + i}{added}")
    like = run_command.run("predict", TASK, str(tmp_path / "same"), "--out", "same.csv")
    bright = run_command.run("predict", TASK, str(tmp_path / "bright"), "--out", "bright.csv")
    assert "drift" not in like
    assert "brightness" in {one["name"] for one in bright["drift"]}
    assert any("brightness is far outside" in note for note in bright["notes"])


def test_a_card_without_statistics_finds_nothing(home):
    from dataclasses import replace

    from tfpipe.evaluation import drift

    card = replace(store.read_card(extra(2).parent), drift={})
    watch = drift.Watch(card)
    watch.update(np.zeros((3, 16, 16, 1), np.uint8), probabilities=np.eye(2)[[0, 1, 0]])
    assert watch.findings() == [] and files.sha256(extra(2) / "card.json")
