"""Pages: everything is escaped, nothing is left undefined, and only the page's own scripts run."""

import base64
import hashlib
import json
import re

import jinja2
import pytest
from markupsafe import Markup
from page_parser import Page

from tfpipe.base import html

EVIL = "</script><b onclick='x()'>\udc80"
SCRIPT = "console.log('a' < 'b');\n"


def page(**changes) -> str:
    sections = [("One <section>", html.paragraph(EVIL))]
    given = {"title": EVIL, "lead": html.title(EVIL), "sections": sections, "data": {"name": EVIL}}
    return html.page("base/templates/document.html", scripts=[SCRIPT], **given | changes)


def test_the_hash_of_each_script_is_computed_from_what_runs():
    text = page()
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert script == SCRIPT
    assert policy == f"{html.POLICY}; script-src 'sha256-{digest}'"
    assert "script-src" not in html.security_policy([])


def test_the_scripts_data_is_json_that_cannot_end_its_element():
    (data,) = re.findall(r'<script type="application/json" id="page-data">(.*?)</script>', page())
    assert "<" not in data and json.loads(data) == {"name": EVIL}


def test_all_text_is_escaped_and_valid():
    text = page()
    assert "b" not in Page(text).tags and Page(text).text.count("</script><b onclick") == 3
    text.encode()  # no lone surrogate is left in it
    assert html.escaped("<\udc80") == "&lt;?" and html.escaped(Markup("<i>")) == "<i>"
    assert html.joined("<", None, Markup("<br>")) == "&lt;<br>"


def test_a_name_that_a_template_lacks_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'trials' is undefined"):
        html.render("search/templates/trials.html", rows=[])


@pytest.mark.parametrize("path", sorted(html.PACKAGE.rglob("*.js")))
def test_no_script_can_end_its_element(path):
    assert "</script" not in path.read_text().lower()


def test_a_table_aligns_numbers_and_marks_what_is_missing():
    text = html.table(("<a>", "n", "b"), [("x<", 1234, html.bar(0.5)), ("y", None, "")])
    assert '<th scope="col" class="number">n</th>' in text and "&lt;a&gt;" in text
    assert '<td class="number">1,234</td>' in text and "(not measured)" in text
    assert '<td class="bars"><span class="bar" style="width: 35.0%"></span></td>' in text
