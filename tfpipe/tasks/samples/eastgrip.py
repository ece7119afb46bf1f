"""Draws a melt-layer data set as the files of the EastGRIP ice core are (PANGAEA 925014)."""

from pathlib import Path

import cv2

from tfpipe.base import images
from tfpipe.tasks.samples.output_folder import write_encoded

PX_PER_M = 18_600  # 186 px/cm: 30,700 px a section
BAG_M = 0.55  # a section of 1.65 m is three bags
WIDTH_PX = 1_500  # 8 cm of the core, which fills the photo from side to side
END_PX = 600  # ground beyond the core's ends
OTHER_CAMERA = 6  # each sixth section was also taken by another camera, which is darker and softer
OTHER_FOCUS_PX = 8.0
PHOTO_TABLE, FEATURE_TABLE = "EGRIP_visual_strat.tab", "EGRIP_melt_features.xlsx"
FEATURE_HEADINGS = ("bag", "depth from", "depth to", "age (b2k)", "age (CE)", "type of feature")
ABOUT = (
    "Features of the EGRIP core seen in the line scans",
    "Drawn by `tfpipe sample`; the layout is that of the files of the real core.",
    "Depths are in metres. Features without depth to have no thickness.",
)


def enlarge(folder: Path, row: dict, truth: list[dict], *, index: int, px_per_m: float) -> list:
    """Replaces a drawn photo by one of 186 px/cm, cut near the core, under its EastGRIP name.

    Args:
      folder: of the photos.
      row: of photos.csv, as `samples.melt_layer` draws it.
      truth: its rows of truth.csv; file name and pixels are replaced in place, and the row of a
        colour card is removed, as these line scans are grey and end before it.
      index: of the section.
      px_per_m: of the drawn photo.

    Returns:
      Rows of the table of photos (file name without ending, top and bottom in m), one a camera.
    """
    drawn = folder / row["photo"]
    grey = images.to_grey(images.read(drawn))
    drawn.unlink()
    scale = PX_PER_M / px_per_m
    about = truth[0]
    first = max(int(float(about["core_top_px"]) - END_PX / scale), 0)
    last = int(float(about["core_bottom_px"]) + END_PX / scale) + 1
    middle = (float(about["core_left_px"]) + float(about["core_right_px"])) / 2
    left = int(middle - WIDTH_PX / scale / 2)
    for card in [line for line in truth if line["feature"] == "card"]:
        truth.remove(card)
        if float(card["from_mm"]) < 0:
            first = max(first, int(float(card["row_bottom_px"])) + 2)
        else:
            last = min(last, int(float(card["row_top_px"])) - 1)
    section = grey[first:last, left : left + int(WIDTH_PX / scale) + 2]
    size = (round(section.shape[1] * scale), round(section.shape[0] * scale))
    photo = cv2.resize(section, size, interpolation=cv2.INTER_CUBIC)[:, :WIDTH_PX]
    name = f"EGRIP{round(float(row['top_m']) / BAG_M) + 1:04d}"
    pictures = {name: photo}
    if index % OTHER_CAMERA == OTHER_CAMERA - 1:
        softer = cv2.GaussianBlur(photo, (0, 0), OTHER_FOCUS_PX)
        pictures[f"{name}_2"] = cv2.convertScaleAbs(softer, alpha=0.8, beta=6)
    for stem, picture in pictures.items():
        write_encoded(folder / f"{stem}.jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
    for line in truth:
        line["photo"] = f"{name}.jpg"
        line["shift_px"] = f"{float(line['shift_mm']) * PX_PER_M / 1000:.2f}"
        for key in ("row_top_px", "row_bottom_px", "core_top_px", "core_bottom_px"):
            if key in line:
                line[key] = f"{(float(line[key]) - first + 0.5) * scale - 0.5:.2f}"
        line["core_left_px"], line["core_right_px"] = "0", str(WIDTH_PX)
    return [(stem, row["top_m"], row["bottom_m"]) for stem in pictures]


def write_photo_table(path: Path, rows: list) -> None:
    """Writes the table of photos as PANGAEA does: a description of 22 lines, then tabs."""
    top, bottom = rows[0][1], rows[-1][2]
    head = f"""/* DATA DESCRIPTION:
Citation:\tDrawn sample (2026): Visual stratigraphy of the EastGRIP ice core, a drawing. tfpipe
\tThis is no data set of PANGAEA: it has the layout of one.
Keyword(s):\tEGRIP; ice core; line scan; visual stratigraphy
Related to:\tZoumis, A; Malegiannaki, E; Seumer, J; Ktistakis, F; Borup, R (2022): IceCore MeltLayer
\tPredictions using a CNN
Project(s):\tEast Greenland Ice-core Project (EGRIP)
Coverage:\tLATITUDE: 75.630000 * LONGITUDE: -36.000000
\tMINIMUM DEPTH, ice/snow: {top} m * MAXIMUM DEPTH, ice/snow: {bottom} m
Event(s):\tEGRIP (EastGRIP) * LATITUDE: 75.630000 * LONGITUDE: -36.000000 * METHOD/DEVICE: Ice drill
Comment:\tScale: 186 pixels per cm.
\tNames with "_" belong to another camera.
\tFiles are named after the first bag of the section.
Parameter(s):\tFile name (File name)
\tDEPTH, ice/snow, top [m] (Depth top) * GEOCODE
\tDEPTH, ice/snow, bottom [m] (Depth bot) * GEOCODE
License:\tApache License 2.0
Curation Level:\tnone
Processing Level:\tnone
Size:\t{3 * len(rows)} data points
Status:\tdrawn
*/
"""
    lines = ["File name\tDepth top [m]\tDepth bot [m]", *("\t".join(row) for row in rows)]
    path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


def write_feature_table(path: Path, rows: list[dict]) -> None:
    """Writes the features as .xlsx: text on the first sheet, the table on the second."""
    import openpyxl  # slow to import

    book = openpyxl.Workbook()
    about = book.worksheets[0]
    about.title = "read me"
    for line in ABOUT:
        about.append([line])
    sheet = book.create_sheet("features")
    sheet.append(FEATURE_HEADINGS)
    for row in rows:
        cells = [row[heading] for heading in FEATURE_HEADINGS]
        sheet.append(
            [
                float(c) if c and heading != "type of feature" else c or None
                for c, heading in zip(cells, FEATURE_HEADINGS, strict=True)
            ]
        )
    book.save(path)
