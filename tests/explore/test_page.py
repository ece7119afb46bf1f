"""The page of an exploration: its text, and in a browser the image under the mouse."""

import base64
import dataclasses
import hashlib
import json
import re

import browser
import cv2
import numpy as np
import pandas as pd
import pytest

from tfpipe.base import figures, tables
from tfpipe.base.errors import UserError
from tfpipe.explore import page as explore_page
from tfpipe.explore.queue import Entry
from tfpipe.explore.result import Findings
from tfpipe.tasks.annotations import decisions

COUNT = 40
BAD = "</script><b>x"  # a class may be called anything
DRAWN = "document.querySelectorAll('#legend button').length > 0"
WHERE = """
function where(name) {
  const [x, y] = placeOf(data.captions.findIndex(text => text.startsWith(name)));
  const box = map.getBoundingClientRect();
  return [box.x + x, box.y + y];
}
function rowShown(cluster) {
  const match = /^p([0-9]+):/.exec(caption.textContent);
  return match && match[1] % 2 === cluster && !thumbnail.hidden && match[1];
}
"""


def jpeg(level: int) -> bytes:
    return cv2.imencode(".jpg", np.full((8, 8), level, np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def findings():
    """Two clusters far apart; the first point is unlabelled and heads the queue."""
    rng = np.random.default_rng(0)
    far = np.arange(COUNT) % 2
    frame = pd.DataFrame(
        {
            "key": [f"p{i}" for i in range(COUNT)],
            "split": "test",
            "group": "run",
            "label": ["", *np.where(far[1:], BAD, "dust")],
            "predicted": np.where(far, BAD, "dust"),
            "cluster": far,
            "x": rng.normal(0, 0.1, COUNT) + 10 * far,
            "y": rng.normal(0, 0.1, COUNT),
            "energy": rng.normal(size=COUNT),
            "brightness": np.where(np.arange(COUNT) == 5, np.nan, 1.0),
        }
    )
    shared = {"nuisance": "brightness", "measure": "AUROC", "p": 0.0001}
    tested = pd.DataFrame(
        [
            {"what": "cluster 0", "value": 0.97, "explained": True, **shared},
            {"what": "cluster 1", "value": 0.55, "explained": False, **shared},
        ]
    )
    benchmark = pd.DataFrame(
        [
            {
                "class": c,
                "score": "energy",
                "auroc": a,
                "precision_at_100": 0.5,
                "n_novel": 5,
                "n_other": 9,
            }
            for c, a in (("dust", 0.8), (BAD, 0.6), ("(mean)", 0.7))
        ]
    )
    trust = pd.DataFrame([{"map": "UMAP", "training": 0.98, "new": 0.97, "steps": np.nan}])
    return Findings(
        title="a < b",
        frame=frame,
        scores=("energy",),
        nuisances=("brightness", "group"),
        queue=[Entry(0, (2,), (1, 3, 4))],
        ranked_by="energy",
        reason="The queue is ranked by energy.",
        benchmark=benchmark,
        trust=trust,
        of_clusters=tested,
        of_scores=tested.assign(what="energy").head(1),
        of_direction=tested.head(1).assign(nuisance="direction", shown="as they are"),
        notes=("One thing.",),
    )


@pytest.fixture(scope="module")
def page(findings, tmp_path_factory):
    rows, queued = explore_page.shown_rows(findings, seed=0)
    images = {row: jpeg(6 * row) for row in rows}
    path = tmp_path_factory.mktemp("page") / "explore.html"
    return explore_page.write(path, findings, thumbnails=images, reconstructions={0: jpeg(200)})


def test_the_page_runs_its_own_scripts_and_fetches_nothing(page):
    text = page.read_text()
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert re.findall(r"'sha256-(.*?)'", policy) == digests and len(digests) == 2
    assert policy.startswith("default-src 'none'") and "unsafe-eval" not in policy


def test_the_page_says_what_a_nuisance_explains_and_which_score_to_trust(page):
    text = page.read_text()
    assert "Cluster 0 may be no more than brightness (AUROC 0.97, p &lt; 0.001)." in text
    assert "Cluster 1 is explained by none of these" in text
    assert "near-duplicates left out: 1" in text
    assert "<td>0.700</td>" in re.sub(r' class="[a-z]*"', "", text)


def test_words_of_the_data_are_no_markup(page):
    text = page.read_text()
    assert "<b>x" not in text
    assert text.count("</script>") == 3


def test_the_images_of_the_queue_and_of_its_neighbours_are_there(findings):
    rows, queued = explore_page.shown_rows(findings, seed=0)
    assert queued == [0] and {0, 1, 3, 4} <= set(rows)


def test_the_map_is_a_png_with_both_clusters(findings):
    image = cv2.imdecode(np.frombuffer(explore_page.map_png(findings), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (1040, 2200, 3)
    colours = {tuple(colour) for colour in image.reshape(-1, 3)[::7].tolist()}
    assert len(colours) > 4


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium on this machine to open it with")
def test_resting_on_a_point_shows_its_image(findings, page, tmp_path):
    with browser.opened(page, tmp_path / "profile") as shown:
        shown.wait(DRAWN)
        assert shown.value("document.getElementById('thumbnail').hidden")
        shown.value(WHERE)
        for row in (8, 31):
            shown.point(*shown.value(f"where('p{row}:')"))
            row_shown = int(shown.wait(f"rowShown({row % 2})"))
            bytes_ = base64.b64encode(jpeg(6 * row_shown)).decode()
            assert shown.value("document.getElementById('thumbnail').src").endswith(bytes_)
            assert shown.wait("document.getElementById('thumbnail').naturalWidth") == 8
        shown.value(
            "colourMenu.selectedIndex = data.columns.findIndex(c => c.name === 'cluster');"
            "colourMenu.dispatchEvent(new Event('change'))"
        )
        names = "[...document.querySelectorAll('#legend button')].map(e => e.textContent).join()"
        assert shown.wait(names) == "cluster 0 (20),cluster 1 (20)"


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium on this machine to open it with")
def test_a_lasso_becomes_decisions_that_review_and_retraining_read(page, tmp_path):
    with browser.opened(page, tmp_path / "profile") as shown:
        shown.wait(DRAWN)
        shown.value(WHERE)
        far = shown.value("where('p1:')")[0] - shown.value("where('p0:')")[0]
        x, y = shown.value("where('p1:')")
        shown.wheel(x, y, -400)
        shown.wait("transform.k > 1.5")
        shown.value("element('whole').click()")
        assert shown.wait("transform.k === 1") and far > 100
        # Around the second cluster, then what is hidden is not selected.
        x = shown.value("where('p1:')")[0]
        box = [(x - far / 3, 20), (x + far / 3, 20), (x + far / 3, 990), (x - far / 3, 990)]
        assert (
            shown.value(
                f"lasso = {json.dumps(box)}.map(([x, y]) => [x - "
                "map.getBoundingClientRect().x, y - map.getBoundingClientRect().y]); endLasso();"
                "selected.length"
            )
            == 20
        )
        x0, y0 = shown.value("where('p0:')")
        shown.value("setLasso(true)")
        shown.drag((x0 - 3, y0 - 3), (x0 + 3, y0 + 3))
        assert shown.value("transform.k === 1 && transform.x === 0"), (
            "a lasso does not move the map"
        )
        shown.value(
            "selected = data.captions.flatMap((text, row) => /^p[05]:/.test(text) ? [row] : [])"
        )
        text = shown.value("labelList('volcanic, \"new\"', 'Ada')")
    (tmp_path / "labels.csv").write_text(text)
    log = decisions.read(tmp_path)
    assert [(one.what, one.label, one.who, one.state) for one in log.lines] == [
        ("p0", 'volcanic, "new"', "Ada", "validated"),
        ("p5", 'volcanic, "new"', "Ada", "validated"),
    ]
    assert not log.notes and {*log.current} == {("", "p0"), ("", "p5")}


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="no chromium on this machine to open it with")
def test_a_hundred_thousand_points_are_drawn_at_once(findings, tmp_path):
    count = explore_page.MAX_POINTS
    rows = np.arange(count) % COUNT
    frame = findings.frame.iloc[rows].assign(key=[f"p{i}" for i in range(count)])
    many = dataclasses.replace(findings, frame=frame.reset_index(drop=True))
    path = explore_page.write(
        tmp_path / "many.html",
        many,
        thumbnails=dict.fromkeys(range(5), jpeg(9)),
        reconstructions={},
    )
    with browser.opened(path, tmp_path / "profile") as shown:
        shown.wait(DRAWN)
        assert shown.value("COUNT") == count and shown.value("data.thumbnails[5]") == ""
        drawn_ms = shown.value("const begin = performance.now(); draw(); performance.now() - begin")
        assert drawn_ms < 2000


def test_a_map_is_drawn_again_from_its_table(findings, tmp_path):
    tables.write_csv(findings.frame, tmp_path / "map.csv")
    figure = explore_page.map_figure(explore_page.read_map(tmp_path / "map.csv"))
    assert figures.png(figure, dpi=explore_page.MAP_DPI) == explore_page.map_png(findings)
    (tmp_path / "map.csv").write_text("key,label\n")
    with pytest.raises(UserError, match="no column cluster. Run tfpipe explore again"):
        explore_page.read_map(tmp_path / "map.csv")
    with pytest.raises(UserError, match="cannot be read as a map"):
        explore_page.read_map(tmp_path / "no.csv")
