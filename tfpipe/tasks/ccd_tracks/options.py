"""What a user may set about CCD tracks: `--option name=value`."""

import re
from dataclasses import dataclass

from tfpipe.base.errors import UserError
from tfpipe.tasks.options import option

_SECTION = re.compile(r"\s*(\d+):(\d+)\s*,\s*(\d+):(\d+)\s*")


@dataclass(frozen=True)
class Options:
    """The options and their defaults; each field's metadata holds its help."""

    hdu: int = option(-1, "number of the FITS HDU; -1 for the first with a picture", least=-1)
    section: str = option(
        "", "rows and columns that count, such as 40:4124,5:2040 (seed 001); empty for all"
    )
    threshold: float = option(
        4000.0,
        "pixels above it belong to tracks, ADU (seed 001); 0 for sigmas above the background",
        least=0,
    )
    sigmas: float = option(5.0, "of the noise above the background, where threshold=0", least=1)
    min_px: int = option(5, "pixels of the smallest track (seed 001)", least=1)
    side: int = option(64, "side of the stored pictures, px (seed 001)", least=8)
    classes: str = option(
        "", "classes to tell apart, with commas; the others count as unlabelled; empty for all"
    )


def wanted_classes(options: Options) -> tuple[str, ...]:
    """Returns the classes that the user asked for, () for all."""
    return tuple(cleaned for part in options.classes.split(",") if (cleaned := part.strip()))


def section_of(options: Options) -> tuple[slice, slice]:
    """Returns the rows and the columns that count.

    Raises:
      UserError: the option is written in another way, or selects nothing.
    """
    if not options.section:
        return slice(None), slice(None)
    match = _SECTION.fullmatch(options.section)
    ends = [int(number) for number in match.groups()] if match else [0, 0, 0, 0]
    if not (ends[0] < ends[1] and ends[2] < ends[3]):
        raise UserError(
            f"Option section is {options.section!r}, expected rows and columns as begin:end, "
            "counted from 0, such as 40:4124,5:2040."
        )
    return slice(*ends[:2]), slice(*ends[2:])
