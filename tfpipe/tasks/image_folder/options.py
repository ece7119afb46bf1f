"""Options of a folder of images: `--option name=value`."""

import re
from dataclasses import dataclass

from tfpipe.base.errors import UserError
from tfpipe.tasks.options import option

LEAST_PX, MOST_PX = 8, 4096


@dataclass(frozen=True)
class ImageFolderOptions:
    """The options of a folder of images and their defaults."""

    size: str = option(
        "",
        "height x width of the stored images, such as 96x128, or one number for both; empty for "
        "their median, at most 128 px a side",
    )
    fit: str = option(
        "stretch",
        "how images of another shape get that size: stretched, padded with their border, or "
        "cropped to their middle",
        choices=("stretch", "pad", "crop"),
    )
    channels: str = option(
        "as found", "colours of the stored images", choices=("as found", "grey", "colour")
    )
    bits: int = option(
        0,
        "bits of the camera whose full range is stored as 0 to 255, for 16-bit images; 0 for the "
        "smallest usual depth that holds those that are packed, which a version keeps",
        least=0,
    )
    group_from: str = option(
        "",
        "regular expression for an image's file name; its first group names the images of the "
        "same thing; empty where each image is a group",
    )
    conflicts: str = option(
        "refuse",
        "the same image in two classes: refused, or left out with all its copies and counted",
        choices=("refuse", "leave-out"),
    )


def shape_of(options: ImageFolderOptions) -> tuple[int, int, int]:
    """Returns (height, width, channels) of options whose size and channels are complete.

    Raises:
      UserError: the size is not valid.
    """
    match = re.fullmatch(r"(\d{1,5})(?:\s*[x\N{MULTIPLICATION SIGN}]\s*(\d{1,5}))?", options.size)
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if min(height, width) < LEAST_PX or max(height, width) > MOST_PX:
        raise UserError(
            f"Option size is {options.size!r}, expected height x width such as 96x128, or one "
            f"number for both, of {LEAST_PX} to {MOST_PX} px."
        )
    return height, width, 1 if options.channels == "grey" else 3
