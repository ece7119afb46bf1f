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


def test_what_a_format_does_not_take_or_lacks_is_one_sentence(layers, particles):
    for predictions, to, arguments, sentence in (
        (layers, "pangaea", {}, "needs the label of the event, such as --about event=EGRIP"),
        (layers, "pangaea", {"about": {"evnt": "E"}}, "field of --about called 'evnt'. Did you"),
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
