"""Options of the melt-layer task: `--option name=value`."""

from dataclasses import dataclass

from tfpipe.tasks.options import option


@dataclass(frozen=True)
class MeltLayerOptions:
    """The options of the melt-layer task and their defaults."""

    top_is: str = option(
        "up",
        "side of the photos where the core's top is; photos much wider than tall are left for up",
        choices=("up", "left", "right", "down"),
    )
    max_shift_mm: float = option(
        60.0, "largest shift of labels that alignment tries, up or down", least=1
    )
    stride_px: int = option(10, "rows between training windows, of 200 px across", least=1)
    guard_px: int = option(10, "rows around a layer that belong to neither class", least=0)
    uncertain: str = option(
        "leave-out",
        "features marked uncertain: left out of training, or included",
        choices=("leave-out", "include"),
    )
    unaligned: str = option(
        "set-aside", "photos whose shift is not identifiable", choices=("set-aside", "use")
    )
    predict_stride_px: int = option(10, "rows between windows when predicting (seed 002)", least=1)
    vote: str = option(
        "mean", "how the four flips of a window are combined", choices=("mean", "majority")
    )
    core_width_mm: float = option(100.0, "width of the core, for photos without depths", least=1)
