"""What a user may set about insolubles data: `--option name=value`."""

from dataclasses import dataclass

from tfpipe.tasks.options import option


@dataclass(frozen=True)
class Options:
    """The options and their defaults; each field's metadata holds its help."""

    side: int = option(128, "side of the stored pictures, px (seed 000)", least=8)
    min_class: int = option(
        10, "labelled particles a class needs; with fewer they count as unlabelled", least=1
    )
    classes: str = option(
        "", "classes to tell apart, with commas; the others count as unlabelled; empty for all"
    )
    unlabelled: str = option(
        "unidentified,unknown,unclassified", "class names that mean: nobody knows, with commas"
    )
    class_columns: str = option(
        "", "headings of a picture table's 0/1 columns, one a class, with commas"
    )
    run_pattern: str = option(
        r"(.+)_\d+",
        "regular expression of a picture's name without extension; its group is the run; empty "
        "for one run a folder",
    )
    leaking: str = option(
        "no", "columns that tell the run, such as time and position", choices=("no", "yes")
    )


def names(text: str) -> tuple[str, ...]:
    """Returns the names in a list with commas, without stray whitespace."""
    return tuple(cleaned for part in text.split(",") if (cleaned := " ".join(part.split())))
