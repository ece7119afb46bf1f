"""What reviewers decide comes before the source's labels, for any task, and makes records stale."""

import dataclasses
import math

import numpy as np
import pytest
import small_records
from small_records import HALVES, MELT_OPTIONS

from tfpipe.base.errors import UserError
from tfpipe.data import dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.data import pack as data_pack
from tfpipe.tasks import catalog
from tfpipe.tasks.annotations import apply, spans
from tfpipe.tasks.annotations import decisions as annotations_decisions
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.ccd_tracks import TASK as CCD_TRACKS
from tfpipe.tasks.melt_layer import TASK as MELT_LAYER
from tfpipe.tasks.melt_layer import core_detection, review_overrides, review_view, windows
from tfpipe.tasks.melt_layer.predict import CoreOutputs, evaluate
from tfpipe.tasks.melt_layer.reader import read
from tfpipe.tasks.task import SPLITS, FilePrediction


def decide(raw, what, label, *, state="validated", file="", depths_m=(math.nan, math.nan), **rest):
    told = {"action": "accept", "name": annotations_decisions.NAME} | rest
    one = Decision("t", "Ada", file, what, *depths_m, label, "m/1", state, told["action"])
    annotations_decisions.append(raw, one, name=told["name"])


def labelled(folder) -> dict[str, int]:
    """Returns key -> label of all records."""
    told = {"manifest": data_manifest.trusted(folder)}
    keys = [key.decode() for key in dataset.keys_of(folder, SPLITS, **told)]
    return dict(zip(keys, dataset.labels_of(folder, SPLITS, **told).tolist(), strict=True))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return small_records.draw_small(tmp_path_factory.mktemp("raw"), small_records.spread(2, 2, 1))


def test_decisions_about_pictures_come_before_the_source(raw, tmp_path):
    plain_survey = (
        small_records.make_task().survey
    )  # it takes every .csv for a table of the task's own
    task = small_records.make_task(
        survey=lambda folder, given: dataclasses.replace(plain_survey(folder, given), tables=())
    )
    before = small_records.pack_small(raw, tmp_path / "records", task=task)
    first = labelled(tmp_path / "records")
    keys = sorted(first)[:5]
    spotted, plain, kept, strange, undone = keys
    decide(raw, spotted, "plain" if first[spotted] else "spotted")
    decide(raw, plain, "plain", state="dubious", action="dubious")
    decide(raw, kept, task.classes[first[kept]], file="a file that was renamed since.png")
    decide(raw, strange, "striped")
    decide(raw, undone, "plain")
    decide(raw, undone, "plain", state="predicted", action="undo")
    decide(raw, "nowhere.png@0", "plain")
    after = small_records.pack_small(raw, tmp_path / "records", task=task)
    expected = first | {spotted: 1 - first[spotted], plain: -1, strange: -1}
    assert labelled(tmp_path / "records") == expected
    assert after.fingerprint != before.fingerprint
    assert after.notes == (
        "labels.csv: 2 images are validated, 1 of them as another class than the source has.",
        "labels.csv: 1 images are validated as a class that is not used here (striped 1), so they "
        "count as unlabelled.",
    )
    assert after.left_out == (
        "labels.csv: 1 dubious images are left out of training and scores: plain 1.",
        "labels.csv decides about 1 images that are absent.",
    )
    for key in keys:
        decide(raw, key, "plain", state="predicted", action="undo")
    decide(raw, "nowhere.png@0", "plain", state="predicted", action="undo")
    again = small_records.pack_small(raw, tmp_path / "records", task=task)
    assert again.fingerprint == before.fingerprint
    assert labelled(tmp_path / "records") == first


def test_a_decision_lets_the_source_of_its_picture_be_read_again_and_no_other(raw, tmp_path):
    read = []

    def noted(source, options):
        read.append(source.name)
        return small_records.make_task().read(source, options)

    def pack(folder="records"):
        read.clear()
        small_records.pack_small(raw, tmp_path / folder, task=task)
        return sorted(read)

    surveyed = small_records.make_task().survey
    plain = {"tables": ()}  # labels.csv is none of the task's own
    task = small_records.make_task(
        read=noted, survey=lambda *given: dataclasses.replace(surveyed(*given), **plain)
    )
    every = pack()
    assert len(every) == 5
    first = labelled(tmp_path / "records")
    about, other = (next(key for key in sorted(first) if name in key) for name in every[1:3])
    # The file that a decision tells is for people: a picture is known by its key.
    decide(raw, about, "plain", file=every[0])
    assert pack() == [every[1]]
    decide(raw, other, "spotted")
    decide(raw, about, "plain", state="dubious")
    assert pack() == every[1:3]
    decide(raw, about, "spotted", file="elsewhere.png")
    decide(raw, about, "spotted", state="dubious")
    decide(raw, "nowhere.png@0", "plain")
    assert pack() == [every[1]]
    assert labelled(tmp_path / "records") == first | {about: -1, other: 1}
    assert pack("fresh") == every
    assert small_records.tree(tmp_path / "records") == small_records.tree(tmp_path / "fresh")
    decide(raw, about, "spotted", state="predicted", action="undo")
    assert pack() == [every[1]]
    (raw / annotations_decisions.NAME).unlink()
    assert pack() == [every[2]]
    assert labelled(tmp_path / "records") == first


def test_a_torn_line_is_named_by_the_records(raw, tmp_path):
    (raw / annotations_decisions.NAME).write_text(
        f"{annotations_decisions.HEADING}\nt,Ada,a.png,a.p"
    )
    manifest = small_records.pack_small(raw, tmp_path / "records")
    (raw / annotations_decisions.NAME).unlink()
    assert "labels.csv line 2 is incomplete" in manifest.left_out[-1]


def test_a_folder_s_own_table_of_that_name_is_still_its_own(tmp_path):
    small_records.draw_small(tmp_path / "photos", ["a", "b"])
    (tmp_path / "photos" / annotations_decisions.NAME).write_text(
        "path,label\na.png,dust\nb.png,ash\n"
    )
    task = catalog.find(str(tmp_path / "photos"))
    assert apply.survey_with_decisions(task, task.raw_files.folder, task.options).classes == (
        "ash",
        "dust",
    )


def test_decisions_about_tracks_are_kept_beside_the_tracks_own_labels():
    assert CCD_TRACKS.raw_files.decisions != annotations_decisions.NAME


@pytest.fixture(scope="module")
def melt(tmp_path_factory):
    return small_records.draw_melt(tmp_path_factory.mktemp("melt"))


def sources(raw):
    found = apply.survey_with_decisions(MELT_LAYER, raw, MELT_OPTIONS).sources
    return {source.name: source for source in found}


@pytest.fixture(scope="module")
def aligned(melt):
    """A photo with two features or more, moved by its alignment, and what is read of it."""
    for source in sources(melt).values():
        if len(source.about.features) >= 2:
            reading = read(source, MELT_OPTIONS)
            if reading.row["status"] == "aligned" and abs(reading.row["shift_mm"]) > 5:
                return source, reading
    raise AssertionError("no such photo was drawn")


def layer_depths(reading) -> np.ndarray:
    """Returns top and bottom [windows, 2] in m of the windows labelled as layers."""
    rows = [e.metadata for e in reading.examples if e.label == windows.LAYER]
    return np.array([(m["depth_top_m"], m["depth_bottom_m"]) for m in rows]).reshape(-1, 2)


def shows(reading, depth_m: float) -> bool:
    found = layer_depths(reading)
    return bool(((found[:, 0] < depth_m) & (found[:, 1] > depth_m)).any())


def test_spans_of_a_core_are_where_the_reviewer_saw_them(melt, aligned):
    source, before = aligned
    photo, shift_m = source.about.photo, before.row["shift_mm"] / 1000
    tabled = [f for f in source.about.features if f.is_layer]
    first = tabled[0]
    there_m = (first.depth_from_m + first.depth_to_m) / 2 + shift_m
    assert shows(before, there_m)
    features = [(f.depth_from_m + shift_m, f.depth_to_m + shift_m) for f in source.about.features]
    free_m = next(
        m
        for m in np.arange(photo.top_m + 0.15, photo.bottom_m - 0.15, 0.01)
        if all(abs(m - edge) > 0.1 for both in features for edge in both)
    )
    assert not shows(before, free_m)
    told = {"file": source.name}
    moved_m = (free_m - 0.005, free_m + 0.005)
    decide(
        melt,
        review_overrides.feature_name(first),
        "meltLayer",
        depths_m=moved_m,
        action="move",
        **told,
    )
    moved = sources(melt)[source.name]
    after = read(moved, MELT_OPTIONS)
    assert shows(after, free_m) and not shows(after, there_m)
    assert after.row["shift_mm"] == before.row["shift_mm"]
    decide(
        melt, review_overrides.feature_name(first), "", depths_m=moved_m, action="delete", **told
    )
    gone = read(sources(melt)[source.name], MELT_OPTIONS)
    assert not shows(gone, free_m) and not shows(gone, there_m)
    span = spans.span_name("drawn", *moved_m)
    drawn = {"depths_m": moved_m, "action": "draw", **told}
    decide(melt, span, "meltLayer", **drawn)
    assert shows(read(sources(melt)[source.name], MELT_OPTIONS), free_m)
    decide(melt, span, "meltLayer", state="dubious", **drawn)
    for uncertain in ("leave-out", "include"):
        options = dataclasses.replace(MELT_OPTIONS, uncertain=uncertain)
        doubtful = read(sources(melt)[source.name], options)
        around = [
            e.label
            for e in doubtful.examples
            if e.metadata["depth_top_m"] < free_m < e.metadata["depth_bottom_m"]
        ]
        assert around == [], "a dubious span is neither a layer nor none"
    (melt / annotations_decisions.NAME).unlink()


def test_a_layer_found_where_the_reviewer_put_it_is_a_hit(aligned):
    source, before = aligned
    row = before.row
    found_m = (source.about.photo.top_m + 0.2, source.about.photo.top_m + 0.21)
    layer = {"depth_from_m": found_m[0], "depth_to_m": found_m[1], "probability": 0.9}
    one = Decision(
        "t", "A", source.name, "drawn", *found_m, "meltLayer", "m/1", "validated", "draw"
    )
    own = dataclasses.replace(source, decisions=(one,))
    alone = evaluate(own, row, FilePrediction([layer], []))
    assert alone.hits == 1 and alone.false == 0 and alone.errors_mm[0] < 0.02
    assert evaluate(source, row, FilePrediction([layer], [])).hits == 0
    none = dataclasses.replace(source, decisions=(one._replace(label="", action="delete"),))
    assert evaluate(none, row, FilePrediction([layer], [])).false == 1


def test_a_photo_whose_every_feature_is_decided_about_needs_no_alignment(aligned):
    source, before = aligned
    decisions = tuple(
        Decision(
            "t",
            "A",
            source.name,
            review_overrides.feature_name(f),
            f.depth_from_m,
            f.depth_to_m + 0.003,
            "meltLayer",
            "m/1",
            "validated",
            "accept",
        )
        for f in source.about.features
    )
    whole = read(dataclasses.replace(source, decisions=decisions), MELT_OPTIONS)
    assert whole.row["status"] == "reviewed"
    part = read(dataclasses.replace(source, decisions=decisions[1:]), MELT_OPTIONS)
    assert part.row["status"] == before.row["status"]
    # The table, moved by the shift, says nothing about one end of the photo; the reviewer saw it.
    shift_m, photo = before.row["shift_mm"] / 1000, source.about.photo

    def beyond_the_table(reading):
        depths = [
            (e.metadata["depth_top_m"], e.metadata["depth_bottom_m"]) for e in reading.examples
        ]
        edges = (photo.top_m + shift_m - 1e-6, photo.bottom_m + shift_m + 1e-6)
        return [one for one in depths if one[0] < edges[0] or one[1] > edges[1]]

    assert beyond_the_table(whole) and not beyond_the_table(part)


def test_a_photo_in_which_nothing_is_has_no_layer_and_is_left_out_where_that_is_dubious(aligned):
    source, _ = aligned
    bare = dataclasses.replace(source, about=dataclasses.replace(source.about, features=()))
    photo = source.about.photo
    told = Decision(
        "t",
        "A",
        source.name,
        spans.WHOLE,
        photo.top_m,
        photo.bottom_m,
        "",
        "m/1",
        "validated",
        "accept",
    )
    seen = read(dataclasses.replace(bare, decisions=(told,)), MELT_OPTIONS)
    assert seen.row["status"] == "reviewed" and len(seen.examples) > 20
    assert {one.label for one in seen.examples} == {0}
    dubious = told._replace(state="dubious", action="dubious")
    assert read(dataclasses.replace(bare, decisions=(dubious,)), MELT_OPTIONS).examples == []
    # Where the table says more than the reviewer has decided about, that is still to be settled.
    whole = read(dataclasses.replace(source, decisions=(told,)), MELT_OPTIONS)
    assert whole.row["status"] == "aligned" and len(layer_depths(whole))
    drawn = told._replace(what="drawn 1", label="meltLayer", action="draw")
    drawn = drawn._replace(top_m=photo.top_m + 0.3, bottom_m=photo.top_m + 0.31)
    both = read(dataclasses.replace(bare, decisions=(told, drawn)), MELT_OPTIONS)
    assert shows(both, photo.top_m + 0.305) and not shows(both, photo.top_m + 0.6)


def test_what_is_reviewed_is_the_table_then_what_was_decided_then_what_else_was_found():
    def found(what, top_m, bottom_m, likely=0.8):
        return spans.Span(what, top_m, bottom_m, "meltLayer", probability=likely)

    def told(what, top_m, bottom_m, label="meltLens"):
        return Decision("t", "Ada", "a.png", what, top_m, bottom_m, label, "m/1", "dubious", "x")

    tabled = (
        spans.Span("tabled", 1.5, 1.6, "meltLayer"),
        spans.Span("moved", 1.3, 1.4, "meltLens"),
    )
    seen = (
        found("on the table", 1.59, 1.65),
        found("decided", 1.1, 1.2, 0.7),
        found("beside it", 1.6, 1.61),
        found("under what was drawn", 1.82, 1.83),
    )
    strip = spans.Strip(np.zeros((9, 9, 3), np.uint8), 1.0, 2.0, tabled, seen)
    decided = [
        told("decided", 1.1, 1.25),
        told("drawn", 1.8, 1.9),
        told("moved", 1.7, 1.75),
        told(spans.WHOLE, 1.0, 2.0, ""),
    ]
    every = spans.review_spans(strip, decided)
    assert [one.what for one in every] == ["decided", "tabled", "beside it", "moved", "drawn"]
    first = every[0]
    assert (first.bottom_m, first.label, first.state, first.who) == (
        1.25,
        "meltLens",
        "dubious",
        "Ada",
    )
    assert first.probability == 0.7 and math.isnan(every[-1].probability)


def test_a_strip_shows_the_table_where_alignment_put_it(aligned):
    source, before = aligned
    ice = core_detection.cut(small_records.images.read(source.path), crop_px=None, name="x").image
    photo = source.about.photo
    px_per_m = len(ice) / (photo.bottom_m - photo.top_m)
    seen = CoreOutputs(source, ice, photo.top_m, px_per_m, *(np.zeros(0),) * 3)
    said = FilePrediction([{"depth_from_m": 1.0, "depth_to_m": 2.0, "probability": 0.5}], [])
    strip = review_view.strip(source, seen, said, before.row)
    both = zip(strip.tabled, source.about.features, strict=True)
    moved = [span.top_m - feature.depth_from_m for span, feature in both]
    assert np.allclose(moved, before.row["shift_mm"] / 1000, atol=0.0011)
    assert strip.bottom_m == pytest.approx(photo.bottom_m)
    assert [one.what for one in strip.predicted] == ["found 1.00000-2.00000"]
    assert "not in the records" in review_view.strip(source, seen, said, None).note


def test_decisions_about_photos_that_are_gone_are_counted_by_name(melt):
    decide(melt, "drawn 1", "meltLayer", file="core_999.png", depths_m=(1.0, 1.1), action="draw")
    decide(melt, "drawn 1", "meltLayer", file="core_001.png", depths_m=(120.1, 120.2))
    decide(melt, "drawn 2", "x", file="core_001.png", depths_m=(120.1, 120.2), state="dubious")
    for name, state in (
        ("core_001", "validated"),
        ("core_002", "validated"),
        ("core_003", "dubious"),
    ):
        decide(melt, spans.WHOLE, "", file=f"{name}.png", depths_m=(120.1, 121.2), state=state)
    notes = apply.survey_with_decisions(MELT_LAYER, melt, MELT_OPTIONS).notes
    (melt / annotations_decisions.NAME).unlink()
    assert notes[-5:] == (
        "labels.csv: 1 spans of 1 files are validated, and 0 are deleted.",
        "labels.csv: 1 dubious spans are left out of training and scores: x 1.",
        "labels.csv: 2 files are validated as holding nothing else.",
        "labels.csv: 1 dubious files are left out of training and scores as a whole.",
        "labels.csv decides about files that are absent: core_999.png (1).",
    )


def test_a_wrong_line_stops_packing(raw, tmp_path):
    (raw / annotations_decisions.NAME).write_text(
        f"{annotations_decisions.HEADING}\nt,A,f,k,,,plain,v,certain,accept\n"
    )
    with pytest.raises(UserError, match="labels.csv line 2: state is 'certain'"):
        data_pack.pack(
            small_records.make_task(),
            raw,
            tmp_path / "r",
            options=small_records.Options(),
            split=HALVES,
        )
    (raw / annotations_decisions.NAME).unlink()
