"""What a user may set about melt-layer data: `--option name=value`."""

from dataclasses import dataclass

from tfpipe.tasks.options import option


@dataclass(frozen=True)
class Options:
    """The options and their defaults; each field's metadata holds its help."""

    top_is: str = option(
        "up",
        "where the core's top is in the photos",
        choices=("up", "left", "right", "down"),
    )
    max_shift_mm: float = option(
        60.0, "largest shift of labels that alignment tries, up and down", least=1
    )
    stride_px: int = option(10, "rows between training windows, of 200 px across", least=1)
    guard_px: int = option(10, "rows around a layer that belong to neither class", least=0)
    uncertain: str = option(
        "leave-out",
        "features marked uncertain: learn from them or not",
        choices=("leave-out", "include"),
    )
    unaligned: str = option(
        "set-aside", "photos whose shift is not identifiable", choices=("set-aside", "use")
    )
    predict_stride_px: int = option(10, "rows between windows when predicting (seed 002)", least=1)
    vote: str = option(
        "mean", "how the four flips of a window are combined", choices=("mean", "majority")
    )
    core_width_mm: float = option(
        100.0, "width of the core, for photos whose depths are not known", least=1
    )
