"""What reviewers have said of a core's layers, in place of what the table says of them."""

from tfpipe.tasks.annotations import spans
from tfpipe.tasks.melt_layer.tables import DUBIOUS, Feature
from tfpipe.tasks.task import Source


def settled(source: Source, *, shift_m: float) -> list[Feature]:
    """Returns the features of a photo by the table, with reviewers' decisions in their place.

    Reviewers see the photo, so that their depths hold as they are; the table's are moved by the
    photo's shift. Here all are in the table's depths.

    Args:
      source: a photo as `apply.survey_with_decisions` found it.
      shift_m: of the photo; positive is deeper.
    """
    decided = {one.what for one in source.decisions}
    kept = [one for one in source.about.features if named(one) not in decided]
    kept += [
        Feature(
            one.top_m - shift_m,
            one.bottom_m - shift_m,
            DUBIOUS if one.state == "dubious" else one.label,
        )
        for one in source.decisions
        if one.label or one.state == "dubious"
    ]
    return sorted(kept, key=lambda one: (one.depth_from_m, one.depth_to_m))


def is_settled(source: Source) -> bool:
    """Returns whether reviewers have decided about all that the table says of a photo."""
    decided = {one.what for one in source.decisions}
    return bool(decided) and all(named(one) in decided for one in source.about.features)


def named(feature: Feature) -> str:
    """Returns what a feature of the table is known by; its depths are the table's own."""
    name = spans.span_name("tabled", feature.depth_from_m, feature.depth_to_m)
    return f"{name} {feature.kind}"
