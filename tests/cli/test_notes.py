"""What is printed of packed records: what was left out, and other notes, apart."""

from pathlib import Path

from made_manifest import made_manifest

from tfpipe.cli import options

LEFT_OUT = "labels.csv: 1 dubious images are left out of training and scores."
NOTE = "labels.csv: 12 images are validated."
RECORDS = made_manifest(left_out=(LEFT_OUT,), notes=(NOTE,), unreadable={"a.png": "a.png is cut."})


def test_only_what_was_left_out_is_said_to_be(capsys):
    options.print_notes(RECORDS)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"left out: {LEFT_OUT}", "left out: a.png is cut.", f"note: {NOTE}"]


def test_notes_of_a_command_are_lines_and_no_tuple(capsys):
    options.done(False, command="predict", task="t", path=Path(), notes=(NOTE, "Another."))
    assert capsys.readouterr().out.splitlines() == ["path: .", f"notes: {NOTE}", "notes: Another."]
