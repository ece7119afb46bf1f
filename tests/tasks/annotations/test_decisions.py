"""labels.csv: what is written is read back, whatever it is, and half a line is never a decision."""

import fcntl
import math
import os
import string
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpipe.base.errors import UserError
from tfpipe.tasks.annotations import decisions as annotations_decisions
from tfpipe.tasks.annotations.decisions import Decision, DecisionLog


def decision(what="a.png", **changes) -> Decision:
    told = {
        "time": annotations_decisions.now(),
        "who": "Ada",
        "file": "a.png",
        "what": what,
        "label": "dust",
    }
    told |= {"top_m": math.nan, "bottom_m": math.nan, "version": "simple-cnn/1"}
    return Decision(**(told | {"state": "validated", "action": "accept"} | changes))


def same(one, other) -> bool:
    """Returns whether two decisions are equal: nan is not."""
    return repr(one) == repr(other)


TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
words = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters=TURNING)
    | st.sampled_from("=+-@'\",; "),
    max_size=12,
)
names = words.filter(bool)
depths = st.integers(0, 10**7).map(lambda tenths_mm: tenths_mm / 1e4)


@st.composite
def decisions(draw) -> Decision:
    span = draw(st.booleans())
    top_m = draw(depths) if span else math.nan
    return Decision(
        **{name: draw(words) for name in ("time", "who", "file", "label", "version")},
        what=draw(names),
        top_m=top_m,
        bottom_m=round(top_m + draw(depths) + 0.001, 5) if span else math.nan,
        state=draw(st.sampled_from(annotations_decisions.STATES)),
        action=draw(st.sampled_from(annotations_decisions.ACTIONS)),
    )


@given(st.lists(decisions(), max_size=5))
@settings(max_examples=60, deadline=None)
def test_what_is_added_is_read_back(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("raw")
    for one in written:
        annotations_decisions.append(folder, one)
    assert same(
        annotations_decisions.read(folder),
        DecisionLog(tuple(written), numbers=tuple(range(2, 2 + len(written)))),
    )


@given(st.lists(decisions(), min_size=1, max_size=3), st.data())
@settings(max_examples=120, deadline=None)
def test_a_file_cut_anywhere_loses_its_last_line_at_most(tmp_path_factory, written, data):
    folder = tmp_path_factory.mktemp("raw")
    for one in written[:-1]:
        annotations_decisions.append(folder, one)
    path = folder / annotations_decisions.NAME
    kept = path.stat().st_size if path.exists() else 0
    annotations_decisions.append(folder, written[-1])
    whole = path.read_bytes()
    cut = data.draw(st.integers(kept, len(whole) - 2))  # the last byte is the line's end
    path.write_bytes(whole[:cut])
    found = annotations_decisions.read(folder)
    assert same(found.lines, tuple(written[:-1]))
    is_begun = cut > max(kept, len(annotations_decisions.HEADING) + 1)
    assert len(found.notes) == is_begun and all("incomplete" in note for note in found.notes)
    annotations_decisions.append(folder, written[-1])
    assert same(annotations_decisions.read(folder).lines, tuple(written))


@pytest.mark.parametrize("what", ["=1+1", "'=1+1", "''", "@a", "-a", "'a", "\N{NO-BREAK SPACE}"])
def test_no_cell_is_a_formula_and_all_are_read_back(tmp_path, what):
    annotations_decisions.append(tmp_path, decision(what, who=what))
    cells = (tmp_path / annotations_decisions.NAME).read_text().splitlines()[1].split(",")
    assert not cells[1].startswith(("=", "+", "-", "@"))
    assert [(one.what, one.who) for one in annotations_decisions.read(tmp_path).lines] == [
        (what, what)
    ]


def test_the_last_decision_about_each_thing_holds(tmp_path):
    span = {"top_m": 120.1, "bottom_m": 120.2}
    for one in (
        decision("a"),
        decision("a", label="ash", file="moved.png"),  # a picture is known by its key
        decision("b"),
        decision("b", state="predicted", action="undo"),
        decision("drawn 1", **span),
        decision("drawn 1", file="b.png", **span),
    ):
        annotations_decisions.append(tmp_path, one)
    held = annotations_decisions.read(tmp_path).current
    assert {thing: one.label for thing, one in held.items()} == {
        ("", "a"): "ash",
        ("a.png", "drawn 1"): "dust",
        ("b.png", "drawn 1"): "dust",
    }


ADDING = """
import sys
from pathlib import Path
import test_decisions
from tfpipe.tasks.annotations import decisions
print("begun", flush=True)
for i in range(int(sys.argv[3])):
    decisions.append(Path(sys.argv[1]), test_decisions.decision(f"{sys.argv[2]} {i}"))
    print(i, flush=True)
"""


def adding(folder, who: str, count: int) -> subprocess.Popen:
    here = Path(__file__)
    path = os.pathsep.join([str(here.parent), str(here.parents[3])])
    return subprocess.Popen(
        [sys.executable, "-c", ADDING, str(folder), who, str(count)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_lose_nothing_and_one_that_is_killed_no_line_it_told_of(tmp_path):
    first, second = adding(tmp_path, "a", 200), adding(tmp_path, "b", 10**6)
    told = [second.stdout.readline() for _ in range(101)]
    second.kill()
    told += second.stdout.read().splitlines(keepends=True)
    acknowledged = {int(line) for line in told[1:] if line.endswith("\n")}
    assert first.wait() == 0
    second.wait()
    first.stdout.close()
    second.stdout.close()
    found = annotations_decisions.read(tmp_path)
    assert len(found.notes) <= 1
    by = {name: {int(o.what[2:]) for o in found.lines if o.what[0] == name} for name in "ab"}
    assert by["a"] == {*range(200)}
    assert acknowledged <= by["b"] and len(acknowledged) >= 100


def test_a_line_waits_until_another_process_has_written_its_own(tmp_path):
    annotations_decisions.append(tmp_path, decision("a"))
    adding = threading.Thread(target=annotations_decisions.append, args=(tmp_path, decision("b")))
    with (tmp_path / annotations_decisions.NAME).open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        adding.start()
        adding.join(0.2)
        assert adding.is_alive()
        assert [one.what for one in annotations_decisions.read(tmp_path).lines] == ["a"]
    adding.join()
    assert [one.what for one in annotations_decisions.read(tmp_path).lines] == ["a", "b"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_is_said_and_nothing_is_saved(tmp_path, monkeypatch):
    annotations_decisions.append(tmp_path, decision("a"))
    before = (tmp_path / annotations_decisions.NAME).read_bytes()
    full, write = os.open("/dev/full", os.O_WRONLY), os.write

    def half(file: int, line: bytes) -> int:
        """Takes half a line, and no more after that: as a disk does that becomes full."""
        monkeypatch.setattr(os, "write", lambda file, line: write(full, line))
        return write(file, line[: len(line) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(UserError, match="was not saved.*No space left on device"):
        annotations_decisions.append(tmp_path, decision("b"))
    os.close(full)
    assert (tmp_path / annotations_decisions.NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("t,Ada,f,k,,,dust,v,certain,accept", "line 3: state is 'certain'"),
        ("t,Ada,f,k,,,dust,v,validated,agree", "line 3: action is 'agree'"),
        ("t,Ada,f,k,2,1,dust,v,validated,accept", "line 3: what is 'k', top_m '2'"),
        ("t,Ada,f,k,1,,dust,v,validated,accept", "line 3"),
        ("t,Ada,f,k,1,inf,dust,v,validated,accept", "line 3"),
        ("t,Ada,f,,,,dust,v,validated,accept", "line 3"),
        ("t,Ada,f,k,,,dust,v,validated,accept,more", "line 3: the row has 11 cells"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, said):
    annotations_decisions.append(tmp_path, decision())
    with (tmp_path / annotations_decisions.NAME).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=said):
        annotations_decisions.read(tmp_path)


def test_a_table_of_another_kind_is_left_alone(tmp_path):
    path = tmp_path / annotations_decisions.NAME
    path.write_text("path,label\na.png,dust\n")
    assert annotations_decisions.read(tmp_path) == DecisionLog()
    with pytest.raises(UserError, match="another kind.*Rename it"):
        annotations_decisions.append(tmp_path, decision())
    assert path.read_text() == "path,label\na.png,dust\n"


def test_a_spreadsheet_s_own_way_of_saving_is_refused_not_taken_for_nothing(tmp_path):
    annotations_decisions.append(tmp_path, decision())
    path = tmp_path / annotations_decisions.NAME
    path.write_text(path.read_text().replace(",", ";"))
    with pytest.raises(UserError, match="line 1: the headings"):
        annotations_decisions.read(tmp_path)


@pytest.mark.parametrize("character", ["\n", "\u2028", "\u202e", "\u2066"])
def test_a_name_that_breaks_or_turns_the_line_is_refused(tmp_path, character):
    for name, who in ((f"a{character}b", "Ada"), ("a", f"A{character}da")):
        with pytest.raises(UserError, match="line break"):
            annotations_decisions.append(tmp_path, decision(name)._replace(who=who))
    assert not annotations_decisions.read(tmp_path).lines


def test_no_action_begins_another():
    assert not [
        a
        for a in annotations_decisions.ACTIONS
        for b in annotations_decisions.ACTIONS
        if a != b and b.startswith(a)
    ]
    assert all(set(a) <= set(string.ascii_lowercase) for a in annotations_decisions.ACTIONS)
