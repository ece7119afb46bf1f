"""Raw files that a client uploads: parsed from a request, and written to a folder that vanishes."""

import contextlib
import io
import re
import secrets
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from tfpipe.base import files, images, locks
from tfpipe.base.errors import UserError
from tfpipe.serving import upload_checks
from tfpipe.serving.errors import RequestError
from tfpipe.serving.limits import Limits

FOLDER = "tfpipe-uploads-"  # each server has one, under the system's folder of temporary files
TABLE = "table"  # the part of a form that is the table of the files
MAX_DEPTH, MAX_NAME_BYTES = 8, 200
_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif", "PPM": ".ppm"}  # others are those of their format
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # Unicode categories that no file name needs


class Upload(NamedTuple):
    """What a request brings.

    Attributes:
      contents: file name -> bytes, in order; "/" in a name divides folders.
      table: name and bytes of the table of the files; None for none.
      fields: further fields of the form by name.
    """

    contents: dict[str, bytes]
    table: tuple[str, bytes] | None
    fields: dict[str, str]


def parse(body: bytes, content_type: str, *, name: str, limits: Limits) -> Upload:
    """Returns what a body brings: a form of files and fields, or the bytes of one file.

    Args:
      body: of the request.
      content_type: its header.
      name: of the file, if the body is one; "" for "image" with the ending of its format.
      limits: of the number of files.

    Raises:
      RequestError: the form is damaged, there is no file or too many, or a name is no file name.
    """
    media_type, options = parse_options_header(content_type)
    if media_type == "application/json":
        raise RequestError(415, "Expected files, got JSON. Send a form, or one file as the body.")
    if media_type != "multipart/form-data":
        if not body:
            raise RequestError(400, "The body is empty. Send a file.")
        name = _checked_name(name or _default_name(body))
        return Upload({name: body}, None, {})
    parser = FormDataParser(
        lambda *_, **__: io.BytesIO(),  # the body is in memory already
        max_form_memory_size=100_000,
        max_form_parts=limits.max_instances + 20,
        silent=False,
    )
    try:
        _, fields, parts = parser.parse(io.BytesIO(body), media_type, len(body), options)
    except (HTTPException, ValueError) as error:
        too_many = isinstance(error, HTTPException) and error.code == 413
        raise RequestError(
            413 if too_many else 400,
            f"The form has more than {limits.max_instances} files, or fields of more than 100 kB."
            if too_many
            else "The form is damaged: its boundary or a part's head is not as in RFC 7578.",
        ) from error
    contents: dict[str, bytes] = {}
    table = None
    for part, storage in parts.items(multi=True):
        file_name = _checked_name(storage.filename or "")
        if part == TABLE:
            if table:
                raise RequestError(400, f"The form has two parts {TABLE}, expected one.")
            table = (file_name, storage.stream.read())
        elif file_name in contents:
            raise RequestError(400, f"Two files are called {file_name}. Rename one.")
        else:
            contents[file_name] = storage.stream.read()
    _check_files(contents, table, limits=limits)
    for field, values in fields.lists():
        if len(values) > 1:
            raise RequestError(400, f"The form has the field {field[:50]!r} twice, expected one.")
    return Upload(contents, table, fields.to_dict())


def write(upload: Upload, folder: Path, *, limits: Limits) -> tuple[list[Path], Path | None]:
    """Writes the files of an upload to a folder.

    Args:
      upload: the files.
      folder: an empty one.
      limits: of the pixels of a file.

    Returns:
      What a user would give to `tfpipe predict`: files and folders, and the table or None.

    Raises:
      RequestError: a file is too large once decoded or has links, or the disk is full.
    """
    table = folder / upload.table[0] if upload.table else None
    every = dict(upload.contents) | (dict([upload.table]) if upload.table else {})
    n_pixels = 0
    for name, data in every.items():
        n_pixels += upload_checks.check(name, data, max_pixels=limits.max_pixels)
        if n_pixels > limits.max_decoded_pixels:
            raise RequestError(
                413,
                f"The images take {n_pixels / 1e6:.0f} megapixels to decode, as a progressive JPEG "
                "is decoded once for each scan; expected at most "
                f"{limits.max_decoded_pixels / 1e6:g}. Send fewer or smaller images, or PNG.",
            )
    try:
        for name, data in every.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as error:
        raise RequestError(
            503, f"The server cannot store the files: {error.strerror}.", retry_after_s=10
        ) from error
    roots = dict.fromkeys(name.partition("/")[0] for name in upload.contents)
    return [folder / root for root in roots], table


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Yields a folder for the uploads of this process, and removes it in the end.

    Its lock is held meanwhile. The folder of a process that was killed has a lock that nobody
    holds: the next server removes it.
    """
    system = Path(tempfile.gettempdir())
    for lock in system.glob(f"{FOLDER}*.lock"):
        with contextlib.suppress(UserError, OSError), locks.hold(lock, busy="in use"):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
    folder = system / f"{FOLDER}{secrets.token_hex(8)}"
    lock = folder.with_suffix(".lock")
    with locks.hold(lock, busy="in use"):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _check_files(
    contents: Mapping[str, bytes], table: tuple[str, bytes] | None, *, limits: Limits
) -> None:
    if not contents:
        raise RequestError(400, "The form has no file. Send each in a part with a file name.")
    if len(contents) > limits.max_instances:
        raise RequestError(
            413, f"Expected at most {limits.max_instances} files, got {len(contents)}. Send fewer."
        )
    names = {*contents}
    if table and table[0] in names:
        raise RequestError(400, f"The table and a file are both called {table[0]}. Rename one.")
    names |= {table[0]} if table else set()
    folders = {str(parent) for name in names for parent in Path(name).parents}
    both = sorted(folders & names)
    if both:
        raise RequestError(400, f"{both[0]} is a file and a folder. Rename one.")


def _checked_name(name: str) -> str:
    """Returns a file name with "/" between its folders, if it stays in the folder it is put in."""
    parts = name.split("/")
    is_fine = (
        len(parts) <= MAX_DEPTH
        and all(part.strip() and part not in (".", "..") for part in parts)
        and all(len(part.encode("utf-8", "replace")) <= MAX_NAME_BYTES for part in parts)
        and not any(unicodedata.category(letter) in _INVISIBLE for letter in name)
        and not re.search(r"[\\:]", name)
    )
    if not is_fine:
        raise RequestError(
            400,
            f"{files.shown(name)[:50]!r} is no name of a file in a folder. Name it as in "
            "photos/core_001.png.",
        )
    return name


def _default_name(data: bytes) -> str:
    try:
        kind = images.open_bytes(data, "The body").info.format
    except UserError as error:
        raise RequestError(
            400, f"{error} If the file is of another kind, add its name: ?name=exposure.fits"
        ) from error
    return f"image{_SUFFIXES.get(kind, f'.{kind.lower()}')}"
