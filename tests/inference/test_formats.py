"""Tables of predictions in the formats of other programs."""

import h5py
import numpy as np
import pandas as pd
import pytest
import run_command

from tfpipe.base import tables
from tfpipe.base.errors import UserError
from tfpipe.inference.formats.convert import convert

# https://manual.obis.org, required terms of an occurrence; the identifier is strongly recommended.
OBIS = (
    "occurrenceID", "eventDate", "decimalLongitude", "decimalLatitude", "scientificName",
    "scientificNameID", "occurrenceStatus", "basisOfRecord",
)  # fmt: skip
SITES = """group,latitude,longitude,date,depth top [cm],depth bottom [cm],volume ml
007,75.63,-36,2018-07,12000,12055,0.5
core 2,-75.1,123.35,2019-01-05,5000,,
"""
NAMES = """class,scientific name,scientific name id
Betula,Betula,urn:lsid:ipni.org:names:30007239-2
"""
CONTAINED = ["dust", "Betula"]


@pytest.fixture
def particles(tmp_path):
    """Predictions of five particles of two runs, of which one is left without a class."""
    frame = pd.DataFrame(
        {
            "key": [f"{run}/{i:05d}.png" for run, i in zip("aaabb", range(5), strict=True)],
            "group": ["007", "007", "007", "core 2", "core 2"],
            "label": ["Betula", "Betula", "dust", "dust", "Betula"],
            "abstain": [False, False, False, False, True],
            "p_dust": [0.1, 0.2, 0.7, 0.9, 0.45],
            "p_Betula": [0.9, 0.8, 0.3, 0.1, 0.55],
        }
    )
    tables.write_csv(frame, tmp_path / "particles.csv")
    (tmp_path / "sites.csv").write_text(SITES)
    (tmp_path / "names.csv").write_text(NAMES)
    return tmp_path


def test_counts_become_occurrences_with_place_depth_and_date(particles):
    made = convert(
        particles / "particles.csv",
        "darwin-core",
        particles / "occurrence.csv",
        sites=particles / "sites.csv",
        names=particles / "names.csv",
    )
    assert made.rows == 2 and len(made.notes) == 2
    assert "left out: dust" in made.notes[0] and "1 of 5 images are not counted" in made.notes[1]
    frame = pd.read_csv(made.path, dtype=str, keep_default_na=False).set_index("eventID")
    assert set(OBIS) <= set(frame.columns) and frame["occurrenceID"].is_unique
    pollen = frame.loc["007"]
    assert pollen["individualCount"] == "2" and pollen["occurrenceStatus"] == "present"
    assert pollen["scientificNameID"] == "urn:lsid:ipni.org:names:30007239-2"
    place = pollen[["decimalLatitude", "decimalLongitude", "eventDate"]]
    assert place.tolist() == ["75.63", "-36", "2018-07"]
    depths = pollen[["minimumDepthInMeters", "maximumDepthInMeters"]]
    assert depths.tolist() == ["120", "120.55"]
    assert pollen[["sampleSizeValue", "sampleSizeUnit"]].tolist() == ["0.5", "millilitre"]
    assert pollen["identificationVerificationStatus"] == "PredictedByMachine"
    absent = frame.loc["core 2"]
    assert (absent["individualCount"], absent["occurrenceStatus"]) == ("0", "absent")
    assert absent["maximumDepthInMeters"] == "" and absent["sampleSizeUnit"] == ""


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("core 2", "core 3", r"sites.csv has no row for the group 'core 2'.*are 007, core 3\."),
        ("75.63", "175.63", "sites.csv line 2: latitude is 175.63, expected decimal degrees from"),
        ("2018-07", "7/2018", "line 2: date is '7/2018', expected an ISO 8601 date"),
        ("2018-07", "2018-99-01", "line 2: date is '2018-99-01', expected an ISO 8601 date"),
        ("2018-07", "2018-07-02/2018-07-01", "line 2: date is '2018-07-02/2018-07-01', expected"),
        ("12055", "11000", "line 2: the depths are from 120 to 110 m, expected the smaller one"),
        ("volume ml", "volume [m3]", r"has the volume 'volume \[m3\]', expected one in ml or l"),
        ("0.5", "0", "line 2: volume ml is 0 ml, expected more than 0"),
        ("core 2", "007", "line 3: the group '007' has a row above, expected one row a group"),
        ("latitude", "north", "latitude"),
    ],
)
def test_a_wrong_site_is_one_sentence_and_no_file(particles, old, new, sentence):
    (particles / "sites.csv").write_text(SITES.replace(old, new, 1))
    out = particles / "occurrence.csv"
    with pytest.raises(UserError, match=sentence):
        convert(particles / "particles.csv", "darwin-core", out, sites=particles / "sites.csv")
    assert not out.exists()


@pytest.mark.parametrize("heading", ["volume l", "volume [l]", "Volume (litres)"])
def test_litres_and_aphia_numbers_are_written_as_obis_takes_them(particles, heading):
    (particles / "sites.csv").write_text(SITES.replace("volume ml", heading))
    names = "class,scientific name,AphiaID\nBetula,Betula,148899\ndust,Dust,\n"
    (particles / "names.csv").write_text(names)
    tables_of = {"sites": particles / "sites.csv", "names": particles / "names.csv"}
    made = convert(particles / "particles.csv", "darwin-core", particles / "o.csv", **tables_of)
    row = pd.read_csv(made.path, dtype=str).set_index("occurrenceID").loc["007:Betula"]
    assert row["scientificNameID"] == "urn:lsid:marinespecies.org:taxname:148899"
    assert row[["sampleSizeValue", "sampleSizeUnit"]].tolist() == ["500", "millilitre"]
    for wrong, sentence in (
        (names.replace("148899", "x"), "names.csv line 2: aphiaid is 'x', expected a whole numb"),
        (names.replace("dust", "Betula"), "names.csv line 3: the class 'Betula' has a row above"),
    ):
        (particles / "names.csv").write_text(wrong)
        with pytest.raises(UserError, match=sentence):
            convert(particles / "particles.csv", "darwin-core", particles / "o.csv", **tables_of)


def test_nothing_is_absent_where_nothing_was_identified(particles):
    frame = tables.read_csv(particles / "particles.csv")
    frame.loc[frame["group"] == "core 2", "abstain"] = True
    tables.write_csv(frame, particles / "some.csv")
    sites = particles / "sites.csv"
    made = convert(particles / "some.csv", "darwin-core", particles / "o.csv", sites=sites)
    assert set(pd.read_csv(made.path, dtype=str)["eventID"]) == {"007"}
    assert made.notes[-1] == "Groups without a counted image, left out: core 2."
    tables.write_csv(frame.assign(abstain=True), particles / "none.csv")
    with pytest.raises(UserError, match="No image is counted: the model abstains on each"):
        convert(particles / "none.csv", "darwin-core", particles / "n.csv", sites=sites)


def test_scores_are_one_file_a_bin_as_readers_of_ifcb_files_expect(particles):
    made = convert(particles / "particles.csv", "ifcb", particles / "scores")
    names = sorted(path.name for path in made.path.iterdir())
    assert made.rows == 5 and names == ["007_class.h5", "core_2_class.h5"]
    with h5py.File(made.path / names[0]) as file:  # as pyifcb reads it
        assert [name.decode("ascii") for name in file["class_labels"]] == CONTAINED
        np.testing.assert_allclose(file["output_scores"][:], [[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]])
        assert file["roi_numbers"][:].tolist() == [0, 1, 2]
        assert file["output_classes"][:].tolist() == [1, 1, 0]
        assert file["metadata"].attrs["version"] == "v3"
        assert file["metadata"].attrs["bin_id"] == "007"


def test_bins_and_regions_are_those_of_the_names_that_an_ifcb_gives(particles):
    frame = tables.read_csv(particles / "particles.csv")
    pids = [f"2018/D20180101T120000_IFCB102_{i:05d}.png@0" for i in (7, 3, 9, 1, 2)]
    tables.write_csv(frame.assign(key=pids), particles / "particles.csv")
    made = convert(particles / "particles.csv", "ifcb", particles / "scores")
    (path,) = made.path.iterdir()
    assert path.name == "D20180101T120000_IFCB102_class.h5"
    with h5py.File(path) as file:
        assert file["roi_numbers"][:].tolist() == [1, 2, 3, 7, 9]
        assert file["output_scores"][3].tolist() == pytest.approx([0.1, 0.9])
    tables.write_csv(frame.assign(key="D20180101T120000_IFCB102_00007"), particles / "twice.csv")
    with pytest.raises(UserError, match="Two images are region 7 of the bin D20180101T120000_IFCB"):
        convert(particles / "twice.csv", "ifcb", particles / "other")
    assert not (particles / "other").exists()


@pytest.fixture
def layers(tmp_path):
    frame = pd.DataFrame(
        {
            "photo": ["b.png", "a.png", "c.png"],
            "depth_from_m": [121.5, 120.0, np.nan],
            "depth_to_m": [121.5021, 120.01, np.nan],
            "thickness_mm": [2.1, 10.0, 3.0],
            "probability": [0.97, 0.6, 0.9],
            "uncertain": [False, True, False],
            "from_top_mm": [1.0, 2.0, 3.0],
        }
    )
    tables.write_csv(frame, tmp_path / "layers.csv")
    return tmp_path / "layers.csv"


def test_layers_are_a_pangaea_table_below_its_description(layers, monkeypatch):
    monkeypatch.chdir(layers.parent)
    about = (
        "event=EGRIP",
        "latitude=75.63",
        "longitude=-36",
        "author=Zoumis, A",
        "title=Layers */",
    )
    words = [word for one in about for word in ("--about", one)]
    done = run_command.run("convert", "layers.csv", "--to", "pangaea", "--out", "l.tab", *words)
    assert done["rows"] == 2 and done["notes"][0].endswith(
        "have no depth and are left out: 1 of 3."
    )
    text = (layers.parent / "l.tab").read_text()
    head, _, table = text.partition("\n*/\n")
    assert head.startswith("/* DATA DESCRIPTION:\nCitation:\tZoumis, A: Layers * /\n")
    assert "Event(s):\tEGRIP * LATITUDE: 75.63 * LONGITUDE: -36\n" in head
    assert "MINIMUM DEPTH, ice/snow: 120.00000 m * MAXIMUM DEPTH, ice/snow: 121.50210 m" in head
    assert table.splitlines()[0].split("\t")[:4] == [
        "Event", "Depth ice/snow [m]", "Depth top [m]", "Depth bot [m]",
    ]  # fmt: skip
    read = tables.read(layers.parent / "l.tab", ("depth top",), ("depth bot",))  # as PANGAEA's own
    assert read.numbers("depth top", unit="m", missing_ok=False).tolist() == [120.0, 121.5]
    assert read.frame["comment"].tolist() == ["uncertain", ""]
    assert read.frame["file name"].tolist() == ["a.png", "b.png"]


def test_a_cell_that_is_no_number_or_boolean_is_named(layers, particles):
    for path, to, old, new, sentence in (
        ("particles.csv", "ifcb", "0.7", '"0,7"', "csv row 3: p_dust is '0,7', expected a number"),
        ("particles.csv", "ifcb", "0.7", "", "particles.csv row 3: p_dust is empty, expected a n"),
        ("particles.csv", "ifcb", "True", "WAHR", "row 5: abstain is 'WAHR', expected True or Fa"),
        ("particles.csv", "ifcb", "True", "", "particles.csv row 5: abstain is empty, expected T"),
        ("particles.csv", "ifcb", "00002", "5000000000", "ends in 5000000000, expected the number"),
        ("layers.csv", "pangaea", "120.01", "x", "layers.csv row 2: depth_to_m is 'x', expected a"),
    ):
        text = (particles / path).read_text()
        (particles / f"wrong_{path}").write_text(text.replace(old, new, 1))
        about = {"about": {"event": "E"}} if to == "pangaea" else {}
        with pytest.raises(UserError, match=sentence):
            convert(particles / f"wrong_{path}", to, particles / "out", **about)
    assert not (particles / "out").exists()
    text = (particles / "particles.csv").read_text()
    (particles / "ones.csv").write_text(text.replace("False", "0").replace("True", "1"))
    assert convert(particles / "ones.csv", "ifcb", particles / "out").rows == 5


def test_a_layer_without_a_kind_has_an_empty_cell(layers):
    frame = tables.read_csv(layers).assign(kind=["lens", None, None])
    frame.to_parquet(layers.with_suffix(".parquet"))
    out = layers.with_name("l.tab")
    convert(layers.with_suffix(".parquet"), "pangaea", out, about={"event": "E"})
    assert tables.read(out, ("layer",)).frame["layer"].tolist() == ["", "lens"]


def test_what_a_format_does_not_take_or_lacks_is_one_sentence(layers, particles):
    for predictions, to, arguments, sentence in (
        (layers, "pangaea", {}, "needs the label of the event, such as --about event=EGRIP"),
        (layers, "pangaea", {"about": {"evnt": "E"}}, "field of --about called 'evnt'. Did you"),
        (layers, "pangaea", {"about": {"event": "E", "latitude": "N"}}, "latitude=N is no latitud"),
        (layers, "pangaea", {"about": {"event": "E", "longitude": "181"}}, "from -180 to 180, suc"),
        (layers, "pangea", {}, "format of predictions called 'pangea'. Did you mean 'pangaea'?"),
        (layers, "ifcb", {}, "layers.csv has no column key, expected a table of predicted images"),
        (layers, "pangaea", {"sites": layers}, "--sites is not for --to pangaea"),
        (particles / "particles.csv", "darwin-core", {}, "Give --sites, a table with the columns"),
        (particles / "gone.csv", "ifcb", {}, "gone.csv"),
    ):
        with pytest.raises(UserError) as refused:
            convert(predictions, to, layers.parent / "out", **arguments)
        assert sentence in str(refused.value)
    assert not (layers.parent / "out").exists()
    before = layers.read_bytes()
    with pytest.raises(UserError, match="--out is .*layers.csv, which is read. Give another name"):
        convert(layers, "pangaea", layers, about={"event": "E"})
    assert layers.read_bytes() == before
