"""Lists (.lst): what a FlowCam measured of each particle, one `|`-separated row of typed fields."""

from pathlib import Path

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.tasks.insolubles import column_names, delimited

_TYPES = ("int32", "int64", "float", "double", "string", "timestamp", "guid")


def read(path: Path) -> delimited.Table:
    """Returns a run's particles.

    Lines are: a version ("017"), "num-fields|64", name and type of each field, then the rows.

    Raises:
      UserError: naming the line, where the number of fields lies, a type is unknown, a field stands
        twice, or a row has another length.
    """
    name = files.shown(path.name)
    lines = delimited.text_of(path, expected="a FlowCam list (.lst)").splitlines()
    word, _, count = lines[1].partition("|") if len(lines) > 1 else ("", "", "")
    if not lines[0].strip().isdigit() or word != "num-fields" or not count.strip().isdigit():
        raise UserError(
            f"{name} does not begin with a version and num-fields|<number>, so it is no FlowCam "
            "list. Export or copy it again."
        )
    fields: list[str] = []
    for number, line in enumerate(lines[2 : 2 + int(count)], start=3):
        field, bar, kind = line.strip().partition("|")
        if not bar or "|" in kind:
            raise UserError(
                f"{name} line {number}: this is no field's name|type, but line 2 declares "
                f"{count.strip()} fields, of which {len(fields)} stand above. Correct line 2."
            )
        if kind not in _TYPES:
            raise UserError(
                f"{name} line {number}: field {field!r} is of the type {kind!r}, expected "
                f"{', '.join(_TYPES)}. Correct it, or export the list again."
            )
        if field in fields:
            raise UserError(
                f"{name} line {number}: the field {field!r} is already in line "
                f"{3 + fields.index(field)}, expected each once. Export the list again."
            )
        fields.append(field)
    first = 3 + len(fields)
    if len(lines) >= first and lines[first - 1].strip().partition("|")[2] in _TYPES:
        raise UserError(
            f"{name} line {first}: this is one more field, but line 2 declares only "
            f"{len(fields)}. Correct line 2, or export the list again."
        )
    cells, where = delimited.rows(
        lines[first - 1 :], names=fields, delimiter="|", first=first, path=path
    )
    return delimited.Table(path, cells, where, column_names.of_lst(fields, where=name))
