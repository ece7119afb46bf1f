"""A network of a comparison and how it is taken: pretrained or begun at random, grey or coloured.

Seed 004's table has each of its networks in several of these: "resnet50", "resnet50+pretrained",
"resnet9+grey".
"""

from pathlib import Path
from typing import Any, NamedTuple

from tfpipe.base.errors import UserError

PRETRAINED, RANDOM, GREY = "pretrained", "random", "grey"
IMAGENET, NONE = "imagenet", "none"  # values of a builder's argument `weights`
WORDS = (PRETRAINED, RANDOM, GREY)
ENDINGS = (".weights.h5", ".h5", ".keras")


class Variant(NamedTuple):
    """How a contestant is taken.

    Attributes:
      model: its name without the words behind it.
      start: "pretrained", "random", or "" for what the model's arguments say.
      grey: whether it sees pictures without their colours.
    """

    model: str
    start: str
    grey: bool


def of(name: str) -> Variant:
    """Returns the variant that a name such as "resnet50+pretrained+grey" stands for.

    Raises:
      UserError: a word behind a + is none of `WORDS`, or two contradict each other.
    """
    model, *words = name.split("+")
    starts = [word for word in words if word in (PRETRAINED, RANDOM)]
    if set(words) - set(WORDS) or len(starts) > 1:
        raise UserError(
            f"{name!r} is no variant of a model. Behind its name may stand +pretrained or "
            "+random, and +grey."
        )
    return Variant(model, starts[0] if starts else "", GREY in words)


def weights_of(variant: Variant, taken: list[str], *, given: str | None) -> dict[str, Any]:
    """Returns the argument `weights` of a variant, or none where its model has no such argument.

    Args:
      variant: how the model is taken.
      taken: names of its builder's arguments.
      given: what the user gave: "imagenet", "none", a file, or a folder of files that have the
        models' names, such as resnet50.h5; None for ImageNet's.

    Raises:
      UserError: the model begins at random always, or the folder has no file for it.
    """
    if "weights" not in taken:
        if variant.start == PRETRAINED:
            raise UserError(f"There are no pretrained weights of {variant.model}, only random.")
        return {}
    if variant.start == RANDOM:
        return {"weights": NONE}
    if given and Path(given).is_dir():
        there = [Path(given) / f"{variant.model}{ending}" for ending in ENDINGS]
        found = next((path for path in there if path.is_file()), None)
        if found is None:
            raise UserError(f"{given} has no {there[0].name}, {there[1].name} or {there[2].name}.")
        return {"weights": str(found)}
    if variant.start == PRETRAINED and given == NONE:
        raise UserError(f"{variant.model}+pretrained and weights=none contradict each other.")
    return {"weights": given or IMAGENET} if given or variant.start else {}
