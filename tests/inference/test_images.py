"""Pictures answered one by one: the table is the model's word, however long it is."""

import dataclasses
import re
import zipfile
from pathlib import Path

import cv2
import four_class_task
import keras
import numpy as np
import pandas as pd
import pytest
from made_card import made_card
from pyarrow import parquet

from tfpipe.base import table_writers, tables
from tfpipe.base.errors import UserError
from tfpipe.cli import options as cli_options
from tfpipe.data.dataset import TEST
from tfpipe.evaluation import calibration, count_errors, evaluate
from tfpipe.inference import contact_sheets
from tfpipe.inference import images as inference_images
from tfpipe.inference.confidence import PredictionOptions
from tfpipe.inference.request import PredictionRequest
from tfpipe.models.calls import soften
from tfpipe.models.spec import Spec
from tfpipe.models.zoo import simple_cnn
from tfpipe.registry import load, predictions, store
from tfpipe.registry.export import NetworkExport
from tfpipe.tasks.insolubles import ecotaxa
from tfpipe.tasks.task import ImageOutputs
from tfpipe.training import loop, validation
from tfpipe.training.config import TrainingConfig

TASK = dataclasses.replace(four_class_task.TASK, whole_file=None)


def frames(count):
    """Returns pieces of a table with text that is awkward to keep."""
    rng = np.random.default_rng(0)
    names = np.array(["plain", "=1+1", "semi;colon", 'quo"te', "new\nline", "ü"], object)
    return [
        pd.DataFrame({"name": rng.choice(names, 7), "p": rng.random(7), "n": rng.integers(0, 9, 7)})
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_table_in_pieces_is_the_table_in_one(tmp_path, name):
    pieces = frames(5)
    with table_writers.writing(tmp_path / "new" / name) as write:
        for piece in pieces:
            write(piece)
    whole = pd.concat(pieces, ignore_index=True)
    if name.endswith("parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "new" / name), whole)
    else:
        tables.write_csv(whole, tmp_path / "one.csv")
        assert (tmp_path / "new" / name).read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_table_that_is_not_finished_leaves_the_old_one(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), table_writers.writing(path) as write:
        write(frames(1)[0])
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_of_an_unknown_kind_is_refused_before_anything_is_done(tmp_path):
    with (
        pytest.raises(UserError, match="ends in .xls, expected .csv or .parquet"),
        table_writers.writing(tmp_path / "table.xls"),
    ):
        raise AssertionError


def test_sheets_keep_the_surest_and_the_least_sure_of_each_class(tmp_path, monkeypatch):
    monkeypatch.setattr(contact_sheets, "MAX_IMAGES", 3)
    sheets = contact_sheets.ContactSheets(("dark/er", "light", "never"))
    sure = np.linspace(0.5, 0.95, 40)
    order = np.random.default_rng(1).permutation(40)
    for part in np.array_split(order, 7):
        likely = np.zeros((len(part), 3))
        likely[np.arange(len(part)), part % 2] = sure[part]
        images = np.full((len(part), 9, 14, 1), part[:, None, None, None], np.uint8)
        sheets.add([f"key{i}" for i in part], images, likely, labels=likely.argmax(axis=1))
    names = {
        (label, order): [image.name for image in sheets.images_of(label, order)]
        for label in range(3)
        for order in contact_sheets.ORDERS
    }
    assert names == {
        (0, "most certain"): ["key38", "key36", "key34"],
        (0, "least certain"): ["key0", "key2", "key4"],
        (1, "most certain"): ["key39", "key37", "key35"],
        (1, "least certain"): ["key1", "key3", "key5"],
        (2, "most certain"): [],
        (2, "least certain"): [],
    }
    paths = sheets.write(tmp_path)
    assert [path.name for path in paths] == ["00-dark-er.png", "01-light.png"]
    assert cv2.imread(str(paths[0])).shape[1] == contact_sheets.COLUMNS * 134 + 6


def test_a_sheet_has_a_scale_in_um_where_pixels_have_a_size_also_after_a_stop(tmp_path):
    written = []
    for size in (0.5, np.nan, 5.0):
        sheets = contact_sheets.ContactSheets(("dust",))
        images = np.full((1, 64, 64, 3), 200, np.uint8)
        sizes = np.array([size])
        sheets.add(["key"], images, np.ones((1, 1)), labels=np.zeros(1, int), um_per_px=sizes)
        resumed = contact_sheets.ContactSheets(("dust",))
        resumed.restore(sheets.new_arrays())
        (path,) = resumed.write(tmp_path)
        sheet = cv2.imread(str(path))
        ink = (sheet == contact_sheets.INK[::-1]).all(axis=2)
        written.append(int(ink[2 * contact_sheets.LINE_PX + 122, :80].sum()))
    # 2 px of the sheet are a pixel: 10 um are 40 px, 100 um are 40 px. Without a size, no scale.
    assert written[1] == 0 and all(40 <= length <= 46 for length in written[::2]), written


# What follows asks a trained and published model.


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return four_class_task.packed(tmp_path_factory.mktemp("kinds"), files=20, task=TASK)


@pytest.fixture(scope="module")
def version(data, tmp_path_factory):
    keras.utils.set_random_seed(1)
    spec = four_class_task.spec_of(data)
    model = four_class_task.of_both(spec)
    settings = TrainingConfig(epochs=12, learning_rate=0.03, schedule="cosine")
    loop.prepare(model, data, settings=settings)
    loop.fit(model, data, settings=settings)
    evaluate.calibrate(data, model, balance="none")
    known = evaluate.evaluate(TASK, data.folder, data, model, options=TASK.options)
    card = made_card(task="kinds", model="both", classes=four_class_task.CLASSES)
    images = np.zeros((2, 16, 16, 1), np.uint8)
    examples = {"image": images, "columns": np.zeros((2, 2), np.float32)}
    return store.publish(
        NetworkExport(model, spec, examples),
        tmp_path_factory.mktemp("models") / "kinds" / "both",
        card=card,
        tables={"predictions": known.predictions},
    )


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """Raw files that were never packed, one of them unreadable."""
    folder = tmp_path_factory.mktemp("new")
    for i in range(6):
        (folder / f"new{i}.txt").write_text(str(100 + i))
    return folder


def asked(version, new, out, **options):
    request = PredictionRequest(TASK, version, [new], out)
    return inference_images.predict(request, prediction_options=PredictionOptions(**options))


@pytest.mark.slow
def test_every_picture_has_a_row_with_what_the_model_says_of_it(version, new, tmp_path):
    made = asked(version, new, tmp_path / "t.csv", embedding=True, conformal=0.1)
    table = pd.read_csv(tmp_path / "t.csv")
    sources = TASK.survey(new, TASK.options).sources
    examples = [e for source in sources for e in TASK.read(source, TASK.options).examples]
    assert made.rows == len(table) == len(examples) == 6 * TASK.options.pictures
    assert table["key"].tolist() == [example.key for example in examples]
    images, columns = (np.stack([getattr(e, w) for e in examples]) for w in ("image", "columns"))
    ready = load.open_version(version)
    likely = ready.predict_proba(images, columns)
    names = [f"p_{name}" for name in four_class_task.CLASSES]
    np.testing.assert_allclose(table[names], likely, atol=1e-6)
    assert table["label"].tolist() == [four_class_task.CLASSES[i] for i in likely.argmax(axis=1)]
    told = table[[f"embedding_{i}" for i in range(8)]]
    np.testing.assert_allclose(told, ready.embed(images, columns), atol=1e-5)
    truth = np.array(
        [four_class_task.CLASSES[i % TASK.options.pictures % 4] for i in range(len(table))]
    )
    sets = [set(cell.split("; ")) for cell in table["classes"].fillna("")]
    assert np.mean([name in one for name, one in zip(truth, sets, strict=True)]) > 0.8
    is_confident = ~table["abstain"]
    assert (table["label"][is_confident] == truth[is_confident]).mean() > (
        table["label"] == truth
    ).mean() - 0.02


@pytest.mark.slow
def test_counts_add_up_and_the_truth_lies_in_their_intervals(version, new, tmp_path):
    made = asked(version, new, tmp_path / "t.parquet")
    counts = pd.read_csv(tmp_path / "t" / "counts.csv")
    assert counts["class"].tolist() == list(four_class_task.CLASSES)
    assert counts["predicted"].sum() == made.rows
    assert counts["adjusted"].sum() == pytest.approx(made.rows, rel=1e-3)
    own = predictions.predictions(version, {}, classes=four_class_task.CLASSES)
    own = own[(own["split"] == "validation") & (own["label"] >= 0)]
    names = [f"p_{name}" for name in four_class_task.CLASSES]
    threshold = count_errors.best_threshold(
        own["label"].to_numpy(int),
        own[names].to_numpy(),
        count_errors.units(own["group"].to_numpy(str))[0],
        thresholds={},
    )
    likely = pd.read_parquet(tmp_path / "t.parquet")[names].to_numpy()
    counted = likely.argmax(axis=1)[likely.max(axis=1) >= threshold]
    assert counts["at_threshold"].tolist() == np.bincount(counted, minlength=4).tolist()
    true = made.rows / 4
    assert ((counts["low"] <= true) & (true <= counts["high"])).all()
    assert {path.suffix for path in made.overlays} == {".png"}
    assert made.summary["abstained"] == pd.read_parquet(tmp_path / "t.parquet")["abstain"].sum()
    written = parquet.read_schema(tmp_path / "t.parquet").metadata
    identity = store.read_card(version).identity
    assert len(identity) == 3
    assert {name: written[name.encode()].decode() for name in identity} == identity


@pytest.mark.slow
def test_another_programs_table_has_its_pictures_beside_it(version, new, tmp_path):
    outputs = ImageOutputs(writers={".tsv": lambda frame, path: [frame.to_csv(path) or "a note"]})
    task = dataclasses.replace(TASK, image_outputs=outputs)
    made = inference_images.predict(PredictionRequest(task, version, [new], tmp_path / "t.tsv"))
    table = pd.read_csv(tmp_path / "t.tsv")
    assert len(table) == made.rows and table["label"].isna().sum() == made.summary["abstained"]
    assert "a note" in made.notes
    source = TASK.survey(new, TASK.options).sources[0]
    first = TASK.read(source, TASK.options).examples[0].image
    written = cv2.imread(str(tmp_path / table["image"][0]), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(written, first[..., 0])


@pytest.mark.slow
def test_a_zip_has_the_images_and_leaves_others_and_can_be_written_again(version, new, tmp_path):
    def write_zip(table, path):
        return ecotaxa.write_predictions_zip(table.assign(run=table["group"]), path)

    outputs = ImageOutputs(writers={".zip": write_zip})
    task = dataclasses.replace(TASK, image_outputs=outputs)
    other = tmp_path / "t" / "images" / "other.png"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"")
    (tmp_path / "t" / "counts.csv").mkdir()  # cannot be written after the .zip
    with pytest.raises(UserError, match="counts.csv cannot be written"):
        inference_images.predict(PredictionRequest(task, version, [new], tmp_path / "t.zip"))
    (tmp_path / "t" / "counts.csv").rmdir()
    made = inference_images.predict(PredictionRequest(task, version, [new], tmp_path / "t.zip"))
    with zipfile.ZipFile(tmp_path / "t.zip") as archive:
        assert len(archive.namelist()) == made.rows + 1
    assert list((tmp_path / "t" / "images").iterdir()) == [other]
    assert not (tmp_path / ".t.zip.partial").exists()


@pytest.mark.slow
def test_two_files_never_have_the_same_overlay_or_image(version, new, tmp_path):
    survey = TASK.survey(new, TASK.options)
    renamed = [
        dataclasses.replace(source, name=name)
        for source, name in zip(survey.sources, ("n1/a", "n1_a"), strict=False)
    ]
    changes = {"survey_new": lambda *_: dataclasses.replace(survey, sources=tuple(renamed))}
    for outputs, name, says in (
        (ImageOutputs(overlay=lambda *_: None), "t.csv", r"n1/a and n1_a .* overlay, n1_a\.png"),
        (
            ImageOutputs(writers={".tsv": pd.DataFrame.to_csv}),
            "t.tsv",
            "Two images would be written to t/images/",
        ),
    ):
        task = dataclasses.replace(TASK, image_outputs=outputs, **changes)
        with pytest.raises(UserError, match=says):
            inference_images.predict(PredictionRequest(task, version, [new], tmp_path / name))
        assert not (tmp_path / name).exists()


@pytest.mark.slow
def test_a_higher_precision_abstains_more(version, new, tmp_path):
    shares = [
        asked(version, new, tmp_path / f"{i}.csv", min_precision=p).summary["abstained"]
        for i, p in enumerate((0.0, 0.6, 0.97))
    ]
    assert shares[0] == 0 < shares[2] and shares == sorted(shares)


@pytest.mark.slow
def test_bad_sources_are_named_and_the_others_answered(version, new, tmp_path):
    def read(source, options):
        if source.name == "new2.txt":
            raise UserError("new2.txt is damaged.")
        return TASK.read(source, options)

    task = dataclasses.replace(TASK, read=read)
    made = inference_images.predict(PredictionRequest(task, version, [new], tmp_path / "t.csv"))
    assert made.bad == {"new2.txt": "new2.txt is damaged."}
    assert made.files == 5 and made.rows == 5 * TASK.options.pictures

    task = dataclasses.replace(TASK, columns=("other",))
    with pytest.raises(UserError, match="reads the columns level, which the new files do not have"):
        inference_images.predict(PredictionRequest(task, version, [new], tmp_path / "n.csv"))
    assert not (tmp_path / "n.csv").exists()
    with pytest.raises(UserError, match=r"ins\?l/n\.csv is not valid text"):
        inference_images.predict(PredictionRequest(TASK, version, [new], Path("ins\udce9l/n.csv")))


def test_calibrating_changes_the_logits_of_the_head(data):
    model = four_class_task.of_both(four_class_task.spec_of(data))
    soften(model, 0.25)  # too sure
    _, before = validation.predict(model, data, TEST)
    fitted = evaluate.calibrate(data, model, balance="none")
    assert fitted.temperature > 1.2
    _, after = validation.predict(model, data, TEST)
    np.testing.assert_allclose(after, calibration.apply(before, *fitted[::2]), atol=1e-4)


def test_a_sigmoid_is_softened_as_a_softmax_is():
    keras.utils.set_random_seed(0)
    model = simple_cnn.build_simple_cnn(
        Spec((8, 8, 1), ("a", "b"), (90.0,), (40.0,)), filters=2, conv_layers=1, dense_units=4
    )
    images = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 1), dtype=np.uint8)
    before = model({"image": images}).numpy()
    soften(model, 0.25, (0.4, -0.2))
    after = model({"image": images}).numpy()
    np.testing.assert_allclose(after, calibration.apply(before, 0.25, (0.4, -0.2)), atol=1e-5)
    soften(model, 4, (-0.1, 0.05))  # minus the bias times 0.25
    np.testing.assert_allclose(model({"image": images}).numpy(), before, atol=1e-5)
    assert np.abs(after - before).max() > 0.01


def test_rows_are_shown_as_a_table_with_every_number(tmp_path, capsys):
    rows = [
        {"class": "[a]", "predicted": 12, "low": 3.14159},
        {"class": "b", "predicted": 7, "low": 2.0},
    ]
    cli_options.done(False, command="predict", task="t", path=tmp_path, counts=rows, notes=())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[-4:] == [
        ["counts:"],
        ["class", "predicted", "low"],
        ["[a]", "12", "3.142"],
        ["b", "7", "2"],
    ]


@pytest.mark.slow
def test_blurred_images_are_marked_counted_and_in_no_count_of_classes(version, new, tmp_path):
    whole = asked(version, new, tmp_path / "whole.csv")
    table = tables.read_csv(tmp_path / "whole.csv")
    assert whole.rows == len(table) and "blurred" not in table
    least = float(table["sharpness"].median())
    made = asked(version, new, tmp_path / "sharp.csv", min_sharpness=least)
    marked = tables.read_csv(tmp_path / "sharp.csv")
    assert made.rows == len(marked) == len(table)
    assert (marked["label"] == table["label"]).all()
    n_blurred = int(marked["blurred"].sum())
    assert 0 < n_blurred == made.summary["blurred"] < len(table)
    counts = tables.read_csv(tmp_path / "sharp" / "counts.csv").set_index("class")["predicted"]
    sharp = marked[~marked["blurred"]]["label"].value_counts()
    assert counts[counts > 0].to_dict() == sharp.to_dict()
    assert f"{n_blurred} of {len(table)} images are blurred (sharpness below" in made.notes[0]


@pytest.mark.slow
def test_images_are_not_written_among_the_files_that_are_predicted(version, new):
    """Else the next run would predict them, too."""
    before = sorted(new.iterdir())
    with pytest.raises(UserError, match=f"written into {new}, where .* such as {new.name}-pre"):
        inference_images.predict(PredictionRequest(TASK, version, [new], new.with_suffix(".csv")))
    assert sorted(new.iterdir()) == before


@pytest.mark.slow
def test_adjusted_counts_say_on_what_they_rest(version, new, tmp_path):
    def notes(min_precision):
        options = PredictionOptions(min_precision)
        request = PredictionRequest(TASK, version, [new], tmp_path / f"{min_precision}.csv")
        return " ".join(inference_images.predict(request, prediction_options=options).notes)

    (n_groups,) = re.findall(r"rest on the errors in (\d) labelled test groups", notes(0.9))
    assert 1 < int(n_groups) < 5
    assert "--min-precision 0.5; the report measured them at 0.9" in notes(0.5)
    assert "measured them" not in notes(0.9)
