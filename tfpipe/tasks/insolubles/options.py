"""InsolublesOptions of the insolubles task: `--option name=value`."""

from dataclasses import dataclass

from tfpipe.tasks.options import option


@dataclass(frozen=True)
class InsolublesOptions:
    """The options and their defaults; each field's metadata holds its help."""

    side: int = option(128, "side of the stored images, px (seed document 000)", least=8)
    bits: int = option(
        0,
        "bits of the camera whose full range is stored as 0 to 255, for 16-bit images; 0 for the "
        "smallest usual depth that holds those that are packed, which a version keeps",
        least=0,
    )
    min_class: int = option(
        10, "labelled particles that a class needs; smaller classes count as unlabelled", least=1
    )
    classes: str = option(
        "", "classes to predict, with commas; others count as unlabelled; empty for all"
    )
    unlabelled: str = option(
        "unidentified,unknown,unclassified", "class names that mean unlabelled, with commas"
    )
    class_columns: str = option(
        "", "headings of 0/1 columns of an image table, one for each class, with commas"
    )
    run_pattern: str = option(
        r"(.+)_\d+",
        "regular expression for an image's name without extension; its group is the run; empty "
        "if a folder is one run",
    )
    leaking: str = option(
        "no",
        "whether models may use columns that identify the run, such as time and position",
        choices=("no", "yes"),
    )


def names(text: str) -> tuple[str, ...]:
    """Returns the names in a list with commas, without stray whitespace."""
    return tuple(name for part in text.split(",") if (name := " ".join(part.split())))
