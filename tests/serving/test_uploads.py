"""Uploads: forms and bodies parsed, names that stay in their folder, the folder of a server."""

import subprocess
import sys
import tempfile

import cv2
import numpy as np
import pytest
import requests

from tfpipe.serving import uploads
from tfpipe.serving.errors import RequestError
from tfpipe.serving.limits import Limits

LIMITS = Limits(max_instances=3)


def form(*parts: tuple, **fields: str) -> tuple[bytes, str]:
    """Returns body and content type of a form."""
    request = requests.Request("POST", "http://x", files=list(parts), data=fields).prepare()
    return request.body, request.headers["Content-Type"]


def parse(body: bytes, content_type: str, name: str = "") -> uploads.Upload:
    return uploads.parse(body, content_type, name=name, limits=LIMITS)


def test_a_form_is_files_in_order_a_table_and_fields(tmp_path):
    body, content_type = form(
        ("file", ("b.png", b"1")),
        ("any", ("run/é a.png", b"2")),
        ("table", ("photos.csv", b"t")),
        overlay="true",
    )
    upload = parse(body, content_type)
    assert list(upload.contents.items()) == [("b.png", b"1"), ("run/é a.png", b"2")]
    assert upload.table == ("photos.csv", b"t") and upload.fields == {"overlay": "true"}
    paths, table = uploads.write(upload, tmp_path, limits=LIMITS)
    assert paths == [tmp_path / "b.png", tmp_path / "run"]
    assert table.read_bytes() == b"t" and (tmp_path / "run" / "é a.png").read_bytes() == b"2"


@pytest.mark.parametrize(
    "name",
    ["..", "../a", "a/../../b", "/a", "a//b", "a\\b", "c:a", "a\0b", "a\nb", "\u202eb", "x" * 300]
    + ["/".join("abcdefghi"), "a/", " ", "a/ /b", "."],
)
def test_a_name_that_may_leave_its_folder_is_refused(name):
    with pytest.raises(RequestError, match="no name of a file") as error:
        parse(b"data", "image/png", name=name)
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("parts", "fields", "status"),
    [
        ([("a", (None, b"b"))], {}, 400),
        ([("file", (f"{i}", b"x")) for i in range(4)], {}, 413),
        ([("file", (f"{i}", b"x")) for i in range(90)], {}, 413),
        ([("file", ("a", b"x")), ("file", ("a", b"x"))], {}, 400),
        ([("file", ("a", b"x")), ("file", ("a/b", b"x"))], {}, 400),
        ([("file", ("a", b"x")), ("table", ("a", b"x"))], {}, 400),
        ([("file", ("a", b"x")), ("table", ("b", b"x")), ("table", ("c", b"x"))], {}, 400),
        ([("file", ("a", b"x"))], {"a": "x" * 200_000}, 413),
        ([("file", ("a", b"x"))], {"a": ["b", "c"]}, 400),
    ],
)
def test_a_form_of_too_much_or_too_little_is_refused(parts, fields, status):
    with pytest.raises(RequestError) as error:
        parse(*form(*parts, **fields))
    assert error.value.status == status


def test_images_that_take_too_long_to_decode_are_refused(tmp_path):
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
    upload = uploads.Upload({"a.jpg": jpeg[:-2] + b"\xff\xda" * 60_000}, None, {})
    with pytest.raises(RequestError, match="megapixels to decode") as error:
        uploads.write(upload, tmp_path, limits=LIMITS)
    assert error.value.status == 413 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "cut", [b"", b"--x", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n"]
)
def test_a_damaged_form_is_refused(cut):
    for content_type in ("multipart/form-data; boundary=x", "multipart/form-data"):
        with pytest.raises(RequestError) as error:
            parse(cut, content_type)
        assert error.value.status == 400


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = (
        "import sys, tempfile, time\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "from tfpipe.serving import uploads\n"
        "with uploads.open_folder() as folder:\n"
        "    (folder / 'a.png').write_bytes(b'x')\n"
        "    print(folder, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        other = tmp_path / process.stdout.readline().strip().rpartition("/")[2]
        assert other.is_dir()
        with uploads.open_folder() as own:
            assert own.stat().st_mode & 0o777 == 0o700
            assert other.is_dir()
        assert not own.exists()
        process.kill()
        process.wait()
    assert other.is_dir()
    with uploads.open_folder():
        assert not other.exists()
    assert list(tmp_path.iterdir()) == []
