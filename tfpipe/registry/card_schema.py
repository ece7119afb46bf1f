"""Parts of a version's card: which fields they have, and what must be true of all together.

A part that does not apply is empty. A field that is not required is absent in cards of older
releases, or of other kinds of models.
"""

import math
from typing import TYPE_CHECKING, Annotated, NotRequired, TypedDict

from tfpipe.base.json_dataclass import FINITE
from tfpipe.evaluation import image_novelty
from tfpipe.evaluation.drift import MIX

if TYPE_CHECKING:
    from tfpipe.registry.card import VersionCard

Finite = Annotated[float, FINITE]
Metrics = dict[str, float | None]
INPUTS = ("image", "columns")
DTYPES = ("uint8", "uint16", "float32")
MAX_PIXELS = 1 << 30  # of the image that a network takes


class Mode(TypedDict):
    """Inference mode of whole files: its thresholds, and its metrics by split."""

    thresholds: dict[str, Finite]
    metrics: dict[str, Metrics]


class Calibration(TypedDict):
    """Calibration of probabilities, and calibration errors by split."""

    temperature: Finite
    bias: NotRequired[list[Finite]]
    note: NotRequired[str]
    error: NotRequired[Metrics]
    error_before: NotRequired[Metrics]
    class_error: NotRequired[Metrics]


class Abstention(TypedDict):
    """Thresholds below which the classes are not named; None for a class that never is."""

    min_precision: NotRequired[Finite]
    thresholds: dict[str, Finite | None]
    test: NotRequired[dict[str, Metrics]]


class DriftHistogram(TypedDict):
    """Histogram of a quantity on the training split, see `evaluation.drift`."""

    edges: list[Finite]
    counts: list[Finite]
    groups: int
    limits: list[tuple[float, float]]
    mean: NotRequired[Finite | None]
    classes: NotRequired[list[str]]


class Parity(TypedDict):
    """How the exported model differs from the trained one."""

    max_difference: Finite
    tolerance: Finite
    examples: int
    loaded: NotRequired[str]


class Speed(TypedDict):
    """Milliseconds of a call with one image, and with a batch."""

    one_ms: Finite
    batch_ms: Finite
    batch: int


class IntendedUse(TypedDict):
    """What the version is for."""

    question: str
    input: str
    classes: list[str]
    note: str


class SetDifference(TypedDict):
    """Difference of a score from the previous version's on a set of groups."""

    groups: int
    before: float | None
    after: float | None
    low: float | None
    high: float | None
    of: NotRequired[str | None]
    p: NotRequired[float | None]
    verdict: str
    why: str


class FileDifference(TypedDict):
    """Differences of a score of whole files."""

    score: str
    sets: dict[str, SetDifference]
    decides: bool


class ClassDifference(TypedDict):
    """Difference of a class's F1."""

    before: float | None
    after: float | None
    low: float | None
    high: float | None
    verdict: str


Comparison = TypedDict(
    "Comparison",
    {
        "with": int,
        "forced": NotRequired[bool],
        "score": str,
        "sets": dict[str, SetDifference],
        "files": NotRequired[list[FileDifference]],
        "classes": dict[str, ClassDifference],
        "is_worse": NotRequired[bool],
    },
)


def contradiction(card: "VersionCard", *, kinds: tuple[str, ...]) -> str:
    """Returns what is wrong with a card whose fields have the right types; "" for nothing.

    Args:
      card: the card.
      kinds: that there are.
    """
    if card.kind not in kinds:
        return f"field 'kind': expected {' or '.join(kinds)}, received {card.kind[:40]!r}"
    if not card.inputs or not {*card.inputs} <= {*INPUTS} or _repeats(card.inputs):
        return f"field 'inputs': expected {' or '.join(INPUTS)}, or both"
    for name, values in (("classes", card.classes), ("columns", card.columns)):
        if _repeats(values):
            return f"field {name!r}: expected different names"
    if card.version < 0:
        return "field 'version': expected a positive number"
    return _of_spec(card) or _of_decisions(card) or _of_drift(card) or _of_novelty(card)


def _of_spec(card: "VersionCard") -> str:
    spec = card.spec
    if spec is None:
        return ""
    scales = (spec.image_mean, spec.image_std, spec.column_mean, spec.column_std)
    if not all(math.isfinite(number) for scale in scales for number in scale):
        return "field 'spec': expected finite means and deviations"
    if "image" not in card.inputs:
        return ""
    if min(spec.image_shape) < 1 or math.prod(spec.image_shape) > MAX_PIXELS:
        return f"field 'spec.image_shape': expected 1 to {MAX_PIXELS} numbers in an image"
    if spec.image_dtype not in DTYPES:
        return f"field 'spec.image_dtype': expected {' or '.join(DTYPES)}"
    return ""


def _of_decisions(card: "VersionCard") -> str:
    calibration, abstention = card.calibration, card.abstention
    if calibration and calibration["temperature"] <= 0:
        return "field 'calibration.temperature': expected a number above 0"
    if calibration and len(calibration.get("bias", ())) not in (0, len(card.classes)):
        return "field 'calibration.bias': expected a number for each class"
    if abstention and abstention["thresholds"].keys() != {*card.classes}:
        return "field 'abstention.thresholds': expected a number or null for each class"
    return ""


def _of_drift(card: "VersionCard") -> str:
    for name, histogram in card.drift.items():
        edges, counts = histogram["edges"], histogram["counts"]
        if len(counts) != len(edges) + 2 or min(counts) < 0 or not any(counts):
            return f"field 'drift.{name[:40]}.counts': expected {len(edges) + 2} counts"
        if any(high <= low for low, high in zip(edges, edges[1:], strict=False)):
            return f"field 'drift.{name[:40]}.edges': expected growing numbers"
        if histogram["groups"] < 1 or any(groups < 1 for groups, _ in histogram["limits"]):
            return f"field 'drift.{name[:40]}.groups': expected at least one group"
        if name == MIX and len(histogram.get("classes", ())) != len(counts) - 1:
            return f"field 'drift.{name}.classes': expected {len(counts) - 1} names"
    return ""


def _of_novelty(card: "VersionCard") -> str:
    statistics = card.novelty
    if statistics is None:
        return ""
    count = image_novelty.count_measures(ignores_exposure=statistics.ignores_exposure)
    lengths = {len(statistics.mean), len(statistics.scale), len(statistics.precision)}
    if {count} != lengths | {len(row) for row in statistics.precision}:
        return f"field 'novelty': expected {count} measures"
    numbers = [statistics.limit, *statistics.mean, *statistics.scale]
    numbers += [number for row in statistics.precision for number in row]
    if not all(map(math.isfinite, numbers)) or min(statistics.scale) <= 0:
        return "field 'novelty': expected finite numbers, and scales above 0"
    return ""


def _repeats(names: tuple[str, ...]) -> bool:
    return len({*names}) < len(names)
