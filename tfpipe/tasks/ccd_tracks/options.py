"""CcdTracksOptions of the CCD track task: `--option name=value`."""

import re
from dataclasses import dataclass

from tfpipe.base.errors import UserError
from tfpipe.tasks.options import option

_SECTION = re.compile(r"\s*(\d+):(\d+)\s*,\s*(\d+):(\d+)\s*")


@dataclass(frozen=True)
class CcdTracksOptions:
    """The options and their defaults; each field's metadata holds its help."""

    hdu: int = option(-1, "number of the FITS HDU; -1 for the first with an image", least=-1)
    section: str = option(
        "", "rows and columns to use, such as 40:4124,5:2040 (seed document 001); empty for all"
    )
    threshold: float = option(
        4000.0,
        "threshold of tracks, ADU (seed document 001); 0 to use sigmas above the background",
        least=0,
    )
    sigmas: float = option(5.0, "noise sigmas above the background, where threshold=0", least=1)
    min_px: int = option(5, "pixels of the smallest track (seed document 001)", least=1)
    adu_per_px: float = option(
        0.0,
        "energy per pixel, ADU, of ready-cut clusters without one; 0 for the median of those that "
        "are packed, which a version keeps",
        least=0,
    )
    side: int = option(64, "side of the stored images, px (seed document 001)", least=8)
    classes: str = option(
        "", "classes to predict, with commas; others count as unlabelled; empty for all"
    )


def class_names(options: CcdTracksOptions) -> tuple[str, ...]:
    """Returns the classes to predict, () for all."""
    return tuple(name for part in options.classes.split(",") if (name := part.strip()))


def section_of(options: CcdTracksOptions) -> tuple[slice, slice]:
    """Returns the rows and the columns to use.

    Raises:
      UserError: the option has another form, or selects nothing.
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
