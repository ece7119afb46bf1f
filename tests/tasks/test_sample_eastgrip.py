"""The drawn files of the EastGRIP core: sizes, places and depths as truth.csv says."""

import re

import openpyxl
import pandas as pd
import pytest

from tfpipe.base import images
from tfpipe.base.errors import UserError
from tfpipe.tasks.melt_layer import core_detection
from tfpipe.tasks.melt_layer.options import MeltLayerOptions
from tfpipe.tasks.melt_layer.survey import survey
from tfpipe.tasks.samples import melt_layer

MM_PX = 18.6


@pytest.mark.slow
def test_sections_of_186_px_a_cm_are_where_their_truth_is(tmp_path):
    folder = tmp_path / "raw"
    melt_layer.draw(folder, photos=6, seed=2, px_per_m=500, format="eastgrip")
    truth = pd.read_csv(folder / "truth.csv").drop_duplicates("photo").set_index("photo")
    found = survey(folder, MeltLayerOptions())
    names = [source.name for source in found.sources]
    assert names == [*truth.index, "EGRIP0234_2.jpg"]
    for source in found.sources[:2]:
        photo = images.read(source.path)
        assert photo.shape[0] > 30_700 and photo.shape[1] == 1_500
        box = core_detection.find(images.to_rgb(photo), name=source.name)
        for edge in ("top", "bottom"):
            true_px = truth.loc[source.name, f"core_{edge}_px"]
            assert getattr(box, edge) == pytest.approx(true_px, abs=2 * MM_PX)
        assert (box.left, box.right) == (0, 1_500)
        depths = source.about.photo
        length_px = (depths.bottom_m - depths.top_m) * 1000 * MM_PX
        assert box.bottom - box.top == pytest.approx(length_px, rel=0.003)
    head, _, rows = (folder / "EGRIP_visual_strat.tab").read_text().partition("*/\n")
    assert head.startswith("/* DATA DESCRIPTION:\n") and head.count("\n") >= 20
    assert rows.splitlines()[0] == "File name\tDepth top [m]\tDepth bot [m]"
    assert re.fullmatch(r"EGRIP0219\t120\.0000\t121\.64\d\d", rows.splitlines()[1])
    book = openpyxl.load_workbook(folder / "EGRIP_melt_features.xlsx")
    assert book.sheetnames == ["read me", "features"]


def test_another_format_is_refused(tmp_path):
    with pytest.raises(UserError, match="format"):
        melt_layer.draw(tmp_path / "raw", photos=1, format="eastgrp")
