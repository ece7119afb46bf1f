"""The two tables of a melt-layer folder, in every format, and what may be wrong with them."""

import io

import openpyxl
import pytest

from tfpipe.base.errors import UserError
from tfpipe.tasks.melt_layer import tables
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.survey import survey, survey_new
from tfpipe.tasks.samples import eastgrip

PHOTOS = "photo,top_m,bottom_m\na.png,120.0,121.6\nb.png,121.65,123.3\n"
LAYERS = "depth from,depth to,type of feature\n120.5,120.51,meltLayer\n122.0,,meltLens\n"

# Seed 002, "Preprocessing", as on the slide.
DECK = """\
bag\tdepth from\tdepth to\tage (b2k)\tage (CE)\ttype of feature
218\t120.5650\t120.565\t858.045\t1142.0\tmeltLens
NaN\t121.7200\tNaN\t868.236\t1131.8\tmeltLayer uncertain
221\t122.3063\t122.3063\t872.875\t1127.1\tmeltLens
NaN\t122.3900\tNaN\t873.636\t1126.4\tmeltLens uncertain
NaN\t123.5600\tNaN\t885.927\t1114.1\tindication of bubble free layer or patch
224\t124.0487\t124.0487\t891.259\t1108.7\tmeltLens
224\t124.2134\t124.2134\t893.055\t1106.9\tmeltLens
227\t124.7216\t124.7216\t897.066\t1102.9\tmeltLens
227\t125.7708\t125.7745\t905.697\t1094.3\tmeltLayer
230\t127.2374\t127.2374\t917.704\t1082.3\tmeltLens
722\t128.1004\t128.1004\t925.631\t1074.4\tmeltLens
"""
PANGAEA = (
    "/* DATA DESCRIPTION:\nCitation:\tSomebody (2022): Melt layers, a core; 2 parts. PANGAEA\n"
    "Parameter(s):\tDepth, top [m] (Depth top) * GEOCODE\n*/\n"
    "Depth top [m]\tDepth bot [m]\tType\n120.5\t120.51\tmeltLayer\n122.0\t\tmeltLens\n"
)
IN_CM = "Depth_from (cm);Depth_to (cm);Type\n12050;12051;meltLayer\n12200;;meltLens\n"


def excel(text):
    """Returns CSV as an .xlsx, numbers as numbers."""
    book = openpyxl.Workbook()
    for line in text.splitlines():
        cells = [float(c) if c.replace(".", "").isdigit() else c or None for c in line.split(",")]
        book.active.append(cells)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def raw_folder(
    folder, *, photos=PHOTOS, layers=LAYERS, name="layers.csv", there=("a.png", "b.png")
):
    """Writes a raw folder whose photos are empty: a survey opens none."""
    (folder / "photos").mkdir()
    for photo in there:
        (folder / "photos" / photo).touch()
    (folder / "photos.csv").write_text(photos)
    (folder / name).write_bytes(layers if isinstance(layers, bytes) else layers.encode())
    return folder


def refusal(folder):
    with pytest.raises(UserError) as caught:
        survey(folder, MeltLayerOptions())
    return str(caught.value)


DECIMAL_COMMAS = "photo;top_m;bottom_m\na.png;120,0;121,6\nb.png;121,65;123,3\n"
SAME_PHOTOS = {
    "commas": PHOTOS,
    "semicolons": PHOTOS.replace(",", ";"),
    "tabs": PHOTOS.replace(",", "\t"),
    "decimal commas": DECIMAL_COMMAS,
    "metres in brackets": PHOTOS.replace("top_m", "top [m]").replace("bottom_m", "Bottom (m)"),
    "centimetres": "file;top [cm];bottom (cm)\na.png;12000;12160\nb.png;12165;12330\n",
    "other names": PHOTOS.replace("top_m,bottom_m", "Depth top,Depth_bottom"),
}


@pytest.mark.parametrize("kind", SAME_PHOTOS)
def test_photos_read_alike_in_every_format(tmp_path, kind):
    folder = raw_folder(tmp_path, photos=SAME_PHOTOS[kind])
    photos, notes = tables.read_photos(folder / "photos.csv", folder=folder / "photos")
    assert [(p.name, p.top_m, p.bottom_m, p.crop_px, p.group) for p in photos] == [
        ("a.png", 120.0, 121.6, None, "a.png"),
        ("b.png", 121.65, 123.3, None, "b.png"),
    ]
    assert [p.path for p in photos] == [folder / "photos" / p.name for p in photos]
    assert notes == []


def lens_note(table: str, counts: str) -> str:
    return (
        f"{table}: only full layers are melt layers. Other melt counts as free of them for models "
        f"of windows, and as a lens for core-unet: {counts}."
    )


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("layers.csv", LAYERS),
        ("layers.csv", LAYERS.replace(",", ";")),
        ("layers.tsv", LAYERS.replace(",", "\t")),
        ("layers.txt", LAYERS.replace(",", ";").replace(".", ",")),
        ("layers.csv", LAYERS.replace("from", "from [m]").replace("to", "to (m)")),
        ("layers.csv", IN_CM),
        ("layers.xlsx", excel(LAYERS)),
        ("layers.tab", PANGAEA),
    ],
)
def test_layers_read_alike_in_every_format(tmp_path, name, layers):
    folder = raw_folder(tmp_path, layers=layers, name=name)
    found = survey(folder, MeltLayerOptions())
    assert [source.about.features for source in found.sources] == [
        (tables.Feature(120.5, 120.51, "meltLayer"),),
        (tables.Feature(122.0, 122.0, "meltLens"),),
    ]
    assert found.tables == (folder / "photos.csv", folder / name)
    assert found.notes == (lens_note(name, "meltLens 1"),)


@pytest.mark.parametrize("delimiter", "\t;")
def test_the_decks_own_table_is_understood(tmp_path, delimiter):
    (tmp_path / "layers.csv").write_text(DECK.replace("\t", delimiter))
    features, lines, _ = tables.read_features(tmp_path / "layers.csv")
    assert len(features) == 11 and lines.tolist() == list(range(2, 13))
    layers = [f for f in features if f.is_layer]
    assert [(f.depth_from_m, f.depth_to_m) for f in layers] == [(125.7708, 125.7745)]
    doubtful = [f.depth_from_m for f in features if f.is_uncertain]
    assert doubtful == [121.72, 122.39, 123.56]
    lenses = [f for f in features if not f.is_layer and not f.is_uncertain]
    assert len(lenses) == 7 and {f.kind for f in lenses} == {"meltLens"}
    assert all(f.depth_to_m == f.depth_from_m for f in features if not f.is_layer)


@pytest.mark.parametrize(
    ("kind", "is_layer", "is_uncertain"),
    [
        ("meltLayer", True, False),
        ("melt layer", True, False),
        ("Melt Layer", True, False),
        ("MELTLAYER", True, False),
        ("meltlayer", True, False),
        ("melt layers", True, False),
        ("meltLens", False, False),
        ("Melt Lens", False, False),
        ("melt lense", False, False),
        ("meltLayer uncertain", False, True),
        ("meltLayer (uncertain)", False, True),
        ("Uncertain Melt Layer", False, True),
        ("meltLens uncertain", False, True),
        ("indication of bubble free layer or patch", False, True),
        ("Indication of bubble-free layer", False, True),
    ],
)
def test_types_of_features_in_the_decks_words_and_spellings(tmp_path, kind, is_layer, is_uncertain):
    (tmp_path / "layers.csv").write_text(f"depth,type\n1.5,{kind}\n")
    ((feature,), _, _) = tables.read_features(tmp_path / "layers.csv")
    assert (feature.is_layer, feature.is_uncertain) == (is_layer, is_uncertain)


def test_features_come_by_depth_with_their_own_lines(tmp_path):
    text = "depth from,depth to,type\n3,3.2,meltLayer\n\n1,,meltLens\n3,3.1,meltLens\n"
    (tmp_path / "layers.csv").write_text(text)
    features, lines, _ = tables.read_features(tmp_path / "layers.csv")
    assert [(f.depth_from_m, f.depth_to_m) for f in features] == [(1, 1), (3, 3.1), (3, 3.2)]
    assert lines.tolist() == [4, 5, 2]


def test_crops_are_whole_pixels_or_left_out_for_a_row(tmp_path):
    photos = (
        "photo,top_m,bottom_m,crop_top_px,crop_bottom_px,crop_left_px,crop_right_px\n"
        "a.png,1,2,10.2,2000.7,30,230\nb.png,2,3,,,,\n"
    )
    folder = raw_folder(tmp_path, photos=photos)
    found, _ = tables.read_photos(folder / "photos.csv", folder=folder / "photos")
    assert [photo.crop_px for photo in found] == [(10, 2001, 30, 230), None]


def test_groups_bind_near_copies_and_an_empty_cell_is_the_photo_alone(tmp_path):
    photos = "photo,top_m,bottom_m,group\na.png,1,2,section 7\nb.png,1,2,section 7\nc.png,2,3,\n"
    folder = raw_folder(tmp_path, photos=photos, there=("a.png", "b.png", "c.png"))
    found = survey(folder, MeltLayerOptions())
    assert [source.group for source in found.sources] == ["section 7", "section 7", "c.png"]


def test_photos_that_show_the_same_depths_are_one_group_or_named_as_twins(tmp_path):
    photos = "photo,top_m,bottom_m\na.png,1,2\nb.png,1.8,2.8\nc.png,2.75,3.75\n"
    folder = raw_folder(tmp_path, photos=photos, there=("a.png", "b.png", "c.png"))
    found = survey(folder, MeltLayerOptions())
    assert [source.group for source in found.sources] == ["a.png", "a.png", "c.png"]
    assert found.duplicates == () and any("such as a.png and b.png" in n for n in found.notes)
    grouped = photos.replace("_m\n", "_m,group\n").replace("2\n", "2,\n").replace("8\n", "8,\n")
    (folder / "photos.csv").write_text(grouped)
    ((one, other, why),) = survey(folder, MeltLayerOptions()).duplicates
    assert (one, other) == ("a.png", "b.png")
    assert why.startswith("both show 1.8 to 2 m by photos.csv; give both the same name")


def test_a_feature_belongs_to_every_photo_that_it_overlaps(tmp_path):
    photos = "photo,top_m,bottom_m\na.png,1,2\nb.png,2,3\n"
    layers = "depth from,depth to,type\n1.9,2.05,meltLayer\n1.98,2.1,meltLayer\n2,2,meltLens\n"
    found = survey(raw_folder(tmp_path, photos=photos, layers=layers), MeltLayerOptions())
    assert [[f.depth_from_m for f in s.about.features] for s in found.sources] == [
        [1.9, 1.98],
        [1.9, 1.98, 2],
    ]
    assert found.notes == (lens_note("layers.csv", "meltLens 1"),)


def test_what_is_unused_is_noted_by_name_and_line(tmp_path):
    photos = PHOTOS + "gone.png,123.3,124.9\n"
    layers = LAYERS + "119.0,,meltLens\n121.62,121.63,meltLayer\n124,124,meltLens\n"
    folder = raw_folder(tmp_path, photos=photos, layers=layers, there=("a.png", "b.png", "new.JPG"))
    (folder / "photos" / "notes.txt").touch()
    found = survey(folder, MeltLayerOptions())
    assert [source.name for source in found.sources] == ["a.png", "b.png"]
    assert found.notes == (
        "photos.csv line 4: photo 'gone.png' is not in photos/, so its row is unused.",
        lens_note("layers.csv", "meltLens 3"),
        "photos/new.JPG is not in photos.csv, so it is unused.",
        "layers.csv: 3 features lie in no photo's depths (line 4, 5, 6), so they are unused.",
    )


CROPPED = "photo,top_m,bottom_m,crop_top_px,crop_bottom_px,crop_left_px,crop_right_px\n"
BAD_PHOTOS = {
    "named twice": (
        PHOTOS + "a.png,123.3,124.9\n",
        "photos.csv line 4: photo 'a.png' is already named on line 2. Keep one of the two rows.",
    ),
    "named twice but for capitals": (
        PHOTOS + "A.PNG,123.3,124.9\n",
        "photos.csv line 4: photo 'A.PNG' is already named on line 2. Keep one of the two rows.",
    ),
    "climbing": (
        PHOTOS + "../c.png,123.3,124.9\n",
        "photos.csv line 4: '../c.png' has '..' in it, expected the name of a file under photos. "
        "Put the file there and give its name from there.",
    ),
    "climbing as in Windows": (
        PHOTOS + "..\\c.png,123.3,124.9\n",
        "photos.csv line 4: '..\\\\c.png' has '..' in it, expected the name of a file under photos."
        " Put the file there and give its name from there.",
    ),
    "absolute": (
        PHOTOS + "/some/c.png,123.3,124.9\n",
        "photos.csv line 4: '/some/c.png' is absolute, expected the name of a file under photos. "
        "Put the file there and give its name from there.",
    ),
    "upside down": (
        PHOTOS + "c.png,124.9,123.3\n",
        "photos.csv line 4: bottom_m 123.3 m is not below top_m 124.9 m. "
        "Swap them, or correct the row.",
    ),
    "no length": (
        PHOTOS + "c.png,124.9,124.9\n",
        "photos.csv line 4: bottom_m 124.9 m is not below top_m 124.9 m. "
        "Swap them, or correct the row.",
    ),
    "text for a number": (
        PHOTOS + "c.png,deep,124.9\n",
        "photos.csv line 4: top m is 'deep', expected a number. Correct the cell.",
    ),
    "no number": (
        PHOTOS + "c.png,123.3,\n",
        "photos.csv line 4: bottom m is empty, expected a number. Fill it in, or remove the row.",
    ),
    "infinite": (
        PHOTOS + "c.png,123.3,inf\n",
        "photos.csv line 4: bottom m is 'inf', expected a finite number. Correct the cell.",
    ),
    "nobody": (
        PHOTOS + ",123.3,124.9\n",
        "photos.csv line 4: no photo is named. Name its file, or remove the row.",
    ),
    "empty": (
        "",
        "photos.csv is empty (0 bytes), expected a table (text as .csv or .tsv, "
        "a spreadsheet, .parquet or PANGAEA .tab)."
        " Copy it again.",
    ),
    "headings only": (
        PHOTOS.splitlines()[0],
        "photos.csv has headings but no rows, expected one row or more. Add the rows.",
    ),
    "a column missing": (
        "photo,top_m\na.png,120\n",
        "photos.csv has the columns 'photo', 'top m', expected 'bottom' or 'bot' or 'depth bottom' "
        "or 'depth bot' or 'bottom depth' or 'depth to' or 'to'. Rename a heading, or add the "
        "column.",
    ),
    "in years": (
        "photo,top [yr],bottom [yr]\na.png,120,121\n",
        "photos.csv: the heading 'top [yr]' is in yr, expected m. "
        "Convert the column, or correct its heading.",
    ),
    "a crop the wrong way round": (
        CROPPED + "a.png,120,121,900,5,10,210\n",
        "photos.csv line 2: the crop is 900, 5, 10, 210, expected top < bottom and left < right. "
        "Correct the cells, or empty those that are to be found.",
    ),
    "a crop of no pixel": (
        CROPPED + "a.png,120,121,5,900,10.1,10.4\n",
        "photos.csv line 2: the crop is 5, 900, 10, 10, expected top < bottom and left < right. "
        "Correct the cells, or empty those that are to be found.",
    ),
}  # fmt: skip
BAD_LAYERS = {
    "upside down": (
        LAYERS + "122.30,121.31,meltLayer\n",
        "layers.csv line 4: depth_to 121.31 m is above depth_from 122.3 m. "
        "Swap them, or remove the row.",
    ),
    "text for a number": (
        LAYERS + "122.30,thin,meltLayer\n",
        "layers.csv line 4: depth to is 'thin', expected a number. "
        "Correct the cell or leave it empty.",
    ),
    "no depth": (
        LAYERS + ",,meltLayer\n",
        "layers.csv line 4: depth from is empty, expected a number. "
        "Fill it in, or remove the row.",
    ),
    "no type of melt": (
        "depth,type\n122.30,dust band\n",
        "layers.csv: no type of feature is melt, expected words such as meltLayer or meltLens, it "
        "has dust band 1. Correct the words.",
    ),
    "no type": (
        LAYERS + "122.30,,\n",
        "layers.csv line 4: the type of feature is empty, expected a word such as meltLayer or "
        "meltLens. Fill it in, or remove the row.",
    ),
    "empty": (
        "",
        "layers.csv is empty (0 bytes), expected a table (text as .csv or .tsv, "
        "a spreadsheet, .parquet or PANGAEA .tab)."
        " Copy it again.",
    ),
    "headings only": (
        LAYERS.splitlines()[0],
        "layers.csv has headings but no rows, expected one row or more. Add the rows.",
    ),
    "a column missing": (
        "depth from,depth to\n120.5,120.51\n",
        "layers.csv has the columns 'depth from', 'depth to', expected 'type of feature' or 'type' "
        "or 'feature' or 'feature type'. Rename a heading, or add the column.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PHOTOS)
def test_a_wrong_table_of_photos_is_refused_with_file_line_and_cure(tmp_path, case):
    photos, sentence = BAD_PHOTOS[case]
    assert refusal(raw_folder(tmp_path, photos=photos, there=("a.png", "b.png"))) == sentence


@pytest.mark.parametrize("case", BAD_LAYERS)
def test_a_wrong_table_of_layers_is_refused_with_file_line_and_cure(tmp_path, case):
    layers, sentence = BAD_LAYERS[case]
    assert refusal(raw_folder(tmp_path, layers=layers)) == sentence


def test_a_table_that_predict_wrote_beside_the_photos_is_no_table_of_photos(tmp_path):
    heading = "photo,depth_from_m,depth_to_m,thickness_mm,probability,uncertain,from_top_mm\n"
    (tmp_path / "found.csv").write_text(f"{heading}a.png,,,8.5,0.9,False,646.0\n")
    (tmp_path / "a.png").write_bytes(b"")
    new = survey_new([tmp_path / "a.png"], None, MeltLayerOptions())
    assert new.sources[0].about.photo is None and not new.tables
    (tmp_path / "depths.csv").write_text(PHOTOS)
    (tmp_path / "b.png").write_bytes(b"")
    new = survey_new([tmp_path / "a.png"], None, MeltLayerOptions())
    assert new.sources[0].about.photo.top_m == 120.0


def test_two_tables_of_layers_or_none_are_refused(tmp_path):
    folder = raw_folder(tmp_path)
    (folder / "layers.tab").write_text(PANGAEA)
    assert refusal(folder) == (
        f"{folder} holds several tables that may be the table of features: layers.csv, layers.tab. "
        "Keep one of them there."
    )
    for name in ("layers.csv", "layers.tab"):
        (folder / name).unlink()
    assert refusal(folder).startswith(f"{folder} holds no table of features, expected one")


def test_a_folder_that_lacks_photos_or_their_table_is_refused(tmp_path):
    folder = raw_folder(tmp_path, there=())
    (folder / "photos.csv").unlink()
    assert refusal(folder).startswith(f"{folder} holds no table of photos, expected one with")
    (folder / "photos").rmdir()
    assert refusal(folder).startswith(f"{folder / 'photos'} is missing: expected a folder")


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.png").touch()
    (tmp_path / "raw").mkdir()
    folder = raw_folder(tmp_path / "raw", there=("b.png",))
    (folder / "photos" / "a.png").symlink_to(tmp_path / "secret.png")
    assert "line 2: 'a.png' leads outside the folder through a link" in refusal(folder)


def test_other_types_of_features_are_no_labels_and_are_named(tmp_path):
    layers = LAYERS + "121,121.1,dust band\n121.2,,crust\n121.3,,crust\n"
    found = survey(raw_folder(tmp_path, layers=layers), MeltLayerOptions())
    assert sum(len(source.about.features) for source in found.sources) == 2
    assert found.notes == (
        "layers.csv: features of other types are no labels, so their ice counts as free of melt "
        "layers: crust 2, dust band 1.",
        lens_note("layers.csv", "meltLens 1"),
    )


def test_what_is_no_full_layer_or_uncertain_is_named(tmp_path):
    layers = LAYERS + "121,121.1,faint layer?\n121.2,,faint layer?\n121.3,,bubble free\n"
    found = survey(raw_folder(tmp_path, layers=layers), MeltLayerOptions())
    assert found.notes[-2:] == (
        lens_note("layers.csv", "meltLens 1"),
        "layers.csv: uncertain features are left out of training, unless --option "
        "uncertain=include: bubble free 1.",
    )


def test_some_sides_of_a_crop_are_enough(tmp_path):
    photos = "photo,top_m,bottom_m,crop_left_px,crop_right_px\na.png,1,2,30,230\nb.png,2,3,,\n"
    folder = raw_folder(tmp_path, photos=photos)
    found, _ = tables.read_photos(folder / "photos.csv", folder=folder / "photos")
    assert [photo.crop_px for photo in found] == [(None, None, 30, 230), None]


def test_the_files_of_eastgrip_are_read_without_an_edit(tmp_path):
    """File names without ending, two cameras, PANGAEA's head, the features on a second sheet."""
    (tmp_path / "photos").mkdir()
    for name in ("EGRIP0219.jpg", "EGRIP0222.jpg", "EGRIP0222_2.png"):
        (tmp_path / "photos" / name).touch()
    rows = [("EGRIP0219", "120.0", "121.65"), ("EGRIP0222", "121.65", "123.3")]
    rows.append(("EGRIP0222_2", "121.66", "123.31"))
    eastgrip.write_photo_table(tmp_path / "EGRIP_visual_strat.tab", rows)
    headings = eastgrip.FEATURE_HEADINGS
    cells = ["219", "120.5", "120.51", "858.0", "1142.0", "meltLayer"]
    eastgrip.write_feature_table(tmp_path / "any.xlsx", [dict(zip(headings, cells, strict=True))])
    found = survey(tmp_path, MeltLayerOptions())
    assert [(s.name, s.group, s.about.photo.top_m) for s in found.sources] == [
        ("EGRIP0219.jpg", "EGRIP0219", 120.0),
        ("EGRIP0222.jpg", "EGRIP0222", 121.65),
        ("EGRIP0222_2.png", "EGRIP0222", 121.66),
    ]
    assert found.sources[0].about.features == (tables.Feature(120.5, 120.51, "meltLayer"),)
    assert any(
        "Depths of photos are from EGRIP_visual_strat.tab; features are from any.xlsx, sheet "
        "'features'." in note
        for note in found.notes
    )
    new = survey_new([tmp_path / "photos" / "EGRIP0222_2.png"], None, MeltLayerOptions())
    assert new.sources[0].about.photo.bottom_m == 123.31
    assert new.notes == ("Depths of photos are from EGRIP_visual_strat.tab.",)


def test_a_name_without_ending_that_two_files_have_is_refused(tmp_path):
    photos = "photo,top_m,bottom_m\na,1,2\n"
    folder = raw_folder(tmp_path, photos=photos, there=("a.png", "a.jpg"))
    assert "line 2: photo 'a' may be a.jpg or a.png" in refusal(folder)


@pytest.mark.parametrize(
    ("photos", "layers", "headings"),
    [
        ("photo,top_m,top_cm,bottom_m\na.png,120,12100,121.6\n", LAYERS, "'top_m' and 'top_cm'"),
        ("photo,top [cm],bottom_m,top_m\na.png,1,121.6,120\n", LAYERS, r"'top \[cm\]' and 'top_m'"),
        (PHOTOS, "from,to_m,to_mm,type\n120.5,120.51,9,meltLayer\n", "'to_m' and 'to_mm'"),
    ],
)
def test_a_depth_in_two_units_is_refused(tmp_path, photos, layers, headings):
    raw_folder(tmp_path, photos=photos, layers=layers)
    with pytest.raises(UserError, match=f"has the columns {headings}, expected this depth in one"):
        survey(tmp_path, MeltLayerOptions())
